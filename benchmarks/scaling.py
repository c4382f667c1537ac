"""Models when deciding masks on the host stops being negligible, for up to 1,000 replicas.

    python benchmarks/scaling.py --output benchmarks/results/scaling.md
    python benchmarks/scaling.py --quick

Measures the cost of an update per weight on one core, and checks that it predicts a larger update.
Four processes then decide the masks of one network in three ways. The formulas of
``scaling_model.py`` extend the measured constants to 10 G weights. Quantities that cannot be
measured here are options.
"""

import argparse
import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

import report
import scaling_tables as tables
import scaling_texts as texts
from scaling_model import BISECTION_STEPS, HostCosts, Link, Machine

LINKS = ("100 Gb/s Ethernet=100:20", "4 x 400 Gb/s=1600:5", "ICI of a TPU v5p=4800:1")
MILLION = 1_000_000
COMMAND = "python benchmarks/scaling.py --output benchmarks/results/scaling.md"


def main() -> None:
    """Measures, computes, prints, and writes if asked."""
    arguments = _arguments()
    small, large = ((1, 2, 4), 10) if arguments.quick else ((1, 5, 25), 200)  # millions of weights
    workers = workers_table(
        2 if arguments.quick else 20
    )  # first: forks, and TensorFlow has started no threads yet
    measured, costs = costs_table(small, large)
    scenario = tables.Scenario(
        costs,
        _machine(arguments),
        [_link(text) for text in arguments.links],
        arguments.density,
        arguments.every,
        arguments.window,
    )
    text = report.header("Past one machine", COMMAND)
    text += texts.MEASURED.format(
        costs=measured, check=check_table(costs, large), workers=workers, cores=_cores()
    )
    text += texts.BISECTION.format(
        bisection=bisection_table(4 if arguments.quick else 25),
        checkpoints=checkpoint_table(),
        sizes=tables.checkpoints(),
    )
    text += modelled(scenario)
    print(text)
    if arguments.output:
        report.write(arguments.output, text)


def workers_table(millions: int) -> str:
    """A row for each way: CPU seconds of the worker that has most, against the prediction; bytes; wall time; the masks."""
    import scaling_workers

    repeats = scaling_workers.run_and_predict(millions * MILLION)
    rows = []
    for way, (predicted, work) in repeats.items():
        most = min(max(one.cpu for one in workers) for workers in work)
        total = min(sum(one.cpu for one in workers) for workers in work)
        wall = min(
            max(one.end for one in workers) - min(one.begin for one in workers) for workers in work
        )
        hashes = {
            one.masks for way_of in repeats.values() for workers in way_of[1] for one in workers
        }
        sent = max(one.sent for one in work[0])
        same = "yes" if len(hashes) == 1 else "NO"
        rows.append(
            (
                way,
                f"{predicted:.3f}",
                f"{most:.3f}",
                f"{most / predicted - 1:+.0%}",
                f"{total:.3f}",
                f"{wall:.3f}",
                tables.size(sent),
                same,
            )
        )
    columns = (
        f"{millions} M weights",
        "predicted s",
        "most CPU s of a worker",
        "error",
        "CPU s of all",
        "wall s",
        "sent by a worker, at most",
        "same masks",
    )
    return report.table(columns, rows)


def costs_table(small: tuple[int, ...], large: int) -> tuple[str, HostCosts]:
    """A row for each network, and the constants of the last, which the model uses: some blocks of the large one."""
    from scaling_constants import measure, transformer_shapes

    networks = {f"{million} M": transformer_shapes(million * MILLION) for million in small}
    networks[f"of {large} M, {small[-1]} M"] = transformer_shapes(
        large * MILLION, small[-1] * MILLION
    )
    rows = []
    for name, shapes in networks.items():
        costs = measure(shapes)
        parts = (
            costs.read,
            costs.score,
            costs.select,
            costs.write,
            costs.rest,
            costs.update,
            costs.pack,
            costs.unpack,
        )
        rows.append((name, _largest(shapes), *(f"{1e9 * part:.2f}" for part in parts)))
    return report.table(
        (
            "weights",
            "largest layer",
            "read",
            "score",
            "select",
            "write",
            "rest",
            "whole update",
            "pack",
            "unpack",
        ),
        rows,
    ), costs


def check_table(costs: HostCosts, large: int) -> str:
    """Whole updates that are larger than what the constants are from: of layers that are as large as those, and of larger ones."""
    from scaling_constants import cpu_seconds, sparse_optimizer, transformer_shapes

    rows = []
    for shapes in (transformer_shapes(large * MILLION), [(large * MILLION // 8000, 1000)] * 8):
        optimizer = sparse_optimizer(shapes)
        size = sum(mask.size for mask in optimizer.masks.values())
        predicted, measured = size * costs.update, cpu_seconds(optimizer.update_masks, 3)
        rows.append(
            (
                f"{size:,}",
                len(shapes),
                _largest(shapes),
                f"{predicted:.2f}",
                f"{measured:.2f}",
                f"{measured / predicted - 1:+.0%}",
            )
        )
    return report.table(
        ("weights", "layers", "largest layer", "predicted CPU s", "measured CPU s", "error"), rows
    )


def _largest(shapes: Sequence[Sequence[int]]) -> str:
    return f"{max(math.prod(shape) for shape in shapes):,}"


def bisection_table(millions: int) -> str:
    """What reading the scores once predicts, what it takes, and NumPy's partition, which an update uses."""
    from scaling_bisection import check

    once, whole, partition, same = check(millions * MILLION)
    predicted = BISECTION_STEPS * once
    figures = (
        f"{4e-3 * millions / once:.1f}",
        f"{predicted:.3f}",
        f"{whole:.3f}",
        f"{whole / predicted - 1:+.0%}",
        f"{partition:.3f}",
        "yes" if same else "NO",
    )
    columns = (
        "scores",
        "GB/s, reading once",
        f"predicted s: {BISECTION_STEPS} times",
        "measured CPU s",
        "error",
        "np.partition",
        "same threshold",
    )
    return report.table(columns, [(f"{millions} M", *figures)])


def checkpoint_table() -> str:
    """Bytes of files."""
    from scaling_constants import checkpoint_bytes

    measured = checkpoint_bytes()
    kinds = sorted({name.rsplit(", ", 1)[0] for name in measured})
    rows = [
        (kind, *(f"{measured[f'{kind}, {which}']:.2f}" for which in ("dense", "sparse")))
        for kind in kinds
    ]
    return report.table(("bytes a weight", "dense, with momentum", "with masks"), rows)


def modelled(scenario: tables.Scenario) -> str:
    """What follows from the constants and the options."""
    facts = {
        field.name: getattr(scenario.machine, field.name) for field in dataclasses.fields(Machine)
    }
    names = {"hosts_link": scenario.links[0].name, "replicas_link": scenario.links[-1].name}
    text = texts.ALL_REDUCE.format(
        table=tables.all_reduce(scenario),
        density=scenario.density,
        every=scenario.every,
        window=scenario.window,
    )
    free = (tables.shares(scenario, whole_batch=False), tables.shares(scenario, whole_batch=True))
    text += texts.FREE.format(
        same_each=free[0], same_whole=free[1], every=scenario.every, **facts, **names
    )
    spacing = [tables.spacing(scenario, 10**9, 0.01, whole_batch) for whole_batch in (False, True)]
    return text + texts.WAYS.format(
        few=tables.ways(scenario, 64),
        many=tables.ways(scenario, 1000),
        spacing_each=spacing[0],
        spacing_whole=spacing[1],
        **facts,
        **names,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _link(text: str) -> Link:
    """From NAME=Gb/s:microseconds."""
    name, figures = text.rsplit("=", 1)
    gigabits, microseconds = map(float, figures.split(":"))
    return Link(name, gigabits * 1e9 / 8, microseconds * 1e-6)


def _machine(arguments: argparse.Namespace) -> Machine:
    return Machine(
        **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Machine)}
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="a Markdown file to write")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument(
        "--links",
        nargs="+",
        default=LINKS,
        metavar="NAME=Gb/s:us",
        help="the first is between hosts, the last between replicas",
    )
    parser.add_argument(
        "--density", type=float, default=0.1, help="active / all weights, in (0, 1]"
    )
    parser.add_argument("--every", type=int, default=1000, help="steps between updates")
    parser.add_argument(
        "--window",
        type=int,
        default=100,
        help="steps before an update in which missing weights get gradients",
    )
    for field in dataclasses.fields(Machine):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help="see scaling_model.Machine; default: %(default)s",
        )
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
