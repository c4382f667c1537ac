"""A plot of the density of each layer, and of the exploration rate, over a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_sparse.rules.paths import as_path
from keras_sparse.rules.received import received, shown
from keras_sparse.training.callbacks import UpdateMasks
from keras_sparse.training.density_log import DENSITY, EXPLORATION_RATE

History: TypeAlias = UpdateMasks | keras.callbacks.History | Mapping[str, Sequence[float]]
LAYER = f"{DENSITY}/"  # UpdateMasks logs it before the path of a weight
EXPLORED = "ever active, all layers"
ALL_WEIGHTS = "all masked weights"
NAMED_LINES = 12  # a legend names at most this number of layers, or the first and the last one


class Recorded(NamedTuple):
    """What was recorded of a training: one value an epoch.

    Attributes:
        positions: of the values on the axis.
        label: of the axis: "optimizer step" or "epoch".
        lines: ``{path of a weight, ALL_WEIGHTS or EXPLORED: its values}``.
    """

    positions: list[float]
    label: str
    lines: dict[str, Sequence[float]]


def plot_history(history: History, to_file: str | Path = "density.png") -> Path:
    """Draws the density of each masked weight over the training, and the exploration rate.

    Needs matplotlib (``pip install matplotlib``).

    Args:
        history: the UpdateMasks callback after ``fit``, the result of ``fit``, or the ``history``
            of one of them, a dict of lists. The result of ``fit`` holds the total density; it holds
            the density of each weight with ``UpdateMasks(log_layers=True)``.
        to_file: path of the PNG to write.

    Returns:
        The path of the file.

    Raises:
        TypeError: ``history`` is none of these.
        ValueError: no density was recorded.
        ImportError: matplotlib is not installed.
    """
    path = as_path(to_file, "to_file")
    steps, label, lines = recorded(history)
    figure, axes = _figure()
    layers = [name for name in lines if name not in (EXPLORED, ALL_WEIGHTS)]
    if len(layers) > NAMED_LINES:
        _colour_by_depth(axes, len(layers))
    for name, densities in lines.items():
        style = {"color": "black", "linestyle": "--"} if name == EXPLORED else {}
        axes.plot(steps, densities, marker="o", markersize=3, label=name, **style)
    axes.set(
        xlabel=label,
        ylabel="density (active / all weights)",
        yscale="log",
        title="Density of each layer",
    )
    axes.grid(True, which="both", alpha=0.3)
    _add_legend(axes, layers)
    figure.tight_layout()
    figure.savefig(path, dpi=120, format=path.suffix[1:] or "png")  # which names no other file
    return path


def _colour_by_depth(axes: Any, layers: int) -> None:
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    axes.set_prop_cycle(color=[colours(i / (layers - 1)) for i in range(layers)])


def _add_legend(axes: Any, layers: Sequence[str]) -> None:
    """Names the lines; of many layers, the first and the last one."""
    lines, title = list(axes.lines), None
    if len(layers) > NAMED_LINES:
        title = f"the first and the last of {len(layers)} layers"
        lines = [one for one in lines if one.get_label() not in layers[1:-1]]
    axes.legend(handles=lines, title=title, fontsize="small", title_fontsize="small")


def recorded(history: Any) -> Recorded:
    """What a training recorded.

    Raises:
        TypeError: ``history`` is no callback with a history, and no dict.
        ValueError: no density was recorded.
    """
    found = getattr(history, "history", history)
    if not isinstance(found, Mapping):
        raise TypeError(
            "`history` must be the UpdateMasks callback, the result of `fit`, or the `history` of "
            f"one of them. {received(history=history)}"
        )
    if "step" in found and isinstance(history, UpdateMasks | Mapping):
        steps = list(found["step"])
        others = ("step", EXPLORATION_RATE)
        lines = {path: values for path, values in found.items() if path not in others}
        label = "optimizer step"
    else:
        layers = {
            name.removeprefix(LAYER): values
            for name, values in found.items()
            if name.startswith(LAYER)
        }
        total = _logged(DENSITY, found)
        lines = layers or ({} if total is None else {ALL_WEIGHTS: total})
        steps, label = [], "epoch"
        if lines:
            steps = list(range(1, 1 + len(next(iter(lines.values())))))
    if not steps:
        raise ValueError(
            "`history` must hold a density: train with the UpdateMasks callback, and pass it after "
            f"`fit`. {received(history=history)} with {shown(list(found))}"
        )
    explored = _logged(EXPLORATION_RATE, found)
    return Recorded(steps, label, lines if explored is None else {**lines, EXPLORED: explored})


def _logged(name: str, found: Mapping[str, Sequence[float]]) -> Sequence[float] | None:
    return found.get(f"mask_{name}", found.get(name))


def _figure() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "`plot_history` needs matplotlib: pip install matplotlib, or pip install '.[plot]' in "
            "the folder of keras_sparse"
        ) from error
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    return figure, figure.subplots()
