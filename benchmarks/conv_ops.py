"""Times sparse operations against TensorFlow's dense ones, layer by layer.

    python -m benchmarks.conv_ops                       # all layers, one and two threads
    python -m benchmarks.conv_ops --quick               # few turns: a first impression
    python -m benchmarks.conv_ops --dtype bfloat16      # another dtype
    # also masks of a training, beside evenly spread ones
    python -m benchmarks.conv_ops --masks benchmarks/data/wrn_16_4_masks.npz
    # masks of blocks of 4 x 4 channels, each tap for itself; without it single weights
    python -m benchmarks.conv_ops --structure 4x4-per-tap
    # the other library for sparse training on CPUs, in the same run
    python -m benchmarks.conv_ops --peer sparseprop

A step is the product, its input gradient and its kernel gradient, as TensorFlow operations in a
``tf.function``. The sparse kernel gradient covers active weights only, the dense one all weights.
Contenders take turns in one process. Each number of threads has its own process.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from benchmarks import options, report, sparseprop_peer, structures, turns
from benchmarks.op_contenders import GROUPS, Layer, masks_of_training, random_mask
from benchmarks.op_ratios import Work, compare
from benchmarks.processes import in_process
from keras_sparse.rules.single_weights import Weights

COMMAND = "python -m benchmarks.conv_ops"
INFERENCE_BATCHES = (1, 8)
MASKS_BATCH = 64
NOTE = """\
Dense time over sparse time: 2 means that the sparse operation takes half as long. Median over
turns. `dense` is the better of TensorFlow's own operations and XLA (`jit_compile=True`), in ms. CPU
time for one thread, wall time for more.
"""


def main() -> None:
    """A process a number of threads, one after the other; then prints and writes."""
    arguments = _arguments()
    if arguments.peer:
        sparseprop_peer.check_available()
    count = 5 if arguments.quick else arguments.turns
    common = (count, tuple(arguments.densities), arguments.masks, bool(arguments.peer))
    common += (arguments.quick, tuple(arguments.groups), arguments.dtype)
    common += (arguments.structure, tuple(arguments.batches))
    works = [Work(threads, *common) for threads in arguments.threads]
    text = report.header("Sparse operations against dense ones", report.as_typed(COMMAND)) + NOTE
    text += f"\nMasks: `{arguments.structure!r}`.\n\n"
    text += "".join(in_process(measure, work) for work in works)
    report.publish(arguments.output, text)


def measure(work: Work) -> str:
    """The tables for one number of threads."""
    turns.limit_threads(work.threads)
    title = f"## {work.threads} thread{'s' * (work.threads > 1)}\n\n"
    sections = ["### Training step\n\n" + training_table(work)]
    if work.masks:
        sections.append(f"### Training step with masks of a training\n\n{trained_table(work)}")
    sections += [
        f"### Forward only, batch {batch}\n\n{forward_table(work, batch)}" for batch in work.batches
    ]
    return title + "\n".join(sections) + "\n"


def training_table(work: Work) -> str:
    """A row for each layer and for each group's geometric mean.

    With a peer, each cell is "ours / the peer's".
    """
    return _table(work, {group: GROUPS[group] for group in work.groups}, forward_only=False)


def forward_table(work: Work, batch: int) -> str:
    """Likewise, for predictions."""
    groups = {
        group: tuple(dataclasses.replace(layer, batch=batch) for layer in layers)
        for group, layers in GROUPS.items()
        if group in work.groups
    }
    return _table(dataclasses.replace(work, peer=False), groups, forward_only=True)


def _table(work: Work, groups: Mapping[str, tuple[Layer, ...]], forward_only: bool) -> str:
    rows = []
    for group, layers in groups.items():
        results = []
        for layer in layers[:1] if work.quick else layers:
            masks = [random_mask(layer, density, work.structure) for density in work.densities]
            seconds, kind, ratios = compare(work, layer, masks, forward_only)
            rows.append((layer.name, f"{1000 * seconds:.2f} {kind}", *map(_cell, ratios)))
            print(*rows[-1], sep="  ", flush=True)
            results.append(ratios)
        columns = zip(*results, strict=True)
        means = [tuple(map(turns.geometric_mean, zip(*each, strict=True))) for each in columns]
        rows.append((f"**{group}**, geometric mean", "", *map(_cell, means)))
    return report.table(("layer", "dense", *(f"{density:g}" for density in work.densities)), rows)


def trained_table(work: Work) -> str:
    """A row for each mask of the file: as it is, and as many weights evenly spread."""
    rows = []
    alone = dataclasses.replace(work, peer=False)
    for layer, mask in masks_of_training(work.masks, MASKS_BATCH) if work.masks else ():
        density = float(mask.mean())
        busiest = mask.sum(axis=(0, 1, 2)).max() / mask.sum(axis=(0, 1, 2)).mean()
        both = [mask, random_mask(layer, density)]
        _, _, ratios = compare(alone, layer, both, forward_only=False)
        rows.append((layer.name, f"{density:.3f}", f"{busiest:.1f}", *map(_cell, ratios)))
        print(*rows[-1], sep="  ", flush=True)
    busiest_name = "busiest output channel over mean"
    return report.table(("layer", "density", busiest_name, "trained mask", "evenly spread"), rows)


def _cell(ratios: tuple[float, ...]) -> str:
    return " / ".join(f"{ratio:.2f}" for ratio in ratios)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "conv_ops.md")
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[1, 2])
    add("--densities", type=float, nargs="+", default=[0.2, 0.1, 0.05, 0.02])
    add("--groups", choices=GROUPS, nargs="+", default=list(GROUPS), help="of layers; default: all")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add("--turns", type=int, default=20)
    add("--masks", type=Path, help="a file that trained_masks.py wrote")
    add("--peer", choices=("sparseprop",), help='cells become "ours / the peer\'s"')
    add(
        "--structure",
        type=structures.structure,
        default=Weights(),
        help="of the masks: 4x4-per-tap, 8x8",
    )
    add("--batches", type=int, nargs="*", default=INFERENCE_BATCHES, help="of predictions")
    add("--quick", action="store_true", help="five turns, and the first layer of each kind")
    return parser.parse_args()


if __name__ == "__main__":
    main()
