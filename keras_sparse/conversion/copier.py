"""A ``Copier`` copies each object once: two references to one object stay references to one."""

import collections
import copy
import functools
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_sparse.compute.followed_kernel import plain_class
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.conversion import keras_copy
from keras_sparse.conversion.copied_functions import copy_function, holds_state
from keras_sparse.conversion.keras_copy import TRACKED, TRACKER, attributes_to_copy
from keras_sparse.conversion.plain_objects import SHARED, is_plain, slots_of

MADE_BY_NEW = ("build", "quantize")  # Layer.__new__ creates these for each layer
BUILT_IN = (list, dict, set, collections.OrderedDict, collections.defaultdict)
BACKENDS = {"tensorflow", "jax", "jaxlib", "numpy", "torch"}

ClassOf = Callable[[keras.layers.Layer], type]


class Copier:
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
        keras_copy.give_value(copied, keras.ops.copy(variable.value), variable)
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
        return copy_function(value, self.copy, self._keep) if holds_state(value) else value

    def _object(self, value: Any) -> Any:
        if type(value).__module__.partition(".")[0] in BACKENDS:
            return keras_copy.copy_of_backend_object(value, self.copy)
        if is_plain(type(value)):
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
        for name, value in slots_of(old).items():
            object.__setattr__(new, name, self.copy(value))
