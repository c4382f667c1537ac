"""What does ``model.fit`` run in every step?  Keras' own function, traced for one global batch under a TPUStrategy."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from keras_sparse._keras import layers_of
from keras_sparse.tpu_check._tensorflow import build, one_step_on_data
from keras_sparse.training.find_optimizer import sparse_momentum_of


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A traced train step.

    Args:
        function: the concrete function that ``fit`` calls.
        model: the model, its variables made.
        replicas: how many it is for.
    """

    function: Any
    model: keras.Model
    replicas: int

    @property
    def variables(self) -> dict[str, Any]:
        """{name: variable} of all that a step may read or write: of layers, metrics and optimizer; second ones of a path are path#2."""
        named: dict[str, Any] = {}
        seen: set[int] = set()
        metrics = [variable for metric in self.model.metrics for variable in metric.variables]
        layers = [variable for layer in layers_of(self.model) for variable in layer.variables]
        for variable in [*self.model.variables, *layers, *metrics, *self.model.optimizer.variables]:
            if id(variable) not in seen:
                seen.add(id(variable))
                count = sum(name.split("#")[0] == variable.path for name in named)
                named[f"{variable.path}#{count + 1}" if count else variable.path] = variable
        return named


def trace(model: keras.Model, batch: Any) -> TrainStep:
    """Traces the train step of a compiled model that was made under a TPUStrategy.

    Args:
        model: compiled without ``jit_compile=True``.
        batch: ``(inputs, targets)``, tf.TensorSpecs of a global batch; nests of them where the model takes nests.

    Raises:
        ValueError: not compiled, compiled with jit_compile=True or run_eagerly=True, not made under a strategy, or a batch
            that cannot be divided among the replicas.
    """
    strategy = model.distribute_strategy
    replicas = strategy.num_replicas_in_sync
    _check(model, strategy)
    shard = tree.map_structure(lambda spec: _shard(spec, replicas), batch)
    with strategy.scope():
        optimizer = sparse_momentum_of(model)
        if optimizer is not None:
            optimizer.build(model)
        build(
            model,
            tree.map_structure(lambda spec: keras.KerasTensor(spec.shape, spec.dtype.name), shard),
        )
    data = tree.map_structure(
        lambda spec: strategy.experimental_distribute_values_from_function(
            lambda _: tf.zeros(spec.shape, spec.dtype)
        ),
        shard,
    )
    return TrainStep(one_step_on_data(model).get_concrete_function(data), model, replicas)


def _check(model: keras.Model, strategy: Any) -> None:
    if not model.compiled:
        raise ValueError(
            f"The model must be compiled: call `model.compile(optimizer, loss)`. Received: {type(model).__name__} {model.name!r}, not compiled"
        )
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError(
            f"The model must be made, and compiled, in the scope of `keras_sparse.tpu_check.strategy(replicas)`. Received: strategy={type(strategy).__name__}"
        )
    for setting in ("jit_compile", "run_eagerly"):
        if getattr(model, setting):
            raise ValueError(
                f"Under a TPUStrategy compile with `{setting}=False`: TPUs compile the step themselves. Received: {setting}=True"
            )


def _shard(spec: Any, replicas: int) -> tf.TensorSpec:
    """What one replica gets of a global batch."""
    batch, *shape = spec.shape
    if not batch or batch % replicas or None in shape:
        raise ValueError(
            f"A batch must have a known shape, and be a multiple of the {replicas} replicas. Received: shape={tuple(spec.shape)}"
        )
    return tf.TensorSpec([batch // replicas, *shape], spec.dtype)
