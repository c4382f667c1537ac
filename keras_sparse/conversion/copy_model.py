"""A copy of a model with all its state, none of it shared; its layers may be of another class.

Layers are not rebuilt from their configs. A config lacks what a layer has learned (``adapt``),
attributes that a user has added, and arguments that ``get_config`` omits. Attributes are copied one
by one, and a reference to a layer becomes a reference to its copy.
"""

import collections
import copy
import enum
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_sparse._keras import eager_scope, layers_of, strategy_scope
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.mask_state import plain_class
from keras_sparse.conversion import keras_copy
from keras_sparse.conversion.keras_copy import HAS_STATE, TRACKED, TRACKER, attributes_to_copy

MADE_BY_NEW = ("build", "quantize")  # Layer.__new__ creates these for each layer
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
BUILT_IN = (list, dict, set, collections.OrderedDict, collections.defaultdict)
BACKENDS = {"tensorflow", "jax", "jaxlib", "numpy", "torch"}

ClassOf = Callable[[keras.layers.Layer], type]


def copy_model(model: keras.Model, class_of: ClassOf = type) -> tuple[keras.Model, dict[int, Any]]:
    """The copy, not compiled, and ``{id of an original: its copy}`` for every copied object.

    Both models are independent: training one leaves the other unchanged. They share functions,
    tensors, lookup tables, and objects that Python cannot copy, such as locks and files. Optimizers
    in attributes are created anew from their configs. Sparse layers of the copy have no mask yet.

    Args:
        model: a Keras model.
        class_of: a function that returns the class of a layer's copy: the layer's own, or one with
            the same variables and attributes.

    Raises:
        ValueError: a layer cannot be copied; the message names it.
    """
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.TFSMLayer):
            raise ValueError(
                "`model` must not contain a SavedModel: its functions keep their own variables. "
                "Convert the models around it separately and call them in turn. "
                f"Received: TFSMLayer {layer.name!r}"
            )
    copier = _Copier(class_of)
    with eager_scope(), strategy_scope(model):
        for variable in (*model.weights, *model.variables):
            copier.copy(variable)
        copied = copier.copy(model)
        copier.finish()
    _check(model, copied, copier.copies)
    return copied, copier.copies


def _check(model: keras.Model, copied: keras.Model, copies: Mapping[int, Any]) -> None:
    """Raises ValueError unless the copy has all weights, in order, and shares none."""
    expected = [copies[id(variable)] for variable in model.weights]
    are_shared = set(map(id, expected)) & set(map(id, model.weights))
    if list(map(id, copied.weights)) != list(map(id, expected)) or are_shared:
        kept = set(map(id, copied.weights))
        lost = [v.path for v in model.weights if id(copies[id(v)]) not in kept]
        raise ValueError(
            "`model` must hold its weights in attributes of its layers, to be copied. Otherwise "
            "write keras_sparse.layers.SparseConv2D and SparseDense in the model in place of "
            "keras.layers.Conv2D and Dense; weight files fit both. "
            f"Received: {type(model).__name__} {model.name!r} with the weights "
            f"{lost or [v.path for v in model.weights]}"
        )


class _Copier:
    """Copies each object once, so that two references to one object stay references to one.

    A queue fills in the attributes, without recursion: a graph may be a thousand layers deep.
    """

    def __init__(self, class_of: ClassOf) -> None:
        self.copies: dict[int, Any] = {}
        self._class_of = class_of
        self._originals: list[Any] = []  # kept alive: the keys of `copies` are their ids
        self._to_fill: collections.deque[tuple[Any, Any]] = collections.deque()

    def copy(self, value: Any) -> Any:
        """The copy of a value; ``finish`` fills in its attributes."""
        if isinstance(value, SHARED) or value is ...:
            return value
        if id(value) not in self.copies:
            copied = self._copied(value)
            self._keep(value, copied)
        return self.copies[id(value)]

    def finish(self) -> None:
        """Fills in the attributes of all copies and wires the graphs of layers."""
        filled = []
        while self._to_fill:
            filled.append(self._to_fill.popleft())
            self._fill(*filled[-1])
        for old, new in filled:
            keras_copy.add_the_rest(old, new, self.copies)
        keras_copy.wire_graph([(old, self.copies[id(old)]) for old in self._originals], self.copies)

    def _keep(self, value: Any, copied: Any) -> Any:
        if id(value) not in self.copies:
            self.copies[id(value)] = copied
            self._originals.append(value)
        return copied

    def _copied(self, value: Any) -> Any:
        if isinstance(value, keras.Variable):
            return self._variable(value)
        if isinstance(value, keras.optimizers.Optimizer):
            return type(value).from_config(value.get_config())
        if isinstance(value, TRACKER):
            return self._tracker(value)
        if keras_copy.is_shell_of_attributes(value):
            return self._shell(value)
        if type(value) in (*BUILT_IN, *TRACKED):
            return self._container(value)
        # TensorFlow wraps tuples in objects that only seem to be tuples
        if isinstance(value, tuple) and type(value) is value.__class__:
            return self._tuple(value)
        if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            return self._callable(value)
        if isinstance(value, weakref.ref):
            target = value()
            return value if target is None else weakref.ref(self.copy(target))
        return self._object(value)

    def _variable(self, variable: Any) -> Any:
        cls: Any = plain_class(type(variable))
        copied = self._keep(variable, cls.__new__(cls))
        attributes = attributes_to_copy(variable)
        for name in ("_value", "kernel_mask"):
            attributes.pop(name, None)
        vars(copied).update(self._items(attributes))
        # a copy: JAX would share the array, and training one model would delete it
        keras_copy.give_value(copied, keras.ops.copy(variable.value))
        self._keep(variable.value, copied.value)
        return copied

    def _tracker(self, tracker: Any) -> Any:
        """The copy of a tracker of attributes, at once: TensorFlow wraps layer lists with it."""
        copied = self._keep(tracker, object.__new__(type(tracker)))
        vars(copied).update(self._items(vars(tracker)))
        keras_copy.track_copies(copied)
        return copied

    def _shell(self, value: Any) -> Any:
        """An object without attributes; ``finish`` adds them."""
        cls: Any = self._class_of(value) if isinstance(value, keras.layers.Layer) else type(value)
        try:
            shell = cls.__new__(cls)
        except TypeError:  # the user's own __new__, with arguments
            is_layer = issubclass(cls, keras.layers.Layer)
            shell = keras.layers.Layer.__new__(cls) if is_layer else object.__new__(cls)
        self._to_fill.append((value, shell))
        return shell

    def _container(self, value: Any) -> Any:
        factory = (value.default_factory,) if isinstance(value, collections.defaultdict) else ()
        copied = self._keep(value, type(value)(*factory))
        if isinstance(value, list):
            copied.extend(map(self.copy, value))
        elif isinstance(value, set):
            copied.update(map(self.copy, value))
        else:
            for key, item in value.items():
                copied[self.copy(key)] = self.copy(item)
        if isinstance(value, TRACKED):
            copied.tracker = self.copy(value.tracker)
        return copied

    def _tuple(self, value: Any) -> Any:
        items = list(map(self.copy, value))
        return type(value)._make(items) if hasattr(value, "_make") else type(value)(items)

    def _callable(self, value: Any) -> Any:
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.copy(value.__self__))
        if isinstance(value, functools.partial):
            keywords = self._items(value.keywords)
            return functools.partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        return self._function(value) if _holds_state(value) else value

    def _function(self, function: types.FunctionType) -> Any:
        """A function whose closure holds the copies of what this one's holds."""
        closure = tuple(types.CellType() for _ in function.__closure__ or ())
        copied = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, closure=closure
        )
        self._keep(function, copied)
        copied.__defaults__ = self.copy(function.__defaults__)
        copied.__kwdefaults__ = self.copy(function.__kwdefaults__)
        vars(copied).update(vars(function))
        for old, new in zip(function.__closure__ or (), closure, strict=True):
            if (contents := _contents(old)) is not None:
                new.cell_contents = self.copy(contents) if _holds_state(contents) else contents
        return copied

    def _object(self, value: Any) -> Any:
        if type(value).__module__.partition(".")[0] in BACKENDS:
            return keras_copy.copy_of_backend_object(value, self.copy)
        if _is_plain(type(value)):
            return self._shell(value)
        try:
            return copy.deepcopy(value, dict(self.copies))
        except Exception:  # a lock, a file, a generator: Python cannot copy it
            return value

    def _items(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.copy(value) for name, value in attributes.items()}

    def _fill(self, old: Any, new: Any) -> None:
        attributes = attributes_to_copy(old)
        if isinstance(old, keras.layers.Layer):
            left_out = {
                *MADE_BY_NEW,
                *(old.mask_attributes() if isinstance(old, SparseLayer) else ()),
            }
            attributes = {name: value for name, value in attributes.items() if name not in left_out}
            for name in set(vars(new)) - set(MADE_BY_NEW):
                del vars(new)[name]
        vars(new).update(self._items(attributes))
        for name, value in _slots(old).items():
            object.__setattr__(new, name, self.copy(value))


def _slots(value: Any) -> dict[str, Any]:
    """The attributes of an object that are not in its ``__dict__``."""
    slots = [vars(base).get("__slots__", ()) for base in type(value).__mro__]
    names = {name for of_base in slots for name in _as_tuple(of_base)} - {"__dict__", "__weakref__"}
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _as_tuple(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _contents(cell: types.CellType) -> Any:
    """The contents of a cell; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _holds_state(value: Any, depth: int = 4) -> bool:
    """Whether a value holds a layer, a variable, a metric, or a function that closes over one."""
    if isinstance(value, HAS_STATE):
        return True
    if depth == 0:
        return False
    if isinstance(value, types.MethodType):
        return _holds_state(value.__self__, depth - 1)
    if isinstance(value, types.FunctionType):
        inner = [
            *map(_contents, value.__closure__ or ()),
            *(value.__defaults__ or ()),
            *(value.__kwdefaults__ or {}).values(),
        ]
        return any(_holds_state(held, depth - 1) for held in inner)
    if isinstance(value, dict):
        return any(_holds_state(held, depth - 1) for held in value.values())
    return isinstance(value, list | tuple | set) and any(
        _holds_state(held, depth - 1) for held in value
    )


def _is_plain(cls: type) -> bool:
    """Whether the objects of this class consist of their ``__dict__`` alone."""
    own_way = any(getattr(cls, name, None) is not getattr(object, name, None) for name in OWN_WAYS)
    slots = any(vars(base).get("__slots__") for base in cls.__mro__)
    return cls.__basicsize__ == _Plain.__basicsize__ and not own_way and not slots


OWN_WAYS = ("__reduce_ex__", "__reduce__", "__deepcopy__", "__getstate__", "__setstate__")


class _Plain:
    """An object with a ``__dict__`` and nothing else."""
