"""Computes the cost of mask updates, gradients and masks past one machine; measures nothing.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --weights 7e9 --every 500 --devices 4 --replicas 64

The time of an update per weight is measured by `upkeep.py`. The speed of the link between host and
device is an option: it cannot be measured on a CPU.
"""

import argparse
from collections.abc import Sequence

from benchmarks import report

UPDATE_NS = 10.6  # per weight: 0.27 s for 25.5 M weights in results/upkeep.md
READ_BYTES = (
    15  # per weight, to the host: mask (1) three times, momentum (4) twice, weight (4) once
)
MASK_BYTES = 1  # per weight and device, from the host; also in checkpoints
STATE_BYTES = 8  # per weight in checkpoints: weight and momentum
GRADIENT_BYTES = 4  # float32, as the variables are, under mixed_bfloat16 too
COLUMNS = (
    *("weights", "s per update", "shortest step, ms", "GB sent per step"),
    *("GB of weights and momenta", "GB of masks"),
)


def update_seconds(weights: float, nanoseconds: float, host_link: float, devices: int) -> float:
    """Seconds of an update: decided on one core of the host, copied from and to its devices.

    Args:
        weights: of the whole network; each device holds all of them.
        nanoseconds: of the decision, per weight.
        host_link: bytes per second between the host and its devices.
        devices: of one host.
    """
    copied = READ_BYTES + devices * MASK_BYTES
    return weights * (nanoseconds * 1e-9 + copied / host_link)


def shortest_step(update: float, every: int, share: float) -> float:
    """Seconds of a step with which updates take this share of the time, one every ``every`` steps.

    >>> shortest_step(update=1.0, every=99, share=0.01)
    1.0
    """
    return update * (1 - share) / (share * every)


def all_reduce_bytes(weights: float, replicas: int) -> float:
    """What one replica sends in a step: in a ring, twice all gradients but its own part.

    >>> all_reduce_bytes(100, replicas=2)
    400.0
    """
    return 2 * (replicas - 1) / replicas * weights * GRADIENT_BYTES


def rows(arguments: argparse.Namespace) -> list[tuple[str, ...]]:
    """A row for each number of weights."""
    found = []
    for weights in arguments.weights:
        options = (arguments.update_ns, arguments.host_link, arguments.devices)
        update = update_seconds(weights, *options)
        step = shortest_step(update, arguments.every, arguments.share)
        sent = all_reduce_bytes(weights, arguments.replicas)
        sizes = [count / 1e9 for count in (sent, STATE_BYTES * weights, MASK_BYTES * weights)]
        found.append((f"{weights / 1e6:,g} M", *(f"{x:.3g}" for x in (update, 1e3 * step, *sizes))))
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Prints the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--weights", type=float, nargs="+", default=[1e6, 25.5e6, 1e8, 1e9, 1e10])
    add("--update-ns", type=float, default=UPDATE_NS, help="per weight; default: %(default)s")
    add("--host-link", type=float, default=16e9, help="bytes per second; default: %(default)s")
    add("--devices", type=int, default=8, help="of one host; default: %(default)s")
    add("--replicas", type=int, default=8, help="that share gradients; default: %(default)s")
    add("--every", type=int, default=1000, help="steps between updates; default: %(default)s")
    add("--share", type=float, default=0.01, help="of the time, for updates; default: %(default)s")
    print(report.table(COLUMNS, rows(parser.parse_args(words))))


if __name__ == "__main__":
    main()
