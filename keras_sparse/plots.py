"""How did the density of each layer move?  A plot of what the UpdateMasks callback saw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sparse.callbacks import UpdateMasks


def plot_history(history: UpdateMasks | Mapping[str, Sequence[float]], to_file: str | Path = "density.png") -> Path:
    """Draws the density of each masked weight over the training. Needs matplotlib (``pip install keras-sparse[plot]``).

    Args:
        history: the callback after ``fit``, or its ``history``: ``{"step": [...], path: [density in (0, 1], ...]}``.
        to_file: where to write the PNG.

    Returns:
        The path written.

    Raises:
        ValueError: nothing was recorded.
        ImportError: matplotlib is not installed.
    """
    recorded: Mapping[str, Sequence[float]] = history.history if isinstance(history, UpdateMasks) else history
    if not recorded.get("step"):
        raise ValueError(f"`history` is empty: pass the UpdateMasks callback after `fit`. Received: history={history}")
    figure, axes = _figure()
    for path, densities in recorded.items():
        if path != "step":
            axes.plot(recorded["step"], densities, marker="o", markersize=3, label=path)
    axes.set(xlabel="optimizer step", ylabel="density (active / all weights)", yscale="log", title="Density of each layer")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(to_file, dpi=120)
    return Path(to_file)


def _figure() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`plot_history` needs matplotlib: pip install keras-sparse[plot]") from error
    figure = Figure(figsize=(8, 5))
    FigureCanvasAgg(figure)
    return figure, figure.subplots()
