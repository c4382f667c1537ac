"""Private names of Keras and its backends: the one place for them, beside ``momentum.py``."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.saving.keras_saveable import KerasSaveable

if keras.backend.backend() == "tensorflow":
    from keras.src.backend.tensorflow.trackable import KerasAutoTrackable as Trackable
else:

    class Trackable:  # type: ignore[no-redef]
        """Only tf.train.Checkpoint and SavedModel track attributes."""


class Saveable(Trackable, KerasSaveable):
    """State of a layer that is none of its weights: saved in a folder of its own, which files of other layers need not have."""

    def _obj_type(self) -> str:
        return "Layer"


def drawn_seed() -> int:
    """A seed as Keras draws one where none is given: it follows ``keras.utils.set_random_seed``, else chance."""
    from keras.src.random.seed_generator import make_default_seed

    return int(make_default_seed())


class NamedInFiles(type):
    """Classes that Keras names after another one in files and paths of weights, and nowhere else.

    Keras makes both of ``__name__``. So a sparse layer is a ``SparseConv2D`` in ``repr``, ``model.summary()`` and tracebacks,
    and its weights are where those of a ``Conv2D`` are. Subclasses have names of their own.
    """

    _name_in_files: str | None

    def __new__(mcs, *args: Any, name_in_files: str | None = None) -> Any:
        cls = super().__new__(mcs, *args)
        cls._name_in_files = name_in_files
        return cls

    def __init__(cls, *args: Any, name_in_files: str | None = None) -> None:
        super().__init__(*args)

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        caller = sys._getframe(1)
        module = caller.f_globals.get("__name__", "")
        makes_path = module == "keras.src.ops.operation" and caller.f_code.co_name == "__init__"
        if cls._name_in_files and (makes_path or module.startswith("keras.src.saving.")):
            return cls._name_in_files
        return type.__dict__["__name__"].__get__(cls)


def check_keras_3(obj: Any, argument: str) -> None:
    """Raises TypeError for models and optimizers of tf_keras (Keras 2)."""
    if any(base.__module__.split(".")[0] == "tf_keras" for base in type(obj).__mro__):
        raise TypeError(
            f"keras_sparse is for Keras 3 (`import keras`), and `{argument}` is of tf_keras (Keras 2). Build it with Keras 3. "
            f"Received: {argument}={type(obj).__module__}.{type(obj).__name__}"
        )


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable or tensor, a copy."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    if (
        keras.backend.backend() == "tensorflow"
    ):  # not through NumPy's __array__, whose protocol TensorFlow follows with a warning
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return np.asarray(ops.convert_to_numpy(value))


def to_float32(variable: Any) -> np.ndarray:
    """The value of a variable or tensor as float32, bfloat16 and float16 included."""
    return to_numpy(variable).astype(np.float32, copy=False)


def set_path(variable: Any, path: str) -> None:
    """Gives a variable another path than that of the scope in which it was made."""
    variable._path = path


def has_value(variable: Any) -> bool:
    """False while TensorFlow traces the step in which the variable is made: it gets its value after that."""
    return keras.backend.backend() != "tensorflow" or bool(variable.value.is_initialized())


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model however deeply nested, sublayers and RNN cells included."""
    return list(model._flatten_layers(include_self=False, recursive=True))


def consumers(layer: keras.layers.Layer) -> list[Any]:
    """The layers and operations that take a layer's outputs, in all Functional and Sequential models."""
    return [node.operation for node in layer._outbound_nodes]


def own_weights(layer: keras.layers.Layer) -> list[Any]:
    """All variables that this layer made itself, trained or not, without those of its sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def input_structure(model: keras.Model) -> Any:
    """The symbolic inputs of a model, structured as its call takes them; None if it knows none."""
    inputs = getattr(model, "inputs", None)
    return getattr(model, "_inputs_struct", inputs[0]) if inputs else None


@contextlib.contextmanager
def losses_kept(model: keras.Model) -> Iterator[None]:
    """The body may call the model: losses that layers have added before it stay."""
    layers = [model, *layers_of(model)]
    kept = [(list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        yield
    finally:
        for layer, (losses, ids) in zip(layers, kept, strict=True):
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)


def replace_optimizer(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Puts another optimizer into a compiled model: metrics and losses stay, saving knows it, functions are retraced."""
    model.optimizer = optimizer
    model._compile_config.config["optimizer"] = optimizer
    model.train_function = None


def strategy_scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """The scope in which variables of this model's optimizer are made."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = model.distribute_strategy.scope()
    return scope


def strategy_of(variables: Sequence[Any]) -> Any:
    """The tf.distribute strategy under which these variables were made."""
    from keras.src.utils.module_utils import tensorflow as tf

    made_under = getattr(variables[0].value, "distribute_strategy", None) if variables else None
    return made_under or tf.distribute.get_strategy()


def eager_scope() -> contextlib.AbstractContextManager[Any]:
    """Runs its body now, even while TensorFlow traces a step: a model without input shape is built in its first trace."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from keras.src.utils.module_utils import tensorflow as tf

    scope: contextlib.AbstractContextManager[Any] = tf.init_scope()
    return scope


def tensor_of_bytes(data: bytes) -> Any:
    """A TensorFlow string."""
    from keras.src.utils.module_utils import tensorflow as tf

    return tf.constant(data, tf.string)


def bytes_of_tensor(tensor: Any) -> bytes:
    """What ``tensor_of_bytes`` was given."""
    return bytes(tensor.numpy())


def is_eager() -> bool:
    """Are variables read and written now?  False while TensorFlow traces, and on JAX and torch, whose steps end in assignments."""
    if keras.backend.backend() != "tensorflow":
        return False
    from keras.src.utils.module_utils import tensorflow as tf

    return bool(tf.executing_eagerly())


def static_value(tensor: Any) -> np.ndarray | None:
    """The values of a tensor that are known now: eagerly, or of a constant in a graph; or None."""
    if keras.backend.backend() != "tensorflow":
        return to_numpy(tensor)
    from keras.src.utils.module_utils import tensorflow as tf

    return tf.get_static_value(tensor)


def in_control_flow() -> bool:
    """Is TensorFlow tracing a branch of ``cond``, or a loop?"""
    if keras.backend.backend() != "tensorflow":
        return False
    from keras.src.utils.module_utils import tensorflow as tf

    return (
        not tf.executing_eagerly()
        and type(tf.compat.v1.get_default_graph()).__name__ != "FuncGraph"
    )


def is_sparse(tensor: Any) -> bool:
    """Is this a sparse tensor of TensorFlow or JAX, or a symbolic one of Keras?"""
    if isinstance(tensor, keras.KerasTensor):
        return bool(tensor.sparse)
    return type(tensor).__name__ in ("SparseTensor", "BCOO")


def symbolic(tensor: Any, batch: int | None = None) -> keras.KerasTensor:
    """A KerasTensor like this tensor.

    Args:
        tensor: of any backend, or a KerasTensor.
        batch: its first size, if it is to be another.
    """
    shape = tuple(tensor.shape)
    shape = shape if batch is None else (batch, *shape[1:])
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return keras.KerasTensor(shape, dtype, sparse=is_sparse(tensor))


def host_scope() -> contextlib.AbstractContextManager[Any]:
    """Variables and operations of its body are on the CPU, where TensorFlow has a GPU and no strategy places them."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from keras.src.utils.module_utils import tensorflow as tf

    if tf.distribute.has_strategy() or not tf.config.get_visible_devices("GPU"):
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = tf.device("CPU:0")
    return scope


def optimizer_steps_are_stateless() -> bool:
    """True on JAX: an optimizer's step reads the optimizer's variables and no others."""
    return keras.backend.backend() == "jax"


def variables_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The trainable variables that an optimizer was built with, in order; none before."""
    return optimizer._trainable_variables  # type: ignore[no-any-return]


def index_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> int | None:
    """The place of a variable among those; None if the optimizer does not know it."""
    index: int | None = optimizer._trainable_variables_indices.get(optimizer._var_key(variable))
    return index


def track_list(optimizer: keras.optimizers.Optimizer, name: str, variables: Sequence[Any]) -> None:
    """Files and checkpoints hold these variables as a list that is an attribute of this name."""
    for variable in variables:
        if not optimizer._tracker.is_in_store("variables", variable):
            optimizer._track_variable(variable)
    if keras.backend.backend() == "tensorflow":
        from keras.src.utils.module_utils import tensorflow as tf

        tracked = tf.__internal__.tracking.wrap(list(variables))
        optimizer._track_trackable(tracked, name=name, overwrite=True)


def untrack(optimizer: keras.optimizers.Optimizer, variable: Any) -> None:
    """An optimizer's variable is no longer its own; one of another owner stays as it is."""
    optimizer._untrack_variable(variable)


def multiply_in_place(variables: Sequence[Any], masks: Sequence[Any]) -> None:
    """variable <- variable * mask, on each replica by itself: assigning in a replica would cost a collective per weight."""
    if keras.backend.backend() != "tensorflow":
        for variable, mask in zip(variables, masks, strict=True):
            variable.assign(variable * ops.cast(mask, variable.dtype))
        return
    from keras.src.utils.module_utils import tensorflow as tf

    def multiply(variable: Any, mask: Any) -> None:
        variable.assign(variable * tf.cast(mask, variable.dtype))

    def on_all_replicas(strategy: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        for variable, mask in pairs:
            strategy.extended.update(variable, multiply, args=(mask,), group=False)

    pairs = [(variable.value, mask.value) for variable, mask in zip(variables, masks, strict=True)]
    if (
        tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context()
    ):  # inside of `strategy.run`
        tf.__internal__.distribute.interim.maybe_merge_call(
            on_all_replicas, tf.distribute.get_strategy(), pairs
        )
        return
    with strategy_of(variables).scope():
        on_all_replicas(tf.distribute.get_strategy(), pairs)


def running_fit() -> keras.callbacks.CallbackList | None:
    """The callbacks of the ``fit`` that makes the present call, or None. Walks the stack: only for code that runs once."""
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals
        if frame.f_code.co_name == "fit" and isinstance(found.get("self"), keras.Model):
            callbacks = found.get("callbacks")
            if isinstance(callbacks, keras.callbacks.CallbackList):
                return callbacks
        frame = frame.f_back  # type: ignore[assignment]
    return None


def batch_of_running_fit() -> tuple[Any, Any, Any]:
    """Inputs, targets and sample weights of a batch of the ``fit`` that makes the present call.

    The data are read from their beginning, and ``fit`` still gets all of them: a generator has been
    looked into by Keras, which keeps what it saw. Random numbers of NumPy stay as they were.

    Raises:
        ValueError: no ``fit`` is running, or its data cannot be read twice.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and not hasattr(frame.f_locals.get("epoch_iterator"), "data_adapter"):
        frame = frame.f_back
    if frame is None:
        raise ValueError(f"{NO_BATCH} Received: a callback that no `fit` of Keras calls")
    adapter = frame.f_locals["epoch_iterator"].data_adapter
    state = np.random.get_state()  # noqa: NPY002  # Keras shuffles arrays with it
    try:
        batch = _first_batch(adapter)
    except Exception as error:  # what an adapter, or the user's own data, may raise
        raise ValueError(f"{NO_BATCH} Received: {type(adapter).__name__}: {error}") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y, sample_weight


NO_BATCH = (
    '`initial_masks="snip"` takes a batch of the data of `fit`, and there is none: make the masks '
    "yourself, `initial_masks=keras_sparse.snip_masks(model, x, y, density)`."
)


def _first_batch(adapter: Any) -> Any:
    if hasattr(adapter, "_first_batches"):  # of a generator
        return adapter._first_batches[0]
    if hasattr(adapter, "py_dataset"):  # without its threads
        return adapter._standardize_batch(adapter.py_dataset[0])
    return next(iter(adapter.get_numpy_iterator()))


def train_on_batch(model: keras.Model, batch: Sequence[Any]) -> None:
    """``model.train_on_batch`` without logs, which Keras cannot average over several workers."""
    if keras.backend.backend() == "tensorflow" and "train_step" not in vars(model):
        train_step = model.train_step
        model.train_step = lambda data: train_step(data) and {}
    model.train_on_batch(*batch, return_dict=True)


def compiled_losses(model: keras.Model) -> dict[str, Any]:
    """The arguments of ``compile`` that say what a model's loss is."""
    return {"loss": model.loss, "loss_weights": model._compile_config.config.get("loss_weights")}


def of_the_first_worker(values: np.ndarray) -> np.ndarray:
    """An int32 array that all workers of a TensorFlow strategy take from the first one; else itself.

    A variable begins everywhere with the value of the first worker.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    return to_numpy(
        keras.Variable(values, dtype="int32", trainable=False, name="of_the_first_worker")
    )


def fans(initializer: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan in, fan out) by which a VarianceScaling initializer scales a weight of this shape."""
    from keras.src.initializers.random_initializers import compute_fans

    axes = {key: getattr(initializer, key, None) for key in ("input_axes", "output_axes")}
    fan_in, fan_out = compute_fans(
        shape, **{key: axis for key, axis in axes.items() if axis is not None}
    )
    return fan_in, fan_out


def calling_model(variables: Sequence[Any]) -> keras.Model | None:
    """The innermost model with these variables whose method makes the present call, however deeply; or None.

    Walks the stack: only for code that runs once.
    """
    wanted, frame = set(map(id, variables)), sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("self")
        if isinstance(model, keras.Model) and wanted <= set(map(id, model.trainable_variables)):
            return model
        frame = frame.f_back  # type: ignore[assignment]
    return None


def running_callbacks() -> keras.callbacks.CallbackList | None:
    """The list that is calling a callback now, or None. Walks the stack: only for code that runs once."""
    frame = sys._getframe(1)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), keras.callbacks.CallbackList):
            return frame.f_locals["self"]
        frame = frame.f_back  # type: ignore[assignment]
    return None


def model_in_train_step() -> keras.Model | None:
    """The model whose ``train_step`` makes the present call, or None.

    None, too, within a tf.function that the step calls: what is traced there may serve other steps.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if name == "train_step" and isinstance(model := frame.f_locals.get("self"), keras.Model):
            return model
        if name == "__call__" and file.endswith("polymorphic_function.py"):
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return None


def write_saved_model(
    model: keras.Model,
    path: str,
    verbose: bool | None = None,
    input_signature: Any = None,
    **settings: Any,
) -> None:
    """``model.export`` to a SavedModel that keeps its variables while any part of it is in use.

    What Keras writes loses them in ``tf.saved_model.load(path).serve(x)``: nobody holds the
    loaded object when the call begins, and TensorFlow says that variables have been deleted. A
    reference of the object to itself leaves it to Python's garbage collector.
    """
    from keras.src.export.export_utils import get_input_signature

    archive = keras.export.ExportArchive()
    signature = get_input_signature(model) if input_signature is None else input_signature
    archive.track_and_add_endpoint("serve", model, signature, **settings)
    archive._tf_trackable.itself = archive._tf_trackable
    archive.write_out(path, verbose=True if verbose is None else verbose)
