"""Times sparse operations against TensorFlow's dense ones, layer by layer.

    python -m benchmarks.conv_ops                       # all layers, one and two threads
    python -m benchmarks.conv_ops --quick               # few turns: a first impression
    # also masks of a training, beside evenly spread ones
    python -m benchmarks.conv_ops --masks benchmarks/data/wrn_16_4_masks.npz
    # the other library for sparse training on CPUs, in the same run
    python -m benchmarks.conv_ops --peer sparseprop

A step is the product, its input gradient and its kernel gradient, as TensorFlow operations in a
``tf.function``. The sparse kernel gradient covers active weights only, the dense one all weights.
Contenders take turns in one process. Each number of threads has its own process.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import report, turns
from benchmarks.op_contenders import (
    GROUPS,
    Layer,
    Operands,
    dense,
    masks_of_training,
    random_mask,
    sparse,
)

COMMAND = "python -m benchmarks.conv_ops"
INFERENCE_BATCHES = (1, 8)
MASKS_BATCH = 64
HOPELESS = 1.5  # XLA that takes so many times as long at first sight is not measured further
NOTE = (
    "Dense time over sparse time: 2 means that the sparse operation takes half as long. Median over turns. `dense` is the better of TensorFlow's\n"
    "own operations and XLA (`jit_compile=True`), in ms. CPU time for one thread, wall time for more.\n"
)


@dataclasses.dataclass(frozen=True)
class Work:
    """What one process measures."""

    threads: int
    turns: int
    densities: tuple[float, ...]
    masks: Path | None
    peer: bool
    quick: bool


def main() -> None:
    """A process a number of threads, one after the other; then prints and writes."""
    arguments = _arguments()
    works = [
        Work(
            threads,
            5 if arguments.quick else arguments.turns,
            tuple(arguments.densities),
            arguments.masks,
            bool(arguments.peer),
            arguments.quick,
        )
        for threads in arguments.threads
    ]
    if arguments.peer:
        from benchmarks import sparseprop_peer

        sparseprop_peer.check_available()
    context = multiprocessing.get_context(
        "spawn"
    )  # the number of TensorFlow's threads is fixed for a process
    text = (
        report.header("Sparse operations against dense ones", " ".join([COMMAND, *sys.argv[1:]]))
        + NOTE
        + "\n"
    )
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=context, max_tasks_per_child=1
    ) as pool:
        for section in pool.map(measure, works):
            text += section
    print(text)
    report.write(arguments.output, text)


def measure(work: Work) -> str:
    """The tables for one number of threads."""
    turns.limit_threads(work.threads)
    title = f"## {work.threads} thread{'s' * (work.threads > 1)}\n\n"
    sections = ["### Training step\n\n" + training_table(work)]
    if work.masks:
        sections.append(f"### Training step with masks of a training\n\n{trained_table(work)}")
    sections += [
        f"### Forward only, batch {batch}\n\n{forward_table(work, batch)}"
        for batch in INFERENCE_BATCHES
    ]
    return title + "\n".join(sections) + "\n"


def training_table(work: Work) -> str:
    """A row for each layer and for each group's geometric mean; with a peer, each cell is "ours / the peer's"."""
    return _table(work, ((group, layers) for group, layers in GROUPS.items()), forward_only=False)


def forward_table(work: Work, batch: int) -> str:
    """Likewise, for predictions."""
    groups = (
        (group, tuple(dataclasses.replace(layer, batch=batch) for layer in layers))
        for group, layers in GROUPS.items()
    )
    return _table(dataclasses.replace(work, peer=False), groups, forward_only=True)


def _table(work: Work, groups: Iterator[tuple[str, tuple[Layer, ...]]], forward_only: bool) -> str:
    rows = []
    for group, layers in groups:
        results = []
        for layer in layers[:1] if work.quick else layers:
            masks = [random_mask(layer, density) for density in work.densities]
            seconds, kind, ratios = compare(work, layer, masks, forward_only)
            rows.append((layer.name, f"{1000 * seconds:.2f} {kind}", *map(_cell, ratios)))
            print(*rows[-1], sep="  ", flush=True)
            results.append(ratios)
        means = [
            tuple(map(turns.geometric_mean, zip(*cells, strict=True)))
            for cells in zip(*results, strict=True)
        ]
        rows.append((f"**{group}**, geometric mean", "", *map(_cell, means)))
    return report.table(("layer", "dense", *(f"{density:g}" for density in work.densities)), rows)


def trained_table(work: Work) -> str:
    """A row for each mask of the file: as it is, and as many weights evenly spread."""
    assert work.masks
    rows = []
    for layer, mask in masks_of_training(work.masks, MASKS_BATCH):
        density = float(mask.mean())
        busiest = mask.sum(axis=(0, 1, 2)).max() / mask.sum(axis=(0, 1, 2)).mean()
        _, _, ratios = compare(
            dataclasses.replace(work, peer=False),
            layer,
            [mask, random_mask(layer, density)],
            forward_only=False,
        )
        rows.append((layer.name, f"{density:.3f}", f"{busiest:.1f}", *map(_cell, ratios)))
        print(*rows[-1], sep="  ", flush=True)
    return report.table(
        ("layer", "density", "busiest output channel over mean", "trained mask", "evenly spread"),
        rows,
    )


def compare(
    work: Work, layer: Layer, masks: list[np.ndarray], forward_only: bool
) -> tuple[float, str, list[tuple[float, ...]]]:
    """Dense seconds, which dense it was, and for each mask the ratios: ours and, if asked for, the peer's."""
    operands, clock = Operands(layer), turns.clock_for(work.threads)
    contenders = {
        "TF": dense(operands, forward_only, jit_compile=False),
        "XLA": dense(operands, forward_only, jit_compile=True),
    }
    for i, mask in enumerate(masks):
        contenders[f"{i} sparse"] = sparse(operands, mask, forward_only)
        if work.peer:
            from benchmarks import sparseprop_peer

            contenders |= {
                f"{i} peer {name}": step
                for name, step in sparseprop_peer.contenders(operands, mask, work.threads).items()
            }
    for contender in contenders.values():
        contender()
    first = turns.take_turns({name: contenders[name] for name in ("TF", "XLA")}, 2, clock)
    if min(first["XLA"]) > HOPELESS * min(first["TF"]):
        del contenders["XLA"]
    seconds = turns.take_turns(contenders, work.turns, clock)
    kind = min(("TF", "XLA"), key=lambda name: statistics.median(seconds.get(name, [np.inf])))
    best = [
        _best(seconds, kind, [name for name in seconds if name.startswith(f"{i} {who}")])
        for i in range(len(masks))
        for who in _who(work)
    ]
    pairs = [tuple(best[i * len(_who(work)) :][: len(_who(work))]) for i in range(len(masks))]
    return statistics.median(seconds[kind]), kind, pairs


def _who(work: Work) -> tuple[str, ...]:
    return ("sparse", "peer") if work.peer else ("sparse",)


def _best(seconds: turns.Seconds, kind: str, names: list[str]) -> float:
    return max(turns.ratio(seconds[kind], seconds[name]) for name in names)


def _cell(ratios: tuple[float, ...]) -> str:
    return " / ".join(f"{ratio:.2f}" for ratio in ratios)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.2, 0.1, 0.05, 0.02])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--masks", type=Path, help="a file that trained_masks.py wrote")
    parser.add_argument("--peer", choices=("sparseprop",), help='cells become "ours / the peer\'s"')
    parser.add_argument(
        "--quick", action="store_true", help="five turns, and the first layer of each kind"
    )
    parser.add_argument("--output", type=Path, default=report.RESULTS / "conv_ops.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
