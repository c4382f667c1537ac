"""Figures of several panels, and their titles, for the plots of the accuracy benchmark."""

import re
from typing import Any

from matplotlib.figure import Figure

from benchmarks.accuracy_tables import Setting

COLUMNS = 3
NAMES = {"lenet": "LeNet", "wrn": "WRN", "vgg": "VGG"}


def panels(count: int, height: float) -> tuple[Figure, list[Any]]:
    """A figure with this many panels, in rows of three.

    Args:
        count: of panels, at least 1.
        height: of a row, in inches.
    """
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    width = 5.2 * columns if columns > 1 else 7.0
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[count:]:
        unused.set_visible(False)
    for each in axes[:count]:
        each.grid(True, alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[:count])


def network_title(network: str) -> str:
    """The network's name as the paper writes it.

    >>> network_title("lenet-300-100")
    'LeNet-300-100'
    """
    return re.sub("|".join(NAMES), lambda found: NAMES[found[0]], network)


def title_of(setting: Setting) -> str:
    """Of a panel."""
    by = "" if setting.optimizer == "sgd" else f"{setting.optimizer.capitalize()}, "
    return (
        f"{network_title(setting.network)}, {setting.epochs} epochs, {by}"
        f"learning rate {setting.learning_rate:g}"
    )
