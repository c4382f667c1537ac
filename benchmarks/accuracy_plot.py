"""Draws docs/accuracy.png: test error by density.

python benchmarks/accuracy_plot.py  # after mnist_accuracy.py
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import report
from matplotlib.figure import Figure
from mnist_accuracy import PAPER, read

OURS, THEIRS, DENSE = "tab:blue", "tab:orange", "0.35"


def main() -> None:
    """Draws the finished runs of the densities' table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=report.RESULTS / "mnist_accuracy.jsonl")
    parser.add_argument("--output", type=Path, default=report.ROOT / "docs" / "accuracy.png")
    arguments = parser.parse_args()
    known = [record for record in read(arguments.records) if record.get("initial_scale") is None]
    epochs = max(record["epochs"] for record in known)
    figure = draw([record for record in known if record["epochs"] == epochs], epochs)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=150)
    print(f"wrote {arguments.output.name}")


def draw(records: list[dict[str, Any]], epochs: int) -> Figure:
    """Test error against density, measured and published."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(*published(), color=THEIRS, marker="s", markersize=5, linewidth=1, linestyle="--", capsize=3, label="paper, sparse momentum")
    axes.errorbar(*measured(records), color=OURS, marker="o", markersize=6, linewidth=1.5, capsize=3, label="keras_sparse, sparse momentum")
    dense = [record["test_error"] for record in records if record["method"] == "dense"]
    axes.axhline(PAPER[1.0][0], color=THEIRS, linewidth=1, linestyle=":", label=f"paper, dense ({PAPER[1.0][0]:.2f} %)")
    axes.axhline(statistics.mean(dense), color=OURS, linewidth=1.2, linestyle=":", label=f"keras_sparse, dense ({statistics.mean(dense):.2f} %)")
    axes.set_xscale("log")
    axes.set_xticks([100 * density for density in PAPER if density < 1], [f"{100 * density:g} %" for density in PAPER if density < 1], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="active weights", ylabel="test error %", ylim=(1, None))
    seeds = len({record["seed"] for record in records})
    axes.set_title(f"LeNet-300-100 on MNIST, {epochs} epochs, {seeds} seeds, mean ± standard error", fontsize="medium")
    axes.grid(True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def measured(records: list[dict[str, Any]]) -> tuple[list[float], list[float], list[float]]:
    """Our sparse runs: weights in %, mean test error in %, its standard error."""
    errors: dict[float, list[float]] = {}
    for record in records:
        if record["method"] == "sparse momentum":
            errors.setdefault(record["density"], []).append(record["test_error"])
    densities = sorted(errors)
    return [100 * d for d in densities], [statistics.mean(errors[d]) for d in densities], [report.standard_error(errors[d]) for d in densities]


def published() -> tuple[list[float], list[float], list[float]]:
    """The paper's sparse runs, likewise; without a standard error where none is given."""
    densities = sorted(density for density in PAPER if density < 1)
    return [100 * d for d in densities], [PAPER[d][0] for d in densities], [PAPER[d][1] or 0.0 for d in densities]


if __name__ == "__main__":
    main()
