"""A plot of the density of each layer, and of the exploration rate, over a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras

from keras_sparse.training.callbacks import UpdateMasks
from keras_sparse.training.density_log import DENSITY, EXPLORATION_RATE

History: TypeAlias = UpdateMasks | keras.callbacks.History | Mapping[str, Sequence[float]]
LAYER = f"{DENSITY}/"  # UpdateMasks logs it before the path of a weight
EXPLORED = "ever active, all layers"


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
    steps, label, lines = _recorded(history)
    figure, axes = _figure()
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
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(to_file, dpi=120)
    return Path(to_file)


def _recorded(history: Any) -> tuple[list[float], str, dict[str, Sequence[float]]]:
    """The positions on the axis, the label of the axis, and ``{name: densities}``."""
    recorded = getattr(history, "history", history)
    if not isinstance(recorded, Mapping):
        raise TypeError(
            "`history` must be the UpdateMasks callback, the result of `fit`, or the `history` of "
            f"one of them. Received: history={history!r}"
        )
    if "step" in recorded and isinstance(history, UpdateMasks | Mapping):
        steps = list(recorded["step"])
        others = ("step", EXPLORATION_RATE)
        lines = {path: values for path, values in recorded.items() if path not in others}
        label = "optimizer step"
    else:
        layers = {
            name.removeprefix(LAYER): values
            for name, values in recorded.items()
            if name.startswith(LAYER)
        }
        total = _logged(DENSITY, recorded)
        lines = layers or ({} if total is None else {"all masked weights": total})
        steps, label = [], "epoch"
        if lines:
            steps = list(range(1, 1 + len(next(iter(lines.values())))))
    if not steps:
        raise ValueError(
            "`history` must hold a density: train with the UpdateMasks callback, and pass it after "
            f"`fit`. Received: history={history!r} with {sorted(recorded)}"
        )
    explored = _logged(EXPLORATION_RATE, recorded)
    return steps, label, lines if explored is None else {**lines, EXPLORED: explored}


def _logged(name: str, recorded: Mapping[str, Sequence[float]]) -> Sequence[float] | None:
    return recorded.get(f"mask_{name}", recorded.get(name))


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
