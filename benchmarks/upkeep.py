"""Measures the cost of masks, in every step and when they change.

    python -m benchmarks.upkeep

1. A masked step against the dense step of the same model, in turns, in one process and thread.
2. One mask update of ResNet-50's 25.5 M weights: seconds, and peak memory.
3. The cost per weight of one mask update, from 1 M to 200 M weights.

Times are CPU times of the process, so other work on the machine changes them little.
"""

import statistics

from benchmarks import options, report
from benchmarks.step_cost import CASES, compare_steps
from benchmarks.update_cost import cost_per_weight, numpy_update, optimizer_update

COMMAND = "python -m benchmarks.upkeep"
STEP_NOTE = """\
CPU milliseconds of one step, medians. The ratio is the median, over all turns, of a masked step
against the dense step beside it; in brackets its quartiles. Density 0.1, SGD with Nesterov
momentum, random data, one thread.
"""
UPDATE_NOTE = """\
Bytes are the most memory allocated at any moment of the update, less what was there before, divided
by the number of weights. They hold everything NumPy allocates: the new masks (one byte a weight),
all scores, and the optimizer's copies of weight and momentum, which are made and dropped layer by
layer.
"""
SCALE_NOTE = "The same update of ten equal layers, NumPy arrays.\n"
STEP_COLUMNS = ("model", "batch", "XLA", "dense ms", "masked ms", "ratio")
UPDATE_COLUMNS = ("one mask update", "weights", "CPU seconds", "bytes a weight")
MILLIONS = [1, 5, 25, 100, 200]


def main() -> None:
    """Measures, prints, and writes."""
    parser = options.parser(__doc__, "upkeep.md")
    add = parser.add_argument
    add("--turns", type=int, default=30, help="how often dense and masked steps take turns")
    add("--millions", type=int, nargs="+", default=MILLIONS, help="of weights, in the last table")
    arguments = parser.parse_args()
    text = report.header("The upkeep of masks", COMMAND)
    text += f"## A step\n\n{STEP_NOTE}\n{steps_table(arguments.turns)}\n"
    text += f"## An update of ResNet-50's weights\n\n{UPDATE_NOTE}\n{updates_table()}\n"
    text += f"## An update, per weight\n\n{SCALE_NOTE}\n{scale_table(arguments.millions)}"
    report.publish(arguments.output, text)


def steps_table(turns: int) -> str:
    """A row for each model, with XLA and without."""
    rows = []
    for case in CASES:
        for jit_compile in (False, True):
            dense, masked = compare_steps(case, jit_compile, turns)
            ratios = [m / d for m, d in zip(masked, dense, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            times = [f"{1000 * statistics.median(times):.2f}" for times in (dense, masked)]
            ratio = f"{middle:.3f} ({low:.3f} to {high:.3f})"
            rows.append((case.name, case.batch, "yes" if jit_compile else "no", *times, ratio))
    return report.table(STEP_COLUMNS, rows)


def updates_table() -> str:
    """A row for plain arrays and one for an optimizer's variables."""
    rows = []
    for name, measure in (
        ("update_masks on NumPy arrays", numpy_update),
        ("SparseMomentum.update_masks on TensorFlow variables", optimizer_update),
    ):
        weights, seconds, extra = measure()
        rows.append((name, f"{weights:,}", f"{seconds:.2f}", f"{extra / weights:.2f}"))
    return report.table(UPDATE_COLUMNS, rows)


def scale_table(millions: list[int]) -> str:
    """A row for each number of weights."""
    rows = [(f"{n} M", f"{1e9 * cost_per_weight(n * 1_000_000):.1f}") for n in millions]
    return report.table(("weights", "ns a weight"), rows)


if __name__ == "__main__":
    main()
