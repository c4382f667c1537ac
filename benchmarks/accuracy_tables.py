"""The tables of the accuracy benchmark, from its records."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import report
from accuracy_paper import reported

NOTE = """Mean ± standard error over seeds of the error after the last epoch, and the 95 % interval of the mean (Student's t).
No run is left out. "less sparse momentum": what a method's test error is above that of sparse momentum of the same
density and settings, seed by seed. Every method is its preset in keras_sparse with its defaults, but without an
initial scale ("initial scale" is `initial_scale="auto"`); all have the same recipe and a mask update before each epoch.
"FLOPs %": operations of the whole training, of those of the dense one: forward product, gradients of inputs (not of
the first layer's) and of weights. Missing weights cost nothing, but in the steps of the growth window weight
gradients are dense: all steps for the published sparse momentum, the last one before an update for growth by the
gradient. "-": not recorded. "kernels": layers that skip missing weights. Seconds are of one core, which other work
shared. "paper": Dettmers & Zettlemoyer 2019, with its own number of epochs.
"""
COLUMNS = (
    *("method", "weights %", "seeds", "test error %", "95 % interval", "less sparse momentum"),
    *("validation error %", "FLOPs %", "seconds a run", "paper, test error %"),
)
Record = dict[str, Any]


class Setting(NamedTuple):
    """What the runs of one table have in common."""

    network: str
    epochs: int
    images: int
    learning_rate: float


class Row(NamedTuple):
    """What the runs of one row have in common."""

    method: str
    density: float
    growth_window: int | str | None
    sparse_kernels: bool
    initial_scale: str | None


def setting_of(record: Record) -> Setting:
    return Setting(*(record[key] for key in Setting._fields))


def row_of(record: Record) -> Row:
    return Row(*(record[key] for key in Row._fields))


def sections(known: Sequence[Record]) -> str:
    """A table for each setting, the networks and the long trainings first."""
    return NOTE + "".join(section(setting, [r for r in known if setting_of(r) == setting]) for setting in settings_of(known))


def settings_of(known: Sequence[Record]) -> list[Setting]:
    """Those of the records, each once: by network, the long trainings first."""
    return sorted({setting_of(record) for record in known}, key=lambda s: (s.network, -s.epochs, -s.images, -s.learning_rate))


def section(setting: Setting, records: Sequence[Record]) -> str:
    """The table of one setting."""
    title = f"{setting.network}, {setting.epochs} epochs of {setting.images:,} images, learning rate {setting.learning_rate:g}"
    rows = [figures(row, records) for row in sorted({row_of(r) for r in records}, key=order)]
    return f"\n## {title}\n\n{report.table(COLUMNS, rows)}"


def figures(row: Row, records: Sequence[Record]) -> tuple[object, ...]:
    """One row."""
    found = [record for record in records if row_of(record) == row]
    errors = [record["test_error"] for record in found]
    validation = [record["validation_error"] for record in found if record["validation_error"] is not None]
    return (
        name_of(row),
        f"{100 * row.density:g}",
        len(found),
        report.mean_and_error(errors),
        "{:.2f} to {:.2f}".format(*report.confidence_interval(errors)) if len(errors) > 1 else "",
        _difference(row, records),
        report.mean_and_error(validation) if validation else "",
        _share(found),
        f"{statistics.mean(record['seconds'] for record in found):.0f}",
        reported(found[0]["network"], row.method, row.density) or "",
    )


def name_of(row: Row) -> str:
    """The method, and what differs from it as published."""
    from accuracy_methods import published_window

    words = [row.method]
    if row.growth_window != published_window(row.method):
        words.append(f"window {row.growth_window}")
    if row.initial_scale:
        words.append("initial scale")
    if row.sparse_kernels:
        words.append("kernels")
    return ", ".join(words)


def flops_share(records: Sequence[Record]) -> float | None:
    """Mean share of the dense training's operations; None where no record has them."""
    shares = [r["training_flops"] / r["dense_training_flops"] for r in records if r["training_flops"] is not None]
    return statistics.mean(shares) if shares else None


def _share(records: Sequence[Record]) -> str:
    share = flops_share(records)
    return "-" if share is None else f"{100 * share:.1f}"


def _difference(row: Row, records: Sequence[Record]) -> str:
    """To the published sparse momentum, seed by seed, kernels or not."""
    if row.method == "dense" or (row.method, row.growth_window, row.initial_scale) == ("sparse momentum", None, None):
        return ""
    base = {
        record["seed"]: record["test_error"]
        for record in records
        if (record["method"], record["density"], record["growth_window"], record["initial_scale"]) == ("sparse momentum", row.density, None, None)
    }
    pairs = [r["test_error"] - base[r["seed"]] for r in records if row_of(r) == row and r["seed"] in base]
    if not pairs:
        return ""
    error = f" ± {report.standard_error(pairs):.2f}" if len(pairs) > 1 else ""
    return f"{statistics.mean(pairs):+.2f}{error}"


def order(row: Row) -> tuple[Any, ...]:
    """What rows are sorted by: the dense first, then by density, by method, and what differs from it as published."""
    from accuracy_methods import NAMES

    position = NAMES.index(row.method) if row.method in NAMES else len(NAMES)
    window = {None: 1e9, "auto": 1e8}.get(row.growth_window, row.growth_window)  # type: ignore[arg-type]
    return -row.density, position, row.method, -window, row.initial_scale or "", row.sparse_kernels  # type: ignore[operator]
