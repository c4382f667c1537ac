"""The function that a command's argument "module:function" names."""

import importlib
from collections.abc import Callable
from typing import Any


def function_named(name: str) -> Callable[[], Any]:
    """The function that "module:function" names.

    Raises:
        ValueError: there is no such module or function.
    """
    module, function = parts_of(name)
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`function` must name a module that can be imported; {error.name!r} was not found. "
            f"Start the command in its folder. Received: function={name!r}"
        ) from error
    if not callable(found):
        raise ValueError(
            f"`function` must name a function of {module!r}, which has no {function!r}. "
            f"Received: function={name!r}"
        )
    return found


def parts_of(name: str) -> tuple[str, str]:
    """Module and function, which nobody has looked for yet.

    Raises:
        ValueError: another form than "module:function".

    >>> parts_of("train:make_model")
    ('train', 'make_model')
    """
    module, _, function = name.partition(":")
    if not (module and function):
        raise ValueError(
            '`function` must have the form "module:function", e.g. "train:make_model". '
            f"Received: function={name!r}"
        )
    return module, function
