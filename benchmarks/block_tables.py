"""The tables of the benchmark of masks of blocks, from its records."""

from collections.abc import Sequence
from statistics import mean

import keras_sparse as ks
from benchmarks import records, report
from benchmarks.records import Record

COMMAND = "; ".join(
    f"python -m benchmarks.block_accuracy --network {network} --data {data}"
    for network, data in (
        ("mnist", "mnist.npz"),
        ("cifar", "cifar10.npz"),
        ("cifar-small", "cifar10.npz --epochs 10 --densities 0.05 0.1"),
    )
)
LARGE: dict[str, ks.Blocks | None] = {
    "single weights": None,
    "all taps, 1x1": ks.Blocks(1, 1),
    "vectors, 1x8": ks.Blocks(1, 8),
    "blocks, 16x16": ks.Blocks(16, 16),
    "blocks, 32x32": ks.Blocks(32, 32),
    "blocks, 64x64": ks.Blocks(64, 64),
}
SMALL: dict[str, ks.Blocks | None] = {
    "single weights": None,
    "4x4 per tap": ks.Blocks(4, 4, per_tap=True),
    "1x8 per tap": ks.Blocks(1, 8, per_tap=True),
    "4x1 per tap": ks.Blocks(4, 1, per_tap=True),
    "2x4 per tap": ks.Blocks(2, 4, per_tap=True),
    "8x8 per tap": ks.Blocks(8, 8, per_tap=True),
    "4x4, all taps": ks.Blocks(4, 4),
}
STRUCTURES = {"mnist": LARGE, "cifar": LARGE, "cifar-small": SMALL}
DENSITIES = (0.25, 0.1, 0.05)
TITLES = {
    "mnist": "MNIST, 1024-512-512-10",
    "cifar": "CIFAR-10, convolutions 64-128-128-256-256-256-256",
    "cifar-small": "CIFAR-10, the same convolutions, small blocks",
}
COLUMNS = (
    *("mask", "active %", "test error %", "training error %", "seeds", "new %", "dead %"),
    *("seconds a run", "more"),
)
NOTE = """\
Mean ± standard error of the test error after the last epoch. "more": what a mask adds to the
error of single weights with the same number of active weights, seed by seed. "new": the share of
active weights at the end that were missing at the start. "dead": the share of the channels of
masked layers without an active weight in, or out. Seconds are of one core that also had other work.

Large blocks start with the same number of weights in each layer: whole blocks of 64x64 channels.
The convolutions are grids of 2, 4, 8, 16, 16 and 16 of them. At 9.7 % one of each is active, and
stays: a small dense network. Small blocks start with the same density in each layer. One seed says
nothing about differences within a point.
"""


def text_of(known: Sequence[Record]) -> str:
    """The file of results."""
    head = report.header("Test error by the shape of masks", COMMAND, records.circumstances(known))
    return head + NOTE + "".join(section(network, known) for network in TITLES)


def section(network: str, known: Sequence[Record]) -> str:
    """The table of one network, for its longest training."""
    own = [record for record in known if record["network"] == network]
    if not own:
        return ""
    epochs = max(record["epochs"] for record in own)

    def of(mask: str, density: float) -> dict[int, Record]:
        key = (mask, density, epochs)
        return {r["seed"]: r for r in own if (r["mask"], r["density"], r["epochs"]) == key}

    rows, structures = [], STRUCTURES[network]
    for mask, density in [("dense", 1.0), *((m, d) for d in DENSITIES for m in structures)]:
        if found := of(mask, density):
            more = _more(found, of("single weights", density))
            rows.append((mask, *_figures(list(found.values())), more))
    return f"\n## {TITLES[network]}, {epochs} epochs\n\n{report.table(COLUMNS, rows)}"


def _figures(found: Sequence[Record]) -> tuple[object, ...]:
    kinds = ("test_error", "training_error")
    errors = [report.mean_and_error([record[kind] for record in found]) for kind in kinds]
    active, new, dead = (
        f"{100 * mean(record[key] for record in found):.1f}" for key in ("active", "new", "dead")
    )
    seconds = f"{mean(record['seconds'] for record in found):.0f}"
    return active, *errors, len(found), new, dead, seconds


def _more(found: dict[int, Record], single: dict[int, Record]) -> str:
    """What these masks add to the error of single weights, seed by seed."""
    seeds = [seed for seed in found if seed in single]
    differences = [found[seed]["test_error"] - single[seed]["test_error"] for seed in seeds]
    return report.mean_and_error(differences) if differences and found != single else ""
