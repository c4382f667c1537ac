"""Draws docs/speed.png: speed-up by density, of operations and of whole training steps.

python -m benchmarks.speed_plot  # after conv_ops.py --peer sparseprop and train_step.py
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import options, report

KINDS = {
    "3x3 convolutions": "tab:blue",
    "1x1 convolutions": "tab:green",
    "dense layers": "tab:purple",
}
PEER, DENSE = "tab:orange", "0.35"
STEPS = {"window none": "0.7", "window 50": "tab:blue"}  # columns of the steps' table


def main() -> None:
    """Reads the tables of results and draws them."""
    parser = options.parser(__doc__)
    add = parser.add_argument
    add("--operations", type=Path, default=report.RESULTS / "conv_ops.md")
    add("--steps", type=Path, default=report.RESULTS / "train_step.md")
    add("--output", type=Path, default=report.ROOT / "docs" / "speed.png")
    arguments = parser.parse_args()
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    draw_operations(left, table_of(arguments.operations))
    draw_steps(right, table_of(arguments.steps, "speed-up"))
    for axes in (left, right):
        axes.axhline(1, color=DENSE, linewidth=1, linestyle=":")
        axes.grid(True, axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(arguments.output, dpi=150)
    print(f"wrote {arguments.output.name}")


def table_of(path: Path, first_column: str = "") -> list[list[str]]:
    """The cells of a file's first Markdown table with this first column, names of columns first."""
    lines, mark = path.read_text().splitlines(), f"| {first_column}".rstrip()
    begin = next(i for i, line in enumerate(lines) if line.startswith(mark))
    end = next((i for i in range(begin, len(lines)) if not lines[i].startswith("|")), len(lines))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begin:end]]
    return rows[:1] + rows[2:]


def draw_operations(axes: Any, table: list[list[str]]) -> None:
    """Speed-up against density: the geometric means of each kind of layer."""
    densities = [float(name) for name in table[0][2:]]
    for kind, colour in KINDS.items():
        row = next(row for row in table if row[0].startswith(f"**{kind}**"))
        pairs = [[float(part) for part in cell.split("/")] for cell in row[2:]]
        axes.plot(densities, [pair[0] for pair in pairs], color=colour, marker="o", label=kind)
        if kind == "3x3 convolutions" and len(pairs[0]) > 1:
            style = {"color": PEER, "marker": "s", "linestyle": "--"}
            label = "sparseprop, 3x3 convolutions"
            axes.plot(densities, [pair[1] for pair in pairs], label=label, **style)
    axes.set_xscale("log")
    axes.set_xticks(densities, [f"{100 * density:g} %" for density in densities])
    axes.minorticks_off()
    axes.set(xlabel="active weights", ylabel="times as fast as dense", ylim=(0, None))
    axes.set_title("forward and both gradients, one thread", fontsize="medium")


def draw_steps(axes: Any, table: list[list[str]]) -> None:
    """Speed-up of a training step over the best dense float32 one, by growth window."""
    cases = [row[0].split(", ") for row in table[1:]]
    names = [f"{model}\n{masks.replace('-', ' ')}" for model, _, masks, *_ in cases]
    for i, (column, colour) in enumerate(STEPS.items()):
        cells = [row[table[0].index(column)] for row in table[1:]]
        places = [x + 0.4 * i for x in range(len(names))]
        speed_ups = [float(cell.split(" / ")[0]) for cell in cells]
        bars = axes.bar(places, speed_ups, 0.38, color=colour, label=f"growth {column}")
        axes.bar_label(bars, fmt="%.1f", fontsize="small")
    axes.set_xticks([x + 0.2 for x in range(len(names))], names, fontsize="small")
    axes.set(ylim=(0, 6.5))
    axes.set_title(f"whole step, 5 %, {cases[0][1]}, two threads", fontsize="medium")


if __name__ == "__main__":
    main()
