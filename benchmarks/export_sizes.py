"""Measures the sizes of exported files in every format: dense, sparse, as they are and zipped.

    python -m benchmarks.export_sizes --output benchmarks/results/export_sizes.md

The weights are those of initializers, of which ``prune`` keeps the largest. A file's size depends
on the number of weights that stay, and hardly on their values.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import options, report
from keras_sparse.exporting.formats import FORMATS
from keras_sparse.exporting.report import ExportReport

L = keras.layers
COMMAND = "python -m benchmarks.export_sizes --output benchmarks/results/export_sizes.md"
DENSITY = 0.1
NOTE = f"""\
Bytes of the files of `ks.export` at a density of {DENSITY}, and of the same networks without zeros.
"zipped" is deflate at level 9, which zip and gzip do. `difference` is the largest difference of
predictions, read back by the runtime named, over the largest prediction (or 1). Predictions of the
untrained MobileNetV2 hardly depend on its inputs. Files of LiteRT in int8 have dense kernels. tfmot
refuses models of Keras 3, so there are no files of it.
"""
COLUMNS = (
    *("network", "format", "dense", "dense, zipped", "sparse", "sparse, zipped"),
    *("zipped / dense", "difference", "runtime"),
)
VARIANTS = [
    *((name, "float32") for name in ("saved_model", "keras", "onnx", "openvino", "litert")),
    *(("litert", dtype) for dtype in ("float16", "int8")),
]


def lenet() -> keras.Model:
    """LeNet-300-100."""
    return keras.Sequential([keras.Input((784,)), L.Dense(300), L.Dense(100), L.Dense(10)])


def mobilenet() -> keras.Model:
    """MobileNetV2 for small images."""
    return keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=100)


def lstm() -> keras.Model:
    """Two layers of 256 units, 20 steps."""
    layers = [L.LSTM(256, return_sequences=True), L.LSTM(256), L.Dense(10)]
    return keras.Sequential([keras.Input((20, 64)), *layers])


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "LeNet-300-100": lenet,
    "MobileNetV2": mobilenet,
    "LSTM": lstm,
}


def main() -> None:
    """Measures, prints, and writes if asked."""
    parser = options.parser(__doc__)
    parser.add_argument("--output", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    rows = [row for name in NETWORKS for row in rows_of(name)]
    text = report.header("Sizes of exported files", COMMAND) + NOTE + "\n"
    text += report.table(COLUMNS, rows)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


def rows_of(name: str) -> list[tuple[object, ...]]:
    """The rows of a network."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    ks.prune(model, DENSITY)
    shape = model.inputs[0].shape[1:]
    sample = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (format_, dtype) in enumerate(VARIANTS):
            path = Path(folder, f"{number}{FORMATS[format_].suffix or ''}")
            # no bound: the table says how large the difference is
            settings = {"sample": sample, "verbose": False, "tolerance": 1.0}
            rows.append(_row(name, ks.export(model, path, format_, dtype=dtype, **settings)))
            print(*rows[-1], flush=True)
    return rows


def _row(name: str, found: ExportReport) -> tuple[object, ...]:
    dense, sparse = found.dense_sizes, found.sizes
    kind = found.format + ("" if found.dtype == "float32" else f", {found.dtype}")
    sizes = (dense.bytes, dense.bytes_zipped, sparse.bytes, sparse.bytes_zipped)
    share = f"{sparse.bytes_zipped / dense.bytes:.3f}"
    figures = (*(f"{each:,}" for each in sizes), share, f"{found.difference:.0e}")
    return name, kind, *figures, found.runtime


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
