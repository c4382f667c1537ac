"""The printed table of ``summary``, for terminals of any width and for logs."""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from keras_sparse.conversion.terminal import is_terminal, plain_console

COLUMNS = {
    "weights": "weights",
    "active": "active",
    "density": "density",
    "multiply-adds\ndense": "multiply_adds_dense",
    "multiply-adds\nsparse": "multiply_adds_sparse",
    "dead\ninputs": "dead_inputs",
    "dead\noutputs": "dead_outputs",
}
NO_MASKS = (
    "the optimizer has no masks yet: they are made when the training begins, or by "
    "`optimizer.build(model)`"
)
BUDGETS = {
    "weights": "the budget is in weights",
    "multiply_adds": "the budget is in multiply-adds",
}
WIDTH_OF_A_LOG = 150  # columns, if the output is not a terminal
WIDTH_OF_RUNS_AS = 16  # least columns
LONG_REASON = 90  # characters; one that several rows share stands once, below the table
UNLIMITED = 10_000
MARGIN = 4  # columns of a table's edges, which its measure excludes
NARROW_COLUMNS = {
    "weights": "weights",
    "density": "density",
    "mul-adds\ndense": "multiply_adds_dense",
    "mul-adds\nsparse": "multiply_adds_sparse",
}


def print_table(name: str, described: dict[str, Any]) -> None:
    """Prints the table; in a narrow terminal, with fewer columns and short numbers."""
    console, table = plain_console(), _table(name, described, narrow=False)
    unlimited = console.options.update(width=UNLIMITED)
    least = Measurement.get(console, unlimited, table).minimum + MARGIN
    if not is_terminal(sys.stdout):
        console = plain_console(width=max(WIDTH_OF_A_LOG, least))
    elif least > console.width:
        table = _table(name, described, narrow=True)
    console.print(table)


def _table(name: str, described: dict[str, Any], narrow: bool) -> Table:
    total, rows, text = described["total"], described["layers"], _short if narrow else cell
    caption, shared = _caption(total, narrow), _shared_reason(rows)
    if shared is not None:
        caption += f"; {shared}"
    table = Table(title=f"Sparsity of {name!r}", show_footer=True, caption=caption)
    if narrow:
        table.box, table.show_edge, table.padding = SIMPLE_HEAD, False, (0, 1, 0, 0)
    paths = [_Path(row, name) for row in rows]
    longest = max((path.longest for path in paths), default=0)
    table.add_column("weight", footer="total", min_width=longest)
    columns = NARROW_COLUMNS if narrow else COLUMNS
    if not narrow and total.get("exploration_rate", 0) > total["density"]:
        columns = COLUMNS | {"ever\nactive": "exploration_rate"}
    if not narrow:
        table.add_column("shape", no_wrap=True)
    for header, key in columns.items():
        table.add_column(header, footer=text(total[key]), justify="right", no_wrap=True)
    if "runs_as" in (rows[0] if rows else {}):
        table.add_column("runs as", min_width=WIDTH_OF_RUNS_AS)
    for path, row in zip(paths, rows, strict=True):
        shape = [] if narrow else ["x".join(map(str, row["shape"]))]
        runs_as = [_runs_as(row["runs_as"], shared)] if "runs_as" in row else []
        table.add_row(path, *shape, *(text(row[key]) for key in columns.values()), *runs_as)
    return table


def _shared_reason(rows: Sequence[dict[str, Any]]) -> str | None:
    """The long text of "runs as" that most rows have, if it is of two or more; else None."""
    stock = (text for row in rows if (text := row.get("runs_as", "")).startswith("stock: "))
    long = Counter(text for text in stock if len(text) > LONG_REASON)
    text, count = max(long.items(), key=lambda item: item[1], default=(None, 0))
    return text if count > 1 else None


def _runs_as(text: str, shared: str | None) -> str:
    return "stock: see below" if text == shared else text


class _Path:
    """The path of a weight, which folds only after a "/"."""

    def __init__(self, row: dict[str, Any], model: str) -> None:
        path = row["weight"].removeprefix(f"{model}/") + (" (frozen)" if row.get("frozen") else "")
        self._parts = re.findall(r"[^/]+/?", path)
        self.longest = max(map(cell_len, self._parts))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.longest, sum(map(cell_len, self._parts)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for part in self._parts:
            lines += (
                [part]
                if lines[-1] and cell_len(lines[-1] + part) > options.max_width
                else [lines.pop() + part]
            )
        yield Text("\n".join(lines))


def _caption(total: dict[str, Any], narrow: bool) -> str:
    lines = [f"{total['other_weights']:,} other weights are dense"]
    if total["multiply_adds_density"] is not None:
        budget = f" ({BUDGETS[total['budget']]})" if "budget" in total else ""
        lines.append(
            f"density {total['density']:.4f} of the weights, {total['multiply_adds_density']:.4f} "
            f"of their multiply-adds{budget}"
        )
    if not total.get("has_masks", True):
        lines.append(NO_MASKS)
    if total["other_multiply_adds"]:
        lines.append(
            f"the totals include {total['other_multiply_adds']:,} multiply-adds of other weights"
        )
    if "why_unknown" in total:
        lines.append(f"multiply-adds are unknown: {total['why_unknown']}")
    if "step_seconds_dense" in total:
        lines.append(
            f"a training step on this machine: {total['step_seconds_dense']:.3g} s dense; sparse "
            f"layers {total['step_speed_up_closed']:.2f}x as fast with the growth window closed, "
            f"{total['step_speed_up_open']:.2f}x with it open"
        )
    if "slow_dense" in total:
        lines.append(total["slow_dense"])
    if "break_even_densities" in total:
        lines.append(f"break-even densities: {total['break_even_densities']}")
    if narrow:
        lines.append("a wider terminal also shows shapes and dead channels")
    return "; ".join(lines)


def cell(value: float | int | None) -> str:
    """A number as the table shows it; ``?`` for None, which is an unknown one."""
    if value is None:
        return "?"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"


def _short(value: float | int | None) -> str:
    """A number with a letter for thousands, millions and more."""
    if value is None or isinstance(value, float) or value < 10_000:
        return cell(value)
    power = min((len(str(value)) - 1) // 3, 5)
    return f"{value / 1000**power:.3g}{'kMGTP'[power - 1]}"
