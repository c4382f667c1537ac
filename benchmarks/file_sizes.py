"""Measures the size of a model's files: dense, sparse, zipped, and compressed by this library.

    python -m benchmarks.file_sizes

The weights are those of initializers, of which ``prune`` keeps the largest. A file's size depends
on the number of weights that stay, and hardly on their values.
"""

import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras

import keras_sparse as ks
from benchmarks import options, report

COMMAND = "python -m benchmarks.file_sizes"
DENSITIES = (0.1, 0.05)
NOTE = """\
Bytes of `model.save` of the dense and of the sparse model, of the latter after zip (deflate, level
9), and of `ks.save_compressed` with values in float32, float16 and bfloat16.
Files of tfmot are in [another table](export_sizes.md).
Seconds are of `ks.save_compressed` in float32 and of `ks.load_compressed`.
"""
COLUMNS = (
    *("network", "density", "dense", "sparse", "zipped", "float32", "float16", "bfloat16"),
    *("float32 / zipped", "write s", "read s"),
)
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "LeNet-300-100": lambda: keras.Sequential(
        [keras.Input((784,)), *(keras.layers.Dense(units) for units in (300, 100, 10))]
    ),
    "MobileNetV2": lambda: keras.applications.MobileNetV2(weights=None),
    "ResNet50": lambda: keras.applications.ResNet50(weights=None),
}


def main() -> None:
    """Measures, prints, and writes."""
    parser = options.parser(__doc__, "file_sizes.md")
    arguments = parser.parse_args()
    rows = [row_of(name, density) for name in NETWORKS for density in DENSITIES]
    title = report.header("Sizes of files", COMMAND)
    text = title + NOTE + "\n" + report.table(COLUMNS, rows)
    report.publish(arguments.output, text)


def row_of(name: str, density: float) -> tuple[object, ...]:
    """One row of the table."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    with tempfile.TemporaryDirectory() as folder:
        saved, compressed = Path(folder, "model.keras"), Path(folder, "model.sparse")
        model.save(saved)
        dense = saved.stat().st_size
        ks.prune(model, density)
        model.save(saved)
        sparse, sizes = saved.stat().st_size, {}
        for dtype in ("bfloat16", "float16", "float32"):
            begin = time.perf_counter()
            ks.save_compressed(model, compressed, dtype=dtype)
            sizes[dtype] = compressed.stat().st_size
        middle = time.perf_counter()
        ks.load_compressed(compressed)
        seconds = f"{middle - begin:.1f}", f"{time.perf_counter() - middle:.1f}"
        zip_size = zipped(saved)
    own = [f"{sizes[dtype]:,}" for dtype in ("float32", "float16", "bfloat16")]
    share = f"{sizes['float32'] / zip_size:.2f}"
    return name, density, f"{dense:,}", f"{sparse:,}", f"{zip_size:,}", *own, share, *seconds


def zipped(path: Path) -> int:
    """Bytes of a zip file with this one."""
    target = path.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.write(path, path.name)
    return target.stat().st_size


if __name__ == "__main__":
    main()
