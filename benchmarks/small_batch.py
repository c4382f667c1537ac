"""Times sparse models against dense ones: predictions and training steps, batches of 1 to 128.

    # all models; goes on where it was stopped
    python -m benchmarks.small_batch
    python -m benchmarks.small_batch --models "MLP 2048" --batches 1 8

Dense and sparse models take turns in one process, a process a model. CPU time of one thread: other
programs on the machine disturb it least. Each cell has the median of its turns, and of all its
measurements.
"""

import functools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import options, records, report, turns
from benchmarks.processes import in_process

COMMAND = "python -m benchmarks.small_batch"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
DENSITIES = (0.1, 0.02)
WAYS = ("call", "predict", "train")
MODELS = ("MLP 300", "MLP 2048", "CNN", "VGG", "ResNet-20", "MobileNetV2", "MobileNetV2 frozen")
SECONDS = 1.5  # of CPU time that the turns of one cell take
MOST_TURNS, LEAST_TURNS = 25, 5
NOTE = """\
Dense time over sparse time: 1 is as fast as dense Keras, 2 twice as fast. CPU time of one thread,
medians. Of 312 cells 22 were measured two or four times: 11 pairs of densities, one of which was
below 0.95 at first. These cells have the median of all their measurements.

- `call`: `model(x, training=False)` in a `tf.function`.
- `predict`: `model.predict(x, batch_size=batch)` for one batch.
- `train`: the train function of `fit`, one step on batches of a tf.data.Dataset; SGD with momentum
  0.9, SparseMomentum around it, its growth window closed. The sparse model's SGD is one operation a
  weight, Keras' is seven: that is part of the gain.

Masks are uniform. MLP 300 is 784-300-100-10, MLP 2048 2048-2048-2048-10. CNN has 3x3 convolutions
of 32, 64, 64 and 128 channels on 28x28. VGG is six 3x3 convolutions of 64, 128 and 256 channels and
ResNet-20 He et al.'s, both on 32x32. MobileNetV2 is on 96x96, `frozen` with `trainable = False` for
all but its head: its convolutions are dense.
"""
Cell = tuple[str, int, str, float]  # model, batch, way, density


def main() -> None:
    """Measures what is missing, a process a model, then writes the table."""
    form = options.parser_of_cells(__doc__, "small_batch")
    form.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    form.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    arguments = form.parse_args()
    for model in arguments.models:
        known = {key[:3] for key in read(arguments.cells)}
        pairs = [(batch, way) for batch in arguments.batches for way in WAYS]
        if missing := [pair for pair in pairs if (model, *pair) not in known]:
            in_process(measure, model, missing, arguments.cells)
    report.write(arguments.output, text_of(arguments.cells))


def measure(name: str, cells: Sequence[tuple[int, str]], path: Path) -> None:
    """Appends a line for each cell; to be called in a fresh process."""
    turns.limit_threads(1)
    models = {density: trained(name, density) for density in (None, *DENSITIES)}
    for batch, way in cells:
        steps = {str(density): contender(model, batch, way) for density, model in models.items()}
        seconds = timed(steps)
        dense_ms = round(1000 * statistics.median(seconds["None"]), 3)
        for density in DENSITIES:
            ratio = round(turns.ratio(seconds["None"], seconds[str(density)]), 3)
            line = {"model": name, "batch": batch, "way": way, "density": density, "ratio": ratio}
            line["dense_ms"] = dense_ms
            records.add(path, line)
            print(line, flush=True)


def timed(steps: dict[str, Callable[[], object]]) -> turns.Seconds:
    """Turns of about SECONDS in all."""
    for step in steps.values():
        for _ in range(3):
            step()
    clock = turns.clock_for(1)
    once = sum(seconds[0] for seconds in turns.take_turns(steps, 1, clock).values())
    count = round(SECONDS / max(once, len(steps) * turns.LEAST_TURN))
    return turns.take_turns(steps, max(LEAST_TURNS, min(MOST_TURNS, count)), clock)


def trained(name: str, density: float | None) -> Any:
    """A compiled model with a built optimizer; dense for None."""
    import keras

    import keras_sparse as ks
    from benchmarks import small_batch_models

    keras.utils.set_random_seed(0)
    model = small_batch_models.network(name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.001, momentum=0.9)
    if density is None:
        model.compile(optimizer, loss, jit_compile=False)
        optimizer.build(model.trainable_variables)
        return model
    sparse = ks.sparsify(model)
    optimizer = ks.SparseMomentum(optimizer, density)
    optimizer.updates_are_planned = True
    sparse.compile(optimizer, loss, jit_compile=False)
    optimizer.build(sparse)
    optimizer.open_growth_window(False)
    return sparse


def contender(model: Any, batch: int, way: str) -> Callable[[], object]:
    """One call, prediction or training step of this model."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *model.input_shape[1:]), dtype=np.float32)
    if way == "predict":
        return functools.partial(model.predict, x, batch_size=batch, verbose=0)
    if way == "call":
        constant = tf.constant(x)
        function = tf.function(functools.partial(model, training=False), autograph=False)
        return lambda: function(constant).numpy()
    labels = rng.integers(0, 10, batch).astype("int32")
    data = iter(tf.data.Dataset.from_tensors((x, labels)).unbatch().repeat().batch(batch))
    function = model.make_train_function() or model.train_function
    return lambda: [float(value) for value in function(data).values()]


def read(path: Path) -> dict[Cell, float]:
    """The median ratio of each cell that has been measured."""
    ratios: dict[Cell, list[float]] = {}
    for cell in records.read(path):
        key = (cell["model"], cell["batch"], cell["way"], cell["density"])
        ratios.setdefault(key, []).append(cell["ratio"])
    return {key: statistics.median(values) for key, values in ratios.items()}


def text_of(path: Path) -> str:
    """The file of results."""
    ratios, measured = read(path), records.circumstances(records.finished(path))
    title = "Small batches: sparse models against dense ones"
    text = report.header(title, COMMAND, measured) + NOTE
    columns = ("model", "density", *(f"batch {batch}" for batch in BATCHES))
    for way in WAYS:
        rows = []
        for model in MODELS:
            for density in DENSITIES:
                cells = [ratios.get((model, batch, way, density)) for batch in BATCHES]
                if any(cells):
                    shown = ("" if ratio is None else f"{ratio:.2f}" for ratio in cells)
                    rows.append((model, density, *shown))
        text += f"\n## {way}\n\n{report.table(columns, rows)}"
    return text


if __name__ == "__main__":
    main()
