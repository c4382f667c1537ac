"""The step that ``model.fit`` runs: Keras' own function, traced under a TPUStrategy."""

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
    """A traced training step.

    Args:
        function: the concrete function that ``fit`` calls.
        model: the model, with its variables created.
        replicas: the number of replicas.
    """

    function: Any
    model: keras.Model
    replicas: int

    @property
    def variables(self) -> dict[str, Any]:
        """``{name: variable}`` of all layers, metrics and the optimizer.

        A second variable of the same path is named path#2.
        """
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
    """Traces the training step of a compiled model.

    Args:
        model: a model that was created and compiled under a TPUStrategy, without
            ``jit_compile=True`` and ``run_eagerly=True``.
        batch: ``(inputs, targets)``, tf.TensorSpecs of a global batch, or nests of them.

    Raises:
        ValueError: another model, or a batch that cannot be divided among the replicas.
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
            "`model` must be compiled: call `model.compile(optimizer, loss)`. "
            f"Received: model={type(model).__name__} {model.name!r}, not compiled"
        )
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError(
            "`model` must be created and compiled in the scope of "
            "`keras_sparse.tpu_check.strategy(replicas)`. "
            f"Received: strategy={type(strategy).__name__}"
        )
    for setting in ("jit_compile", "run_eagerly"):
        if getattr(model, setting):
            raise ValueError(
                f"`{setting}` must be False under a TPUStrategy, which compiles the step itself. "
                f"Received: {setting}=True"
            )


def _shard(spec: Any, replicas: int) -> tf.TensorSpec:
    """One replica's part of a global batch."""
    batch, *shape = spec.shape
    if not batch or batch % replicas or None in shape:
        raise ValueError(
            f"`batch` must have a known shape with a multiple of {replicas} examples: one part for "
            f"each replica. Received: shape={tuple(spec.shape)}"
        )
    return tf.TensorSpec([batch // replicas, *shape], spec.dtype)
