"""What a copy shares with its original, and which objects consist of their attributes alone."""

import enum
import inspect
import types
from typing import Any

import keras

SHARED = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    enum.Enum,
    inspect.Signature,
    types.ModuleType,
    types.BuiltinFunctionType,
    keras.DTypePolicy,
    keras.distribution.DeviceMesh,
    keras.distribution.TensorLayout,
)
OWN_WAYS = ("__reduce_ex__", "__reduce__", "__deepcopy__", "__getstate__", "__setstate__")


def is_plain(cls: type) -> bool:
    """Whether the objects of this class consist of their ``__dict__`` alone."""
    own_way = any(getattr(cls, name, None) is not getattr(object, name, None) for name in OWN_WAYS)
    slots = any(vars(base).get("__slots__") for base in cls.__mro__)
    return cls.__basicsize__ == _Plain.__basicsize__ and not own_way and not slots


class _Plain:
    """An object with a ``__dict__`` and nothing else."""


def slots_of(value: Any) -> dict[str, Any]:
    """The attributes of an object that are not in its ``__dict__``."""
    slots = [vars(base).get("__slots__", ()) for base in type(value).__mro__]
    names = {name for of_base in slots for name in _as_tuple(of_base)} - {"__dict__", "__weakref__"}
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _as_tuple(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
