"""Times sparse models against dense ones: predictions and training steps, batches of 1 to 128.

    python -m benchmarks.small_batch                        # all models; goes on where it was stopped
    python -m benchmarks.small_batch --models "MLP 2048" --batches 1 8
    python -m benchmarks.small_batch --again 0.95           # measures again the cells below 0.95, then writes the table

Dense and sparse models take turns in one process, a process a model. CPU time of one thread: other programs on the
machine disturb it least. Each cell keeps the median of its turns, and of all its measurements.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, turns

COMMAND = "python -m benchmarks.small_batch"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
DENSITIES = (0.1, 0.02)
WAYS = ("call", "predict", "train")
MODELS = ("MLP 300", "MLP 2048", "CNN", "VGG", "ResNet-20", "MobileNetV2", "MobileNetV2 frozen")
SECONDS = 1.5  # of CPU time that the turns of one cell take
MOST_TURNS, LEAST_TURNS = 25, 5
CELLS = report.RESULTS / "small_batch.jsonl"
NOTE = """Dense time over sparse time: 1 is as fast as dense Keras, 2 twice as fast; cells below 0.95 are in bold. CPU time of one thread, medians.

- `call`: `model(x, training=False)` in a `tf.function`.
- `predict`: `model.predict(x, batch_size=batch)` for one batch.
- `train`: the train function of `fit`, one step on batches of a tf.data.Dataset; SGD with momentum 0.9, SparseMomentum around it, its
  growth window closed. The sparse model's SGD is one operation a weight, Keras' is seven: that is part of the gain.

Masks are uniform. MLP 300 is 784-300-100-10, MLP 2048 2048-2048-2048-10; CNN has 3x3 convolutions of 32, 64, 64 and 128
channels on 28x28; VGG is six 3x3 convolutions of 64, 128 and 256 channels, ResNet-20 He et al.'s, both on 32x32; MobileNetV2 on 96x96,
`frozen` with `trainable = False` for all but its head: its convolutions are dense.
"""


def main() -> None:
    """Measures what is missing, a process a model, then writes the table."""
    arguments = _arguments()
    if arguments.measure:
        turns.limit_threads(1)
        measure(
            arguments.measure,
            [tuple(cell) for cell in json.loads(arguments.cells)],
            arguments.output,
        )
        return
    for model in arguments.models:
        cells = planned(model, arguments)
        if cells:
            command = [
                sys.executable,
                *("-m", "benchmarks.small_batch"),
                "--measure",
                model,
                "--cells",
                json.dumps(cells),
                "--output",
                str(arguments.output),
            ]
            subprocess.run(command, check=True)
    report.write(arguments.output.with_suffix(".md"), text_of(read(arguments.output)))


def planned(model: str, arguments: argparse.Namespace) -> list[tuple[int, str]]:
    """Batches and ways of this model to measure now."""
    known = read(arguments.output)
    return [
        (batch, way)
        for batch in arguments.batches
        for way in arguments.ways
        if any(
            known.get((model, batch, way, density), 0.0) < arguments.again for density in DENSITIES
        )
    ]


def measure(name: str, cells: Sequence[tuple[int, str]], output: Path) -> None:
    """Appends a line for each cell: model, batch, way, density, ratio."""
    models = {density: trained(name, density) for density in (None, *DENSITIES)}
    for batch, way in cells:
        contenders = {
            str(density): contender(model, batch, way) for density, model in models.items()
        }
        for step in contenders.values():
            for _ in range(3):
                step()
        clock = turns.clock_for(1)
        once = sum(turns.take_turns(contenders, 1, clock)[key][0] for key in contenders)
        count = max(
            LEAST_TURNS,
            min(MOST_TURNS, round(SECONDS / max(once, len(contenders) * turns.LEAST_TURN))),
        )
        seconds = turns.take_turns(contenders, count, clock)
        for density in DENSITIES:
            ratio = turns.ratio(seconds["None"], seconds[str(density)])
            line = {
                "model": name,
                "batch": batch,
                "way": way,
                "density": density,
                "ratio": round(ratio, 3),
            }
            line["dense_ms"] = round(1000 * statistics.median(seconds["None"]), 3)
            with output.open("a") as file:
                file.write(json.dumps({**line, **report.circumstances()}) + "\n")
            print(line, flush=True)


def trained(name: str, density: float | None) -> Any:
    """A compiled model with a built optimizer; dense for None."""
    import keras

    import keras_sparse as ks

    keras.utils.set_random_seed(0)
    model, loss = network(name), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
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
        function, constant = (
            tf.function(functools.partial(model, training=False), autograph=False),
            tf.constant(x),
        )
        return lambda: function(constant).numpy()
    labels = rng.integers(0, 10, batch).astype("int32")
    data = iter(tf.data.Dataset.from_tensors((x, labels)).unbatch().repeat().batch(batch))
    function = model.make_train_function() or model.train_function
    return lambda: [float(value) for value in function(data).values()]


# --- models


def network(name: str) -> Any:
    """The dense model of this name."""
    from benchmarks.networks import resnet_20

    if name.startswith("MLP"):
        return mlp(784, 300, 100, 10) if name == "MLP 300" else mlp(2048, 2048, 2048, 10)
    if name == "CNN":
        return plain((28, 28, 1), (32, 64, None, 64, 128, None))
    if name == "VGG":
        return plain((32, 32, 3), (64, 64, None, 128, 128, None, 256, 256, None), normalize=True)
    return resnet_20() if name == "ResNet-20" else mobilenet(name)


def mlp(inputs: int, *units: int) -> Any:
    """Dense layers with ReLU between them."""
    import keras

    hidden = [keras.layers.Dense(n, activation="relu") for n in units[:-1]]
    return keras.Sequential([keras.Input((inputs,)), *hidden, keras.layers.Dense(units[-1])])


def plain(shape: tuple[int, ...], widths: Sequence[int | None], normalize: bool = False) -> Any:
    """3x3 convolutions of these widths; None halves height and width."""
    import keras

    layers = [keras.Input(shape)]
    for width in widths:
        if width is None:
            layers.append(keras.layers.MaxPooling2D())
        elif normalize:
            layers += [
                keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        else:
            layers.append(keras.layers.Conv2D(width, 3, padding="same", activation="relu"))
    return keras.Sequential(
        [*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    )


def mobilenet(name: str) -> Any:
    """MobileNetV2 without its weights, with a head for ten classes."""
    import keras

    backbone = keras.applications.MobileNetV2(
        (96, 96, 3), include_top=False, weights=None, pooling="avg"
    )
    for layer in backbone.layers:
        layer.trainable = "frozen" not in name
    return keras.Model(backbone.input, keras.layers.Dense(10)(backbone.output))


# --- results


def read(output: Path) -> dict[tuple[str, int, str, float], float]:
    """The median ratio of each cell that has been measured."""
    ratios: dict[tuple[str, int, str, float], list[float]] = {}
    for line in output.read_text().splitlines() if output.exists() else []:
        cell = json.loads(line)
        ratios.setdefault((cell["model"], cell["batch"], cell["way"], cell["density"]), []).append(
            cell["ratio"]
        )
    return {key: statistics.median(values) for key, values in ratios.items()}


def text_of(ratios: dict[tuple[str, int, str, float], float]) -> str:
    """The file of results."""
    text = report.header("Small batches: sparse models against dense ones", COMMAND) + NOTE + "\n"
    below = [key for key, ratio in ratios.items() if ratio < 0.95]
    text += (
        f"{len(ratios)} cells, {len(below)} below 0.95; the lowest is {min(ratios.values()):.2f}.\n"
    )
    for way in WAYS:
        rows = []
        for model in MODELS:
            for density in DENSITIES:
                cells = [ratios.get((model, batch, way, density)) for batch in BATCHES]
                if any(cells):
                    rows.append((model, density, *map(_cell, cells)))
        text += f"\n## {way}\n\n{report.table(('model', 'density', *(f'batch {batch}' for batch in BATCHES)), rows)}"
    return text


def _cell(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"**{ratio:.2f}**" if ratio < 0.95 else f"{ratio:.2f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument(
        "--again", type=float, default=0.001, help="measures cells again whose ratio is below this"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=CELLS,
        help="cells, one a line; the table is written beside it",
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--cells", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
