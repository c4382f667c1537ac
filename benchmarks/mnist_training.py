"""One LeNet-300-100 training by the paper's recipe: one process, one thread, one run."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 100
TRAINING_EXAMPLES = 54_000  # of 60,000: the last 10 % are for validation
STEPS_PER_EPOCH = TRAINING_EXAMPLES // BATCH
# The learning rate falls tenfold every 25,000 of the paper's 54,000 steps; shorter trainings keep the proportion.
DECAY_EVERY = 25_000 / 54_000
WEIGHT_DECAY = 5e-4  # what is added to the gradient, times the weight
MEAN, DEVIATION = 0.1307, 0.3081


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    method: str  # "dense" or a key of METHODS
    density: float
    epochs: int
    seed: int
    initial_scale: str | None = None  # None: the published method


def _sparse_momentum(inner: Any, density: float, **settings: Any) -> Any:
    import keras_sparse as ks

    return ks.SparseMomentum(inner, density, **settings)  # the defaults are the paper's: uniform, 0.5 to 0.005


def _preset(name: str) -> Callable[..., Any]:
    def build(inner: Any, density: float, **settings: Any) -> Any:
        import keras_sparse as ks

        return getattr(ks, name)(inner, density, **settings)

    return build


METHODS: dict[str, Callable[..., Any]] = {
    "static": _preset("StaticSparsity"),
    "SET": _preset("SET"),
    "RigL": _preset("RigL"),
    "gradual pruning": _preset("GradualPruning"),
    "sparse momentum": _sparse_momentum,
}


def train(run: Run, data: Path) -> dict[str, Any]:
    """Trains and returns the run's settings with its errors in per cent, its density and its seconds."""
    import keras
    import tensorflow as tf

    import keras_sparse as ks

    tf.config.threading.set_intra_op_parallelism_threads(1)  # several runs go side by side
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(run.seed)
    model = _compiled(run)
    training, validation, test = _load(data)
    callbacks = [] if run.method == "dense" else [ks.UpdateMasks()]
    begin = time.perf_counter()
    # shuffle=False: the batches are shuffled already, and Keras warns of being asked to do it.
    history = model.fit(_batches(*training), epochs=run.epochs, verbose=0, shuffle=False, callbacks=callbacks).history
    seconds = time.perf_counter() - begin
    errors = {name: 100 * (1 - model.evaluate(*part, batch_size=1000, verbose=0)[1]) for name, part in (("validation", validation), ("test", test))}
    density = ks.summary(model, "dict")["total"]["density"]
    return {
        **dataclasses.asdict(run),
        "test_error": round(errors["test"], 4),
        "validation_error": round(errors["validation"], 4),
        "training_error": round(100 * (1 - history["accuracy"][-1]), 4),
        "final_density": density,
        "seconds": round(seconds, 1),
    }


def _compiled(run: Run) -> Any:
    import keras

    from examples.models import build

    steps = run.epochs * STEPS_PER_EPOCH
    decays = [round(DECAY_EVERY * steps), round(2 * DECAY_EVERY * steps)]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(decays, [0.1, 0.01, 0.001])
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if run.method != "dense":
        settings = {"seed": run.seed, "initial_scale": run.initial_scale}
        optimizer = METHODS[run.method](optimizer, run.density, **settings)
    model = build("lenet-300-100", fan_in_uniform=True, l2=WEIGHT_DECAY / 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=STEPS_PER_EPOCH // 5)
    return model


def _load(data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(images, labels) to train on, to validate and to test with."""
    with np.load(data) as arrays:
        images = [((arrays[f"x_{part}"] / np.float32(255) - MEAN) / DEVIATION).astype("float32")[..., None] for part in ("train", "test")]
        labels = [arrays[f"y_{part}"].astype("int32") for part in ("train", "test")]
    n = TRAINING_EXAMPLES
    return [(images[0][:n], labels[0][:n]), (images[0][n:], labels[0][n:]), (images[1], labels[1])]


def _batches(images: np.ndarray, labels: np.ndarray) -> Any:
    """Shuffled batches, picked out of memory by shuffled numbers: shuffling images one by one is slower than training."""
    import tensorflow as tf

    all_images, all_labels = tf.constant(images), tf.constant(labels)
    numbers = tf.data.Dataset.range(len(images)).shuffle(len(images)).batch(BATCH, drop_remainder=True)
    return numbers.map(lambda chosen: (tf.gather(all_images, chosen), tf.gather(all_labels, chosen))).prefetch(8)
