"""The private attributes of Keras and TensorFlow that the copy of a model needs."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.models.model import Trainer
from keras.src.ops.function import Function, make_node_key
from keras.src.ops.node import Node
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.tracking import (
    DotNotTrackScope,
    TrackedDict,
    TrackedList,
    TrackedOrderedDict,
    TrackedSet,
    Tracker,
)

TRACKER = Tracker
TRACKED = (TrackedList, TrackedDict, TrackedOrderedDict, TrackedSet)
HAS_STATE = (KerasSaveable, keras.Variable, keras.random.SeedGenerator)

FUNCTIONS = {"train_function", "test_function", "predict_function"}  # compiled, of the original
GRAPH = {"_inbound_nodes", "_outbound_nodes", "_nodes"}  # `wire_graph` creates them anew
MADE_BY_COMPILE = {
    "optimizer",
    "loss",
    "compiled",
    "stop_training",
    "steps_per_execution",
    "_compile_loss",
    "_compile_metrics",
    "_compile_config",
    "_loss_tracker",
    "_compiled_trainable_state",
    "_run_eagerly",
}
MADE_BY_TENSORFLOW = {
    "_self_name_based_restores",
    "_self_saveable_object_factories",
    "_self_unconditional_checkpoint_dependencies",
    "_self_unconditional_deferred_dependencies",
    "_self_unconditional_dependency_names",
    "_self_update_uid",
}
Copies = Mapping[int, Any]


def attributes_to_copy(old: Any) -> dict[str, Any]:
    """The attributes of an object that its copy receives as copies."""
    left_out = {"_jit_compile", *FUNCTIONS} if isinstance(old, keras.Model) else set()
    if isinstance(old, keras.Model) and old.compiled:
        left_out |= MADE_BY_COMPILE
    if isinstance(old, KerasSaveable):
        left_out |= GRAPH if isinstance(old, Function) else GRAPH - {"_nodes"}
    left_out |= MADE_BY_TENSORFLOW  # by name: layers have attributes like `_self_attention`
    return {name: value for name, value in vars(old).items() if name not in left_out}


def track_copies(tracker: Tracker) -> None:
    """Records the ids of the values that the copy of a tracker has stored."""
    tracker.stored_ids = {
        name: set(map(id, stored)) for name, (_, stored) in tracker.config.items()
    }


def add_the_rest(old: Any, new: Any, copies: Copies) -> None:
    """Adds attributes of a model before ``compile``, and checkpoint dependencies."""
    if isinstance(old, keras.Model):
        blank = Trainer.__new__(Trainer)
        Trainer.__init__(blank)
        for name, value in vars(blank).items():
            vars(new).setdefault(name, value)
        vars(new)["_distribute_strategy"] = getattr(blank, "_distribute_strategy", None)
    for reference in getattr(old, "_self_unconditional_checkpoint_dependencies", ()):
        child = copies.get(id(reference.ref))
        made_anew = isinstance(old, keras.Model) and reference.name in MADE_BY_COMPILE
        if child is not None and not made_anew:
            with DotNotTrackScope():  # Keras' tracker already has it, and may be locked
                new._track_trackable(child, name=reference.name, overwrite=True)


def wire_graph(pairs: Sequence[tuple[Any, Any]], copies: Copies) -> None:
    """Gives copied operations the copies of their nodes; nodes without a copy are left out.

    Args:
        pairs: (original, copy) of each copied object.
        copies: ``{id of the original: copy}``.
    """
    for old, new in pairs:
        for name in ("_inbound_nodes", "_outbound_nodes"):
            if isinstance(old, KerasSaveable) and name in vars(old):
                nodes = [copies[id(node)] for node in vars(old)[name] if id(node) in copies]
                vars(new)[name] = nodes
    for old, new in pairs:
        if not isinstance(old, keras.KerasTensor):
            continue
        history = getattr(old, "_keras_history", None)
        if history is not None and history.operation is not None:
            # Operations that only made a mask lose their nodes in a copy, which may be copied, too.
            nodes = history.operation._inbound_nodes[history.node_index :]
            node = copies.get(id(nodes[0])) if nodes else None
            index = 0 if node is None else new._keras_history.operation._inbound_nodes.index(node)
            new._keras_history = new._keras_history._replace(node_index=index)
    for old, new in pairs:
        if isinstance(old, Function):
            nodes = [node for at_depth in new._nodes_by_depth.values() for node in at_depth]
            vars(new)["_nodes"] = set(map(_key, nodes))


def _key(node: Node) -> str:
    key: str = make_node_key(node.operation, node.operation._inbound_nodes.index(node))
    return key


def is_shell_of_attributes(value: Any) -> bool:
    """Whether a value is a Keras object or tf.Module, whose attributes are copied one by one."""
    if keras.backend.backend() == "tensorflow":
        from keras.src.utils.module_utils import tensorflow as tf

        if isinstance(value, tf.Module) and not isinstance(value, tf.Variable):
            return True
    return isinstance(value, KerasSaveable | Node | keras.KerasTensor | keras.random.SeedGenerator)


def give_value(variable: keras.Variable, value: Any, original: keras.Variable) -> None:
    """Gives the copy of a variable its first value.

    TensorFlow computes gradients of variables that it made as trainable ones. One that is frozen
    now was made as such, and the copy is, too: it may be unfrozen.
    """
    is_trainable = variable._trainable
    variable._trainable = getattr(original.value, "trainable", is_trainable)
    variable._initialize(value)
    variable._trainable = is_trainable


def copy_of_backend_object(value: Any, copied: Callable[[Any], Any]) -> Any:
    """The copy of an object of NumPy or the backend; the object itself if nothing changes it.

    Args:
        value: an array, tensor, variable, function or container of NumPy or the backend.
        copied: a function that copies an element of a container.
    """
    if isinstance(value, np.ndarray | np.random.Generator | np.random.RandomState):
        return copy.deepcopy(value)
    if keras.backend.backend() != "tensorflow":
        return value
    from keras.src.utils.module_utils import tensorflow as tf

    if isinstance(value, tf.Variable):
        return copy.deepcopy(value)
    if hasattr(value, "python_function") and hasattr(value, "_clone"):  # a tf.function
        return value._clone(copied(value.python_function))
    if isinstance(value, list):  # wrapped, as are tuples and dicts
        return type(value)(list(map(copied, value)))
    if isinstance(value, tuple | dict):
        wrapper: Any = value
        return type(value)(copied(wrapper.__wrapped__))
    return value
