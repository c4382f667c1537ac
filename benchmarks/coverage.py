"""Converts and trains a ViT and a network of each family of keras.applications, dense and sparse.

    # all of them; a network that is in the records is not run again
    python -m benchmarks.coverage
    python -m benchmarks.coverage --networks ViT Xception --density 0.05 --threads 1

Each network has random weights and ten classes. It is converted by ``sparsify``, trained for two
epochs on scikit-learn's digits (enlarged, in colour), timed beside the dense network in one
process, exported and read back.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import options, records, report, turns
from benchmarks.processes import in_process
from benchmarks.records import Record

COMMAND = "python -m benchmarks.coverage"
NETWORKS = (
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2"),
    *("InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50"),
    *("ResNet50V2", "VGG16", "ViT", "Xception"),
)
SIDE, BATCH, DENSITY, IMAGES, EPOCHS, EVERY = 96, 32, 0.1, 256, 2, 4
FILLED = 0.9  # a kernel of a larger density has nothing to skip
PATCH, WIDTH, HEADS, BLOCKS = 8, 192, 3, 4  # of the ViT: the width of ViT-Tiny
NOTE = f"""\
Images of {SIDE}x{SIDE}, batch {BATCH}, density {DENSITY:g} or that beside the name, SGD with
momentum 0.9, {IMAGES} images, {EPOCHS} epochs with a mask update every {EVERY} steps. The ViT has
{BLOCKS} blocks of width {WIDTH} and {HEADS} heads, and patches of {PATCH}x{PATCH}.

- `on the op`: the share of the multiply-adds of all masked kernels that the custom op runs at this
  batch, with the uniform densities of the beginning and with those after the training. `all`: that
  share of the whole network's, kernels without a mask included. `filled`: the share, after the
  training, of kernels that are more than {FILLED:.0%} dense. Momentum moves weights into small
  kernels of many positions until nothing is left to skip there.
- `closed` and `open`: seconds of the dense network's training step over seconds of the sparse
  one's, with the growth window closed and open; two threads, wall time, or one thread, CPU
  time; medians over turns.
- `outputs` and `export`: the largest difference from the network before the conversion, from the
  one exported, over the largest output.
"""


def main() -> None:
    """A process for each network that has no record yet; then the table."""
    arguments = _arguments()
    path = arguments.output.with_suffix(".jsonl")
    done = {_key(record) for record in records.read(path)}
    for name in arguments.networks:
        if (name, arguments.density) not in done:
            result = in_process(
                measure, name, arguments.turns, arguments.density, arguments.threads
            )
            records.add(path, result)
            print(json.dumps(result), flush=True)
    known = {_key(record): record for record in records.finished(path)}
    rows = [known[key] for key in sorted(known)]
    text = report.header("Coverage of keras.applications", COMMAND, rows[-1]["measured"])
    remark = f"\n{arguments.remark}\n" if arguments.remark else ""
    text += f"{NOTE}{remark}\n{results_table(rows)}"
    print(text)
    report.write(arguments.output, text)


def _key(record: Record) -> tuple[str, float]:
    return record["network"], record.get("asked", DENSITY)


def measure(name: str, count: int, density: float, threads: int) -> Record:
    """All figures of one network; to be called in a fresh process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    turns.limit_threads(threads)
    import keras

    import keras_sparse as ks

    keras.utils.set_random_seed(0)
    images, labels = _digits()
    dense = network(name)
    sparse = ks.sparsify(dense)
    outputs = [model.predict(images[:8], verbose=0) for model in (dense, sparse)]
    steps = {"dense": _step(dense, None, images, labels)}
    steps["sparse"] = _step(sparse, density, images, labels)
    before = on_the_op(sparse)
    optimizer = ks.sparse_optimizer(sparse)
    timed = _timed(steps, optimizer, count, threads)
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
    sparse.fit(images, labels, **settings, callbacks=[ks.UpdateMasks(every=EVERY)])
    return {
        "network": name,
        "asked": density,
        "threads": threads,
        "outputs": _difference(*outputs),
        "before": before,
        "after": on_the_op(sparse),
        "dense_seconds": timed["dense"],
        **{kind: timed["dense"] / timed[kind] for kind in ("closed", "open")},
        "density": optimizer.total_density(),
        "export": _export_difference(sparse, images[:8]),
    }


def network(name: str) -> Any:
    """An untrained network of ten classes."""
    import keras

    layers, shape = keras.layers, (SIDE, SIDE, 3)
    if name != "ViT":
        return getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)
    images = keras.Input(shape)
    x = layers.Conv2D(WIDTH, PATCH, PATCH)(images)
    x = layers.Reshape(((SIDE // PATCH) ** 2, WIDTH))(x)
    for _ in range(BLOCKS):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y)
        y = layers.Dense(4 * WIDTH, "gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(WIDTH)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(images, layers.Dense(10, "softmax")(x), name="vit")


def on_the_op(sparse: Any) -> dict[str, float]:
    """Shares of dense multiply-adds.

    {"masked": those that the op runs, of those of the masked kernels; "all": the same, of those of
    the network; "filled": those of kernels that are almost dense, of those of the masked kernels}.
    """
    import keras_sparse as ks

    described = ks.summary(sparse, "dict", batch=BATCH)
    layers, everything = described["layers"], described["total"]["multiply_adds_dense"]
    masked = sum(layer["multiply_adds_dense"] for layer in layers)
    on_op, filled = (
        sum(layer["multiply_adds_dense"] for layer in some)
        for some in (
            [layer for layer in layers if layer["runs_as"] == "custom op"],
            [layer for layer in layers if layer["density"] > FILLED],
        )
    )
    return {"masked": on_op / masked, "all": on_op / everything, "filled": filled / masked}


def _step(model: Any, density: float | None, images: Any, labels: Any) -> Callable[[], None]:
    import keras

    import keras_sparse as ks
    from benchmarks import classifier

    optimizer: Any = keras.optimizers.SGD(0.01, momentum=0.9)
    if density is not None:
        optimizer = ks.SparseMomentum(optimizer, density=density)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return classifier.stepper(model, images[:BATCH], labels[:BATCH])


def _timed(
    steps: dict[str, Callable[[], None]], optimizer: Any, count: int, threads: int
) -> dict[str, float]:
    """Median seconds of a step: dense, and sparse with a closed and an open growth window."""

    def windowed(is_open: bool) -> Callable[[], None]:
        def step() -> None:
            optimizer.open_growth_window(is_open)
            steps["sparse"]()

        return step

    contenders = {"dense": steps["dense"], "closed": windowed(False), "open": windowed(True)}
    for contender in contenders.values():
        contender()
    seconds = turns.take_turns(contenders, count, turns.clock_for(threads))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _export_difference(sparse: Any, images: Any) -> float:
    import tensorflow as tf

    import keras_sparse as ks

    with tempfile.TemporaryDirectory() as folder:
        ks.export(sparse, folder, verbose=False)
        served = tf.saved_model.load(folder).serve(images).numpy()
    return _difference(sparse.predict(images, verbose=0), served)


def _difference(wanted: Any, got: Any) -> float:
    return float(abs(wanted - got).max() / abs(wanted).max())


def _digits() -> tuple[Any, Any]:
    """float32 (IMAGES, SIDE, SIDE, 3) in [-1, 1], and int32 labels."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = (images[:IMAGES].reshape(-1, 8, 8, 1) / 8 - 1).astype("float32")
    large = keras.ops.convert_to_numpy(keras.ops.image.resize(grey, (SIDE, SIDE)))
    return np.repeat(large, 3, axis=-1), labels[:IMAGES].astype("int32")


def results_table(rows: list[Record]) -> str:
    """A row for each network."""
    shares = ("on the op, before", "after", "all, after", "filled, after")
    columns = (
        "network",
        "threads",
        "outputs",
        *shares,
        "dense s",
        "closed",
        "open",
        "density",
        "export",
    )
    return report.table(columns, [_cells(row) for row in rows])


def _cells(row: Record) -> tuple[object, ...]:
    before, after = row["before"], row["after"]
    shares = [f"{n:.0%}" for n in (before["masked"], after["masked"], after["all"])]
    name, asked = _key(row)
    return (
        name if asked == DENSITY else f"{name}, density {asked:g}",
        row.get("threads", 2),
        f"{row['outputs']:.0e}",
        *shares,
        f"{after['filled']:.0%}" if "filled" in after else "",
        *(f"{row['dense_seconds']:.3f}", f"{row['closed']:.2f}", f"{row['open']:.2f}"),
        *(f"{row['density']:.4f}", f"{row['export']:.0e}"),
    )


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    add("--networks", choices=NETWORKS, nargs="+", default=NETWORKS)
    add("--density", type=float, default=DENSITY)
    add("--threads", type=int, choices=(1, 2), default=2)
    add("--turns", type=int, default=5)
    add("--remark", default="", help="a sentence on the circumstances, for the reader")
    add("--output", type=Path, default=report.RESULTS / "coverage.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
