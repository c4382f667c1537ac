"""A function whose closure holds a layer or a variable is copied; any other is shared."""

import types
from collections.abc import Callable
from typing import Any

from keras_sparse.conversion.keras_copy import HAS_STATE


def copy_function(
    function: types.FunctionType, copy: Callable[[Any], Any], keep: Callable[[Any, Any], Any]
) -> types.FunctionType:
    """A function whose closure holds the copies of what this one's holds.

    Args:
        function: the original.
        copy: returns the copy of a value.
        keep: takes an original and its copy, before the values of the function are copied.
    """
    closure = tuple(types.CellType() for _ in function.__closure__ or ())
    copied = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, closure=closure
    )
    keep(function, copied)
    copied.__defaults__ = copy(function.__defaults__)
    copied.__kwdefaults__ = copy(function.__kwdefaults__)
    vars(copied).update(vars(function))
    for old, new in zip(function.__closure__ or (), closure, strict=True):
        if (contents := contents_of(old)) is not None:
            new.cell_contents = copy(contents) if holds_state(contents) else contents
    return copied


def holds_state(value: Any, depth: int = 4) -> bool:
    """Whether a value holds a layer, a variable, a metric, or a function that closes over one."""
    if isinstance(value, HAS_STATE):
        return True
    if depth == 0:
        return False
    if isinstance(value, types.MethodType):
        return holds_state(value.__self__, depth - 1)
    if isinstance(value, types.FunctionType):
        inner = [
            *map(contents_of, value.__closure__ or ()),
            *(value.__defaults__ or ()),
            *(value.__kwdefaults__ or {}).values(),
        ]
        return any(holds_state(held, depth - 1) for held in inner)
    if isinstance(value, dict):
        return any(holds_state(held, depth - 1) for held in value.values())
    return isinstance(value, list | tuple | set) and any(
        holds_state(held, depth - 1) for held in value
    )


def contents_of(cell: types.CellType) -> Any:
    """The contents of a cell; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
