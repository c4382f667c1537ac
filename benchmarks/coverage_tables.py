"""The page of the benchmark of coverage, from its records."""

from benchmarks import records, report
from benchmarks.records import Record

COMMAND = "python -m benchmarks.coverage"
DENSITY = 0.1  # of records without a density
NOTE = """\
Images of 96x96, batch 32, density 0.1 or that beside the name, SGD with momentum 0.9, 256 images,
2 epochs with a mask update every 4 steps. The ViT has 4 blocks of width 192 and 3 heads, and
patches of 8x8. Other programs ran on the machine at the same time.

- `on the op`: the share of the multiply-adds of all masked kernels that the custom op runs at this
  batch, with the uniform densities of the beginning and with those after the training. `all`: that
  share of the whole network's, kernels without a mask included. `filled`: the share, after the
  training, of kernels that are more than 90 % dense. Momentum moves weights into small kernels of
  many positions until nothing is left to skip there.
- `closed` and `open`: seconds of the dense network's training step over seconds of the sparse
  one's, with the uniform masks of the beginning and the growth window closed and open; two threads,
  wall time, or one thread, CPU time; medians over turns.
- `outputs` and `export`: the largest difference from the network before the conversion, from the
  one exported, over the largest output.

ConvNeXt is missing: TensorFlow's grouped convolution takes minutes a step on this CPU. NASNetMobile
and Xception at 10 % are missing, too: they have not been measured since separable convolutions are
sparse. Where `filled` is empty, it was not measured.

At 5 %, training by the default takes 14 % of Xception's masked multiply-adds off the op. 12 % are
of kernels that are full then: at density 0.9, the op takes 1.2 to 1.5 times as long as the dense
operation in three of their shapes. 2 % are of a 1x1 convolution, 128 > 256 at 23x23, of density
0.56: there the op takes as long as the dense operation with the growth window closed, and 1.1 times
as long with it open (a product with both gradients, one thread). `redistribute=None` leaves each
layer its density, and `budget="multiply_adds"` makes weights of many positions dear: both keep the
kernels on the op.
"""
COLUMNS = (
    *("network", "setting", "threads", "outputs", "on the op, before", "after", "all, after"),
    *("filled, after", "dense s", "closed", "open", "density", "export"),
)


def key(record: Record) -> tuple[str, float, str]:
    """Which network, at which density, by which setting of the optimizer."""
    return record["network"], record.get("asked", DENSITY), record.get("setting", "default")


def page(finished: list[Record]) -> str:
    """The file of results: of each network and setting, the last record."""
    known = {key(record): record for record in finished}
    rows = [known[which] for which in sorted(known)]
    head = report.header("Coverage of keras.applications", COMMAND, records.circumstances(rows))
    return f"{head}{NOTE}\n{report.table(COLUMNS, [_cells(row) for row in rows])}"


def _cells(row: Record) -> tuple[object, ...]:
    before, after = row["before"], row["after"]
    name, asked, setting = key(row)
    return (
        name if asked == DENSITY else f"{name}, density {asked:g}",
        setting,
        row.get("threads", 2),
        f"{row['outputs']:.0e}",
        *(f"{n:.0%}" for n in (before["masked"], after["masked"], after["all"])),
        f"{after['filled']:.0%}" if "filled" in after else "",
        *(f"{row['dense_seconds']:.3f}", f"{row['closed']:.2f}", f"{row['open']:.2f}"),
        *(f"{row['density']:.4f}", f"{row['export']:.0e}"),
    )
