"""Measures the speed of a training step, sparse against dense, on this machine."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import densify, sparsify
from keras_sparse.models.step_parts import StepParts, parts_of, passes
from keras_sparse.models.turns import ratio, take_turns
from keras_sparse.training.find_optimizer import sparse_momentum_of, sparse_optimizer
from keras_sparse.training.presets import StaticSparsity
from keras_sparse.training.selection import Selection
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.update_watch import has_own_train_step

TURNS = 5
MIN_SECONDS_OF_TURN = 0.05  # shorter steps are repeated
WARM_UP = 2  # steps; the first one traces


@dataclasses.dataclass(frozen=True)
class StepSpeed:
    """The time of a training step, on copies of the model and random data.

    Attributes:
        dense_seconds: seconds of a step with Keras' own layers; median, wall time.
        closed: dense seconds / seconds with sparse layers, growth window closed.
        open: dense seconds / seconds with sparse layers, growth window open.
        parts: the parts of the step with sparse layers, if they were timed.
    """

    dense_seconds: float
    closed: float
    open: float
    parts: StepParts | None = None


def step_speed(
    model: keras.Model, inputs: Any, argument: str = "time_step", with_parts: bool = False
) -> StepSpeed:
    """Times copies of a model with dense and with sparse layers in turns.

    The step is the one of ``fit``: forward pass, gradients and optimizer. The optimizer is the
    model's, or SGD with a momentum. The loss is the mean square of the outputs.

    Args:
        model: a built model. It stays unchanged; two copies of it are in memory.
        inputs: KerasTensors of known shapes, in the structure of the model's call.
        argument: the one that asked for it, for messages.
        with_parts: True: times the parts of the step with sparse layers, too.

    Raises:
        ValueError: the model has its own training step, an input takes strings or sparse tensors,
            or the backend is not TensorFlow.
    """
    _check(model, argument)
    arrays = tree.map_structure(lambda tensor: random_values(tensor, argument), inputs)
    data = tree.lists_to_tuples(arrays)  # for tf.data, as in `fit`
    with progress("timing a training step"):
        seconds = _take_turns(_contenders(model, data, with_parts))
    return StepSpeed(
        statistics.median(seconds["dense"]),
        ratio(seconds["dense"], seconds["closed"]),
        ratio(seconds["dense"], seconds["open"]),
        parts_of(seconds) if with_parts else None,
    )


def _check(model: keras.Model, argument: str) -> None:
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"`{argument}` must be False on this backend: the custom ops are for TensorFlow. "
            f"Received: {argument}=True on {keras.backend.backend()}"
        )
    if has_own_train_step(model):
        raise ValueError(
            f"`{argument}` measures the training step of Keras, and this model has its own: time "
            f"an epoch of both. Received: {type(model).__name__} {model.name!r}"
        )


def _contenders(
    model: keras.Model, data: Any, with_parts: bool = False
) -> dict[str, Callable[[], None]]:
    """The steps to time: dense layers, and sparse layers with the growth window closed or open."""
    dense, sparse = densify(model), sparsify(model, verbose=False)
    dense_step = _step(dense, optimizer_like(model), data)
    sparse_step = _step(sparse, with_present_masks(model), data)
    optimizer = sparse_optimizer(sparse)

    def with_window(is_open: bool) -> Callable[[], None]:
        def step() -> None:
            optimizer.open_growth_window(is_open)
            sparse_step()

        return step

    steps = {"dense": dense_step, "closed": with_window(False), "open": with_window(True)}
    if with_parts:
        optimizer.open_growth_window(False)
        steps |= passes(sparse, data, lambda: optimizer.open_growth_window(False))
    return steps


def with_present_masks(model: keras.Model) -> SparseMomentum:
    """A new optimizer, not built, for a sparse copy of a model: its masks are the present ones."""
    original = sparse_momentum_of(model)
    chosen = {} if original is None else Selection.from_config(original.selection.get_config())
    if original is not None:
        chosen["growth_batch"] = original.growth_batch
    return StaticSparsity(optimizer_like(model), 1.0, initial_masks="nonzero", seed=0, **chosen)


def random_values(tensor: Any, argument: str = "time_step") -> np.ndarray:
    """Random normal numbers of the tensor's shape; zeros for integers and bools.

    Raises:
        ValueError: a tensor of strings, or a sparse one.
    """
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string" or tensor.sparse:
        what = "strings" if dtype == "string" else "sparse tensors"
        raise ValueError(
            f"`{argument}` creates random inputs, but no {what}: time an epoch of both. "
            f"Received: input {tensor.name!r} of dtype {dtype}"
        )
    if "float" not in dtype:
        return np.zeros(tensor.shape, dtype)
    return np.random.default_rng(0).standard_normal(tensor.shape).astype("float32")


def optimizer_like(model: keras.Model) -> Any:
    """A new optimizer with the config of the one that steps the model's weights."""
    sparse = sparse_momentum_of(model)
    own = sparse.inner_optimizer if sparse is not None else getattr(model, "optimizer", None)
    if isinstance(own, keras.optimizers.LossScaleOptimizer):
        own = own.inner_optimizer
    if own is None:
        return keras.optimizers.SGD(0.01, momentum=0.9)
    return type(own).from_config(own.get_config())


def _step(model: keras.Model, optimizer: Any, data: Any) -> Callable[[], None]:
    """A function that runs one step of ``fit`` and returns when it is done."""
    import tensorflow as tf

    def mean_square(x: Any, y: Any, y_pred: Any, *_: Any, **__: Any) -> Any:
        outputs = [keras.ops.cast(each, "float32") for each in tree.flatten(y_pred)]
        return sum(keras.ops.mean(keras.ops.square(each)) for each in outputs)

    model.compute_loss = mean_square
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((data,)).cache().repeat())

    def step() -> None:
        for value in tree.flatten(model.train_function(batches)):
            float(value)

    return step


def _take_turns(contenders: Mapping[str, Callable[[], None]]) -> dict[str, list[float]]:
    return take_turns(contenders, TURNS, MIN_SECONDS_OF_TURN, WARM_UP)
