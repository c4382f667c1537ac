"""Writes the table of both budgets, in weights and in multiply-adds, from the accuracy records.

Run it as ``python -m benchmarks.budget_tables``.
"""

from typing import Any

from benchmarks import records, report

RECORDS = report.RESULTS / "budget_accuracy.jsonl"
COMMAND = (
    'python -m benchmarks.accuracy --network lenet-5 --methods "sparse momentum" '
    '"sparse momentum, multiply-adds" --densities 0.05 --seeds 2 --epochs 3 --images 10000 '
    "--data mnist.npz --records benchmarks/results/budget_accuracy.jsonl; "
    "python -m benchmarks.budget_tables"
)
COLUMNS = (
    *("network", "budget", "density asked %", "epochs", "images", "seed"),
    *("weights at the end %", "multiply-adds at the end %", "test error %"),
)
NOTE = """\
Sparse momentum with either budget; density shares are of the masked kernels, after the last epoch.
With the budget in weights, weights move to the first layers, and the multiply-adds grow. So one
density gives both rows different costs. These trainings are very short: their errors say nothing
about complete ones.
"""


def main() -> None:
    """Prints and writes the table."""
    known = records.finished(RECORDS)
    head = report.header("Test error by budget", COMMAND, records.circumstances(known))
    text = f"{head}{NOTE}\n{report.table(COLUMNS, [row_of(record) for record in known])}"
    report.publish(RECORDS.with_suffix(".md"), text)


def row_of(record: dict[str, Any]) -> tuple[str, ...]:
    """The figures of one training."""
    dense, last = record["multiply_adds"].values(), record["densities"][-1]
    spent = sum(n * density for n, density in zip(dense, last, strict=True)) / sum(dense)
    budget = "multiply-adds" if "multiply-adds" in record["method"] else "weights"
    return (
        *(record["network"], budget, f"{100 * record['density']:.0f}"),
        *(str(record[key]) for key in ("epochs", "images", "seed")),
        f"{100 * record['final_density']:.1f}",
        f"{100 * spent:.1f}",
        f"{record['test_error']:.2f}",
    )


if __name__ == "__main__":
    main()
