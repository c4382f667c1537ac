"""The tables of the accuracy benchmark, from its records."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.accuracy_paper import reported

NOTE = """\
Test and validation error after the last epoch: mean ± standard error over seeds. No run
is left out. The 95 % interval is that of the mean, by Student's t.

- **method**: each is its preset in keras_sparse with its defaults, but without an initial scale
  ("initial scale" is `initial_scale="auto"`). All have the same recipe, and a mask update before
  each epoch (AC/DC: where its phases begin). "window": the growth window in steps, if it is not the
  method's own. "growth batch": the share of a batch that missing weights take their gradients
  from, if it is not all. "kernels": layers that skip missing weights; the mathematics is the same.
- **to sparse momentum**: the test error less that of published sparse momentum at the same density,
  seed by seed. Less than 0 is better.
- **at chance**: runs that collapsed, with test errors of 80 % and more. They count, and "others" is
  the mean without them.
- **explored %**: weights that were active at some time (the exploration rate of ITOP).
- **FLOPs %**: operations of the training, of those of the dense training: forward product, gradient
  of inputs (not the first layer's) and of weights. Missing weights cost nothing, but weight
  gradients are dense while the growth window is open: always for published sparse momentum, in one
  step before an update for growth by the gradient, in 100 for GraNet with growth by the momentum
  (the default window of that time).
- **seconds**: of one run on one core that also had other work.
- **paper**: the test error in % that Dettmers & Zettlemoyer 2019 report, after 100 epochs on MNIST,
  250 on CIFAR-10 (WRN-28-2: 200).
"""
COLUMNS = (
    *("method", "weights %", "seeds", "test error %", "95 % interval", "to sparse momentum"),
    *("validation error %", "explored %", "FLOPs %", "seconds", "paper"),
)
CHANCE = 80.0  # errors in % from here on are of trainings that collapsed: ten classes give 90
# method, growth window and batch, initial scale
PUBLISHED = ("sparse momentum", None, 1.0, None)
Record = dict[str, Any]


class Setting(NamedTuple):
    """What the runs of one table have in common."""

    network: str
    epochs: int
    images: int
    learning_rate: float
    optimizer: str = "sgd"


class Row(NamedTuple):
    """What the runs of one row have in common."""

    method: str
    density: float
    growth_window: int | str | None
    sparse_kernels: bool
    initial_scale: str | None
    growth_batch: float = 1.0


def setting_of(record: Record) -> Setting:
    return Setting(**{key: record[key] for key in Setting._fields if key in record})


def row_of(record: Record) -> Row:
    return Row(**{key: record[key] for key in Row._fields if key in record})


def settings_of(known: Sequence[Record]) -> list[Setting]:
    """Those of the records, each once: by network, the long trainings first."""
    found = {setting_of(record) for record in known}
    return sorted(
        found,
        key=lambda s: (s.network, s.optimizer != "sgd", -s.epochs, -s.images, -s.learning_rate),
    )


def of_setting(known: Sequence[Record], setting: Setting) -> list[Record]:
    """The records of one table."""
    return [record for record in known if setting_of(record) == setting]


def sections(known: Sequence[Record]) -> str:
    """A table for each setting."""
    return NOTE + "".join(section(s, of_setting(known, s)) for s in settings_of(known))


def section(setting: Setting, records: Sequence[Record]) -> str:
    """The table of one setting."""
    network, epochs, images, rate, optimizer = setting
    by = "" if optimizer == "sgd" else f"{optimizer.capitalize()}, "
    title = f"{network}, {epochs} epochs of {images:,} images, {by}learning rate {rate:g}"
    rows = [figures(row, records) for row in sorted(set(map(row_of, records)), key=order)]
    return f"\n## {title}\n\n{report.table(COLUMNS, rows)}"


def figures(row: Row, records: Sequence[Record]) -> tuple[object, ...]:
    """One row of a table."""
    found = [record for record in records if row_of(record) == row]
    errors = [record["test_error"] for record in found]
    learned = [error for error in errors if error < CHANCE]
    at_chance = f" ({len(errors) - len(learned)} at chance)" if len(learned) < len(errors) else ""
    others = f" (others {report.mean_and_error(learned)})" if at_chance and learned else ""
    validation = [r["validation_error"] for r in found if r["validation_error"] is not None]
    bounds = report.confidence_interval(errors) if len(errors) > 1 else None
    explored = [100 * r["exploration_rate"] for r in found if r.get("exploration_rate")]
    share = flops_share(found)
    return (
        name_of(row),
        f"{100 * row.density:g}",
        f"{len(found)}{at_chance}",
        report.mean_and_error(errors) + others,
        "{:.2f} to {:.2f}".format(*bounds) if bounds else "",
        _difference(row, records),
        report.mean_and_error(validation) if validation else "",
        f"{statistics.mean(explored):.0f}" if explored else "",
        "not recorded" if share is None else f"{100 * share:.1f}",
        f"{statistics.mean(record['seconds'] for record in found):.0f}",
        reported(found[0]["network"], row.method, row.density) or "",
    )


def name_of(row: Row) -> str:
    """The method, and what differs from it as published."""
    from benchmarks.accuracy_methods import published_window

    words = [row.method]
    if row.growth_window != published_window(row.method):
        words.append(f"window {row.growth_window}")
    if row.growth_batch < 1:
        words.append(f"growth batch {row.growth_batch:g}")
    if row.initial_scale:
        words.append("initial scale")
    if row.sparse_kernels:
        words.append("kernels")
    return ", ".join(words)


def without_density(row: Row) -> tuple[object, ...]:
    """The setting of a row at all densities, with kernels or without."""
    return row.method, row.growth_window, row.growth_batch, row.initial_scale


def flops_share(records: Sequence[Record]) -> float | None:
    """Mean share of the dense training's operations; None where no record has them."""
    counted = [record for record in records if record["training_flops"] is not None]
    shares = [record["training_flops"] / record["dense_training_flops"] for record in counted]
    return statistics.mean(shares) if shares else None


def order(row: Row) -> tuple[Any, ...]:
    """Sorts rows: the dense first, then by density, by method, and by what differs from it."""
    from benchmarks.accuracy_methods import NAMES

    position = NAMES.index(row.method) if row.method in NAMES else len(NAMES)
    window = row.growth_window
    steps = window if isinstance(window, int) else {None: 1e9, "auto": 1e8}[window]
    rest = (-row.growth_batch, row.initial_scale or "", row.sparse_kernels)
    return -row.density, position, row.method, -steps, *rest


def _difference(row: Row, records: Sequence[Record]) -> str:
    """To the published sparse momentum, seed by seed, with kernels or without."""
    if row.method == "dense" or without_density(row) == PUBLISHED:
        return ""
    base = {}
    for record in records:
        of = row_of(record)
        if without_density(of) == PUBLISHED and of.density == row.density:
            base[record["seed"]] = record["test_error"]
    own = [r for r in records if row_of(r) == row and r["seed"] in base]
    differences = [record["test_error"] - base[record["seed"]] for record in own]
    if not differences:
        return ""
    several = len(differences) > 1
    error = f" ± {report.standard_error(differences):.2f}" if several else ""
    return f"{statistics.mean(differences):+.2f}{error}"
