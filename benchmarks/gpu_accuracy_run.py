"""One training of gpu_accuracy.py: its network, its optimizer and masks, and what is recorded."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import records, report
from benchmarks.records import Record

BATCH = 500  # divides the images to train and to test with: one shape each to compile
LEARNING_RATE = 0.4  # 0.1 for a batch of 128, and in proportion
WINDOW = 10  # steps with dense weight gradients before an update, where kernels skip them
GROWTH_BATCH = 0.25  # share of the batch that these gradients are of
WARM_UP = 0.15  # of the steps
L2 = 5e-4  # what is added to the gradient, times the weight
DENSE_WITH_BLOCKS = ("stem", "head")  # layers that have a few blocks only


@dataclasses.dataclass(frozen=True)
class Contender:
    """How the network is trained; a dense one has density 1."""

    density: float = 1.0
    block: tuple[int, int] | None = None  # in, out channels, of each tap; None: single weights
    kernels: bool = False  # sparse layers, whose kernels skip missing blocks (TensorFlow)


CONTENDERS = {
    "dense": Contender(),
    "weights-10": Contender(0.1),
    "blocks-32-10": Contender(0.1, (32, 32)),
    "weights-5": Contender(0.05),
    "blocks-32-5": Contender(0.05, (32, 32)),
    "blocks-4-5": Contender(0.05, (4, 4)),
    "kernels-32-10": Contender(0.1, (32, 32), kernels=True),
    "kernels-32-5": Contender(0.05, (32, 32), kernels=True),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    contender: str
    epochs: int
    seed: int
    images: int
    batch: int = BATCH
    learning_rate: float = LEARNING_RATE

    def steps(self) -> int:
        """Of an epoch."""
        return self.images // self.batch


def train(run: Run, data: Any, path: Path) -> None:
    """Trains; each epoch is added to the records."""
    import keras

    from examples.batches import Batches

    begin = time.perf_counter()
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, callbacks = compiled(run)
    batches: Any = Batches(data.x_train, data.y_train, run.batch, run.seed)
    if keras.backend.backend() == "tensorflow":
        batches = batches.dataset()
    clock = step_clock()

    def add(epoch: int, logs: Any) -> None:
        line = line_of(run, epoch + 1, logs, time.perf_counter() - begin)
        records.add(path, {**line, **clock.figures()})
        shown = ("contender", "seed", "epoch", "loss", "test_error", "density", "seconds")
        print(*(f"{name} {line[name]}" for name in shown), sep=", ", flush=True)

    log = keras.callbacks.LambdaCallback(on_epoch_end=add)
    model.fit(
        batches,
        epochs=run.epochs,
        validation_data=(data.x_test, data.y_test),
        validation_batch_size=run.batch,
        callbacks=[*callbacks, keras.callbacks.TerminateOnNaN(), clock, log],
        shuffle=False,  # the batches are shuffled
        verbose=0,
    )


def step_clock() -> Any:
    """A callback that times each step and the evaluation of an epoch."""
    import keras

    class StepClock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                self.begins = []
            self.begins.append(time.perf_counter())

        def on_test_begin(self, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_test_end(self, logs: Any = None) -> None:
            self.evaluation = time.perf_counter() - self.begin

        def figures(self) -> dict[str, Any]:
            """Milliseconds of the median step and of a slow one; seconds of the evaluation."""
            milliseconds = 1e3 * np.diff(self.begins)
            median, slow = np.quantile(milliseconds, (0.5, 0.9)).round(1)
            return {
                "step_milliseconds": float(median),
                "slow_step_milliseconds": float(slow),  # nine of ten are faster
                "evaluation_seconds": round(self.evaluation, 2),
            }

    return StepClock()


def compiled(run: Run) -> tuple[Any, list[Any]]:
    """The network, ready to train for ``run.epochs``, and the callback that updates its masks."""
    import keras

    import keras_sparse as ks
    from examples.models import build

    contender = CONTENDERS[run.contender]
    steps = run.epochs * run.steps()
    warm_up = round(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=run.learning_rate, warmup_steps=warm_up
    )
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    callbacks = []
    if contender.density < 1:
        settings: dict[str, Any] = {"seed": run.seed}
        if contender.block:
            structure = ks.Blocks(*contender.block, per_tap=True)
            settings |= {"structure": structure, "dense": DENSE_WITH_BLOCKS}
        # Keras' own layers have dense weight gradients in all steps, as the method was published.
        if contender.kernels:
            settings |= {"growth_window": WINDOW, "growth_batch": GROWTH_BATCH}
        else:
            settings["growth_window"] = None
        optimizer = ks.SparseMomentum(optimizer, contender.density, **settings)
        callbacks = [ks.UpdateMasks("epoch")]
    model = build(run.network, l2=L2 / 2)
    if contender.kernels:
        model = ks.sparsify(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, callbacks


def facts() -> dict[str, str]:
    """When, where and with what a result is measured now."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        machine = report.gpu() or "CPU"
    else:
        import jax

        machine = str(jax.devices()[0].device_kind)
    return report.circumstances(machine, (backend, "keras", "numpy"))


def line_of(run: Run, epoch: int, logs: Any, seconds: float) -> Record:
    """What is recorded of an epoch; ``seconds`` since the training was begun."""
    contender = CONTENDERS[run.contender]
    wanted = {"wanted_density": contender.density, "block": contender.block}
    figures = {
        "epoch": epoch,
        "loss": round(float(logs["loss"]), 4),
        "training_error": round(100 * (1 - float(logs["accuracy"])), 2),
        "test_error": round(100 * (1 - float(logs["val_accuracy"])), 2),
        "density": round(float(logs.get("density", 1.0)), 5),
        "seconds": round(seconds, 1),
    }
    return {**dataclasses.asdict(run), **wanted, **figures, "measured": facts()}
