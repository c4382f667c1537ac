"""The report of a conversion: a table, one line, or a warning that nothing was converted."""

import sys
import warnings
from collections import Counter
from collections.abc import Sequence

import keras
from rich.table import Table

from keras_sparse.compute.layers import SparseLayer
from keras_sparse.conversion.convertible import Converted
from keras_sparse.conversion.terminal import is_terminal, plain_console

WIDTH_OF_A_LOG = 120  # columns, if the output is not a terminal


def report(name: str, conversions: Sequence[Converted], verbose: bool | str) -> None:
    """Prints what was converted and what was not.

    Args:
        name: name of the model.
        conversions: the conversions of its layers.
        verbose: True: a table; ``"auto"``: one line if a kernel stays dense; False: nothing.
    """
    if verbose and verbose != "auto":
        width = None if is_terminal(sys.stdout) else WIDTH_OF_A_LOG
        plain_console(width=width).print(_table(name, conversions))
        return
    is_heard = verbose == "auto" and keras.config.is_interactive_logging_enabled()
    if is_heard and any(c.why for c in conversions):
        plain_console(soft_wrap=True).print(_line(conversions), highlight=False)


def warn_if_nothing_was_converted(name: str, conversions: Sequence[Converted]) -> None:
    """Warns that no layer of a model was converted, with the reasons."""
    reasons = _reasons(conversions) or "no layer has a kernel"
    warnings.warn(
        "`sparsify` converted no layer of this model: it will not be faster. "
        f"Received: model {name!r}, {reasons}",
        stacklevel=3,
    )


def is_sparse(converted: Converted) -> bool:
    """Whether the layer becomes a sparse layer."""
    return converted.new_type is not None and issubclass(converted.new_type, SparseLayer)


def _line(conversions: Sequence[Converted]) -> str:
    sparse = sum(map(is_sparse, conversions))
    dense = sum(c.why is not None for c in conversions)
    layers, stay = "layer" if sparse == 1 else "layers", "stays" if dense == 1 else "stay"
    counted = (
        f"sparsify: {sparse} {layers} converted, {dense} {stay} dense: {_reasons(conversions)}"
    )
    return f"{counted}. verbose=True lists them."


def _reasons(conversions: Sequence[Converted]) -> str:
    """``2 Conv2D (groups=2), 1 LSTMCell (no sparse layer for LSTMCell)``."""
    counts = Counter((c.layer_type, c.why) for c in conversions if c.why)
    return ", ".join(f"{count} {layer_type} ({why})" for (layer_type, why), count in counts.items())


def _table(name: str, conversions: Sequence[Converted]) -> Table:
    table = Table(title=f"Conversion of {name!r}")
    for column in ("layer", "was", "is", "why it stays dense"):
        table.add_column(column, overflow="fold")
    for c in conversions:
        new = c.layer_type if c.new_type is None else c.new_type.__name__
        table.add_row(c.path.removeprefix(f"{name}/"), c.layer_type, new, c.why or "")
    return table
