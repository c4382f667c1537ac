"""Plots test error against seconds: the trainings of each contender, a panel for each machine."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import Record
from benchmarks.time_front import Group, group_of, is_dense, points_of

DENSE_LABELS = {
    "dense": "dense, float32",
    "dense-fused": "dense, float32, fused normalization",
    "dense-bfloat16": "dense, mixed_bfloat16",
    "dense-bfloat16-fused": "dense, mixed_bfloat16, fused normalization",
}
SPARSE_LABELS = {  # of the contender's name before the density
    "sparse": "sparse momentum, window 10",
    "erk": "ERK, grown by momentum, window 10",
    "bfloat16-erk": "ERK in mixed_bfloat16, window 10",
    "blocks-erk": "ERK in 4x4 blocks per tap, window 10",
    "bfloat16-blocks-erk": "ERK in 4x4 blocks, mixed_bfloat16",
    "static-erk": "ERK, static masks",
    "rigl": "RigL",
    "granet": "GraNet",
}
LEAST = 4  # points of a panel


def plot(known: Sequence[Record], path: Path) -> list[Path]:
    """Draws a file for each network, a panel for each group; numbers at points are epochs.

    Args:
        known: the records.
        path: "x.png" becomes "x_vgg11.png" and so on.
    """
    from matplotlib.figure import Figure

    written = []
    for network in sorted({record["network"] for record in known}):
        own = panels([record for record in known if record["network"] == network])
        figure = Figure(figsize=(7.5, 5.2 * len(own)), layout="constrained")
        for axes, group in zip(figure.subplots(len(own), squeeze=False)[:, 0], own, strict=True):
            _draw(axes, group, [record for record in known if group_of(record) == group])
        written.append(path.with_stem(f"{path.stem}_{network}"))
        figure.savefig(written[-1], dpi=150)
    return written


def panels(records: Sequence[Record]) -> list[Group]:
    """Groups of one network that have a panel: not those of few points beside larger ones."""
    points = {(group_of(record), record["contender"], record["epochs"]) for record in records}
    sizes = Counter(group for group, *_ in points)
    return sorted(of for of, n in sizes.items() if n >= min(LEAST, max(sizes.values())))


def label_of(contender: str) -> str:
    """What the plot calls a contender.

    >>> label_of("erk-20"), label_of("dense-bfloat16")
    ('20 %, ERK, grown by momentum, window 10', 'dense, mixed_bfloat16')
    """
    if is_dense(contender):
        return DENSE_LABELS.get(contender, contender)
    kind, _, density = contender.rpartition("-")
    return f"{density} %, {SPARSE_LABELS[kind]}" if kind in SPARSE_LABELS else contender


def _draw(axes: Any, group: Group, records: Sequence[Record]) -> None:
    network, images, threads, machine = group
    for contender in sorted({record["contender"] for record in records}):
        points = points_of(records, contender)
        style = "--" if is_dense(contender) else "-"
        options = {"marker": "o", "markersize": 4, "label": label_of(contender)}
        axes.plot(*zip(*sorted(points.values()), strict=True), style, **options)
        for epochs, point in points.items():
            shift = {"xytext": (5, 3), "textcoords": "offset points", "fontsize": "small"}
            axes.annotate(epochs, point, **shift)
    label = "seconds, evaluation and data included; at the points: epochs"
    axes.set(xlabel=label, ylabel="test error %")
    axes.set_xlim(0, 1.1 * max(record["seconds"] for record in records))
    title = f"{network.upper()} on {images:,} images of CIFAR-10, threads: {threads}\n{machine}"
    axes.set_title(title, fontsize="medium")
    axes.grid(True, alpha=0.3)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 2}
    axes.legend(frameon=False, fontsize="small", **below)
