"""Measures the sizes of exported files in every format: dense, sparse, as they are and zipped.

    python -m benchmarks.export_sizes

The weights are those of initializers, of which ``prune`` keeps the largest. A file's size depends
on the number of weights that stay, and hardly on their values. Beside them are files of the same
networks that tfmot pruned, in Keras 2. Each file that was measured is a line of a ``.jsonl`` file
beside the table, and is not written again.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import options, records, report, tfmot_sizes
from benchmarks.export_networks import NETWORKS
from benchmarks.records import Record
from keras_sparse.exporting.formats import FORMATS

COMMAND = "python -m benchmarks.export_sizes"
NOTE = """\
Bytes of the files of `ks.export`, at a density of 0.1 (ViT: 0.05) of the masked weights, and of the
same networks without zeros. "zipped" is deflate at level 9 for files of 2026-11-26; later exports
report level 6, which is 4 % larger and takes a tenth of the time. `difference` is the largest
difference of predictions, read back by the runtime named, over the largest prediction (or 1).
Predictions of the untrained MobileNetV2 hardly depend on its inputs. Files of LiteRT in int8 have
dense kernels.

Rows of *tfmot, strip, gzip* are the same networks in Keras 2, pruned to the same density by
`prune_low_magnitude` and saved after `strip_pruning`. Its missing weights are 0.0 and -0.0, whose
signs cost space when zipped; ours are all 0.0. It does not prune attention: its ViT has more
weights.

"""
COLUMNS = (
    *("network", "format", "dense", "dense, zipped", "sparse", "sparse, zipped"),
    *("zipped / dense", "difference", "runtime"),
)
TFMOT = "tfmot, strip, gzip"
VARIANTS = [
    *((name, "float32") for name in ("saved_model", "keras", "onnx", "openvino", "litert")),
    *(("litert", dtype) for dtype in ("float16", "int8")),
    (TFMOT, "float32"),
]


@dataclasses.dataclass(frozen=True)
class Run:
    """One file."""

    network: str
    format: str
    dtype: str


def main() -> None:
    """Writes the files that are missing, then prints and writes the table."""
    arguments = options.parser_of_cells(__doc__, "export_sizes").parse_args()
    runs = [Run(name, *variant) for name in NETWORKS for variant in VARIANTS]
    known = records.complete(arguments.cells, runs, measured)
    found = {records.run_of(Run, record): record for record in known}
    text = report.header("Sizes of exported files", COMMAND, records.circumstances(known)) + NOTE
    text += report.table(COLUMNS, [_row(found[run]) for run in runs])
    report.publish(arguments.output, text)


def measured(run: Run) -> Record:
    """Sizes in bytes, the difference of predictions and the runtime."""
    if run.format == TFMOT:
        return tfmot_sizes.sizes(run.network)
    keras.utils.set_random_seed(0)
    network = NETWORKS[run.network]
    model = network.build(keras)
    ks.prune(model, network.density)
    shape = model.inputs[0].shape[1:]
    sample = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{FORMATS[run.format].suffix or ''}")
        # no bound: the table says how large the difference is
        settings = {"sample": sample, "verbose": False, "tolerance": 1.0}
        found = ks.export(model, path, run.format, dtype=run.dtype, **settings)
    dense, sparse = found.dense_sizes, found.sizes
    return {
        "dense": dense.bytes,
        "dense_zipped": dense.bytes_zipped,
        "sparse": sparse.bytes,
        "sparse_zipped": sparse.bytes_zipped,
        "difference": found.difference,
        "runtime": found.runtime,
    }


def _row(record: Record) -> Sequence[object]:
    kind = record["format"] + ("" if record["dtype"] == "float32" else f", {record['dtype']}")
    names = ("dense", "dense_zipped", "sparse", "sparse_zipped")
    share = f"{record['sparse_zipped'] / record['dense']:.3f}"
    difference = f"{record['difference']:.0e}" if "difference" in record else ""
    sizes = [f"{record[name]:,}" for name in names]
    return record["network"], kind, *sizes, share, difference, record.get("runtime", "")


if __name__ == "__main__":
    main()
