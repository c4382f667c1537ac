"""Measures test errors of a wide ResNet on CIFAR-10, dense and sparse, on one GPU (JAX).

    # every contender, seed 0; no training begins that would not end within 200 s
    python -m benchmarks.gpu_accuracy --data cifar10.npz --epochs 15 --until 200
    # of the finished trainings
    python -m benchmarks.gpu_accuracy --tables
    # on a CPU: a tiny network, whose errors mean nothing
    python -m benchmarks.gpu_accuracy --data cifar10.npz --rehearse

All contenders train for the same number of epochs, from random weights: SGD with Nesterov momentum,
a learning rate that rises, and falls to 0 along a cosine, images moved and mirrored. Masks change
before each epoch but the first. Products are dense, of weights that are zero where they are
missing: seconds say nothing about sparse kernels. With blocks, the first and the last layer are
dense. Each epoch is a line of the records at once. Needs Keras and JAX, but no TensorFlow.
"""

import argparse
import dataclasses
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import options, records, report
from benchmarks.gpu_accuracy_tables import tables
from benchmarks.records import Record

BATCH = 500  # divides the images to train and to test with: one shape each to compile
LEARNING_RATE = 0.4  # 0.1 for a batch of 128, and in proportion
WARM_UP = 0.15  # of the steps
L2 = 5e-4  # what is added to the gradient, times the weight
PRECISION = "mixed_bfloat16"
IMAGES = 50_000  # of CIFAR-10
DENSE_WITH_BLOCKS = ("stem", "head")  # layers that have a few blocks only
REHEARSED: dict[str, Any] = {"network": "wrn-10-1", "images": 1000, "epochs": 2, "batch": 100}


@dataclasses.dataclass(frozen=True)
class Contender:
    """How the network is trained; a dense one has density 1."""

    density: float = 1.0
    block: tuple[int, int] | None = None  # in, out channels, of each tap; None: single weights


CONTENDERS = {
    "dense": Contender(),
    "weights-10": Contender(0.1),
    "blocks-32-10": Contender(0.1, (32, 32)),
    "weights-5": Contender(0.05),
    "blocks-32-5": Contender(0.05, (32, 32)),
    "blocks-4-5": Contender(0.05, (4, 4)),
}
DEFAULT = ("dense", "weights-10", "blocks-32-10", "weights-5")


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


def main() -> None:
    """Trains what the arguments ask for, and prints the tables; `--tables` writes them."""
    arguments = _arguments()
    begin = time.perf_counter()
    if arguments.tables:
        text = tables(records.finished(arguments.records))
        report.write(arguments.records.with_suffix(".md"), text)
        return
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    print(f"Keras {keras.version()} on {facts()['machine']}, {facts()['versions']}", flush=True)
    keras.config.set_dtype_policy(PRECISION)
    train_all(planned(arguments), _images(arguments), arguments.records, begin + arguments.until)
    print(tables(records.finished(arguments.records)))


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, so that a part of them is of use."""
    how: dict[str, Any] = {"network": arguments.network, "images": IMAGES}
    how["epochs"] = arguments.epochs
    if arguments.rehearse:
        how |= REHEARSED
    return [
        Run(contender=name, seed=seed, **how)
        for seed in arguments.seeds
        for name in arguments.contenders
    ]


def train_all(runs: Sequence[Run], data: Any, path: Path, deadline: float) -> None:
    """Trains one after the other, those that are likely to end before the deadline."""
    longest = 0.0
    for run in runs:
        left = deadline - time.perf_counter()
        if longest > left:
            print(f"left out: {run.contender}, seed {run.seed}: {left:.0f} s left", flush=True)
            continue
        begin = time.perf_counter()
        train(run, data, path)
        longest = max(longest, time.perf_counter() - begin)


def train(run: Run, data: Any, path: Path) -> None:
    """Trains; each epoch is added to the records."""
    import keras

    from examples.batches import Batches

    begin = time.perf_counter()
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, callbacks = compiled(run)
    batches = Batches(data.x_train, data.y_train, run.batch, run.seed)

    def add(epoch: int, logs: Any) -> None:
        line = line_of(run, epoch + 1, logs, time.perf_counter() - begin)
        records.add(path, line)
        shown = ("contender", "seed", "epoch", "loss", "test_error", "density", "seconds")
        print(*(f"{name} {line[name]}" for name in shown), sep=", ", flush=True)

    log = keras.callbacks.LambdaCallback(on_epoch_end=add)
    model.fit(
        batches,
        epochs=run.epochs,
        validation_data=(data.x_test, data.y_test),
        validation_batch_size=run.batch,
        callbacks=[*callbacks, keras.callbacks.TerminateOnNaN(), log],
        shuffle=False,  # the batches are shuffled
        verbose=0,
    )


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
        optimizer = ks.SparseMomentum(optimizer, contender.density, growth_window=None, **settings)
        callbacks = [ks.UpdateMasks("epoch")]
    model = build(run.network, l2=L2 / 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, callbacks


# --- records


def facts() -> dict[str, str]:
    """When, where and with what a result is measured now."""
    import jax

    machine = str(jax.devices()[0].device_kind)
    return report.circumstances(machine, ("jax", "keras", "numpy"))


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


# --- what the command says


def _images(arguments: argparse.Namespace) -> Any:
    from examples.data import load_cifar10

    data = load_cifar10(arguments.data)
    if not arguments.rehearse:
        return data.first(IMAGES)  # raises if there are fewer
    part = {"x_test": data.x_test[:500], "y_test": data.y_test[:500]}
    return dataclasses.replace(data.first(REHEARSED["images"]), **part)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    records = Path(os.environ.get("OUT") or report.RESULTS) / "gpu_accuracy.jsonl"
    add("--data", type=Path, help="CIFAR-10, .npz or the tar.gz; default: download")
    add("--contenders", choices=CONTENDERS, nargs="+", default=list(DEFAULT))
    add("--network", default="wrn-16-8", help="a network of examples/recipes.py for CIFAR-10")
    add("--epochs", type=int, default=15, help="of each training")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--until", type=float, default=math.inf, help="seconds: no run begins that would end later")
    add("--records", type=Path, default=records, help="epochs, one a line; else in $OUT")
    add("--tables", action="store_true", help="train nothing, write the tables")
    add("--rehearse", action="store_true", help="a tiny network, few images: on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
