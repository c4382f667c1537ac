"""The variables of Keras optimizers: which they train, hold and save."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras.scopes import strategy_of


def variables_of(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """The trainable variables that an optimizer was built with, in order; none before."""
    return optimizer._trainable_variables


def index_of(optimizer: keras.optimizers.Optimizer, variable: Any) -> int | None:
    """The place of a variable among those; None if the optimizer does not know it."""
    index: int | None = optimizer._trainable_variables_indices.get(optimizer._var_key(variable))
    return index


def part_of(optimizer: Any, variable: Any) -> Any:
    """The optimizer of a keras.optimizers.MultiOptimizer that steps this variable."""
    return optimizer.optimizers[optimizer._var_to_optimizer_idx[optimizer._var_key(variable)]]


def track_list(optimizer: keras.optimizers.Optimizer, name: str, variables: Sequence[Any]) -> None:
    """Files and checkpoints hold these variables as a list that is an attribute of this name."""
    for variable in variables:
        if not optimizer._tracker.is_in_store("variables", variable):
            optimizer._track_variable(variable)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tracked = tf.__internal__.tracking.wrap(list(variables))
        optimizer._track_trackable(tracked, name=name, overwrite=True)


def untrack(optimizer: keras.optimizers.Optimizer, variable: Any) -> None:
    """An optimizer's variable is no longer its own; one of another owner stays as it is."""
    optimizer._untrack_variable(variable)


def optimizer_steps_are_stateless() -> bool:
    """True on JAX: an optimizer's step reads the optimizer's variables and no others."""
    return keras.backend.backend() == "jax"


def mask_in_place(variables: Sequence[Any], masks: Sequence[Any]) -> None:
    """Sets what is missing in masks to 0, on each replica by itself.

    A product would write -0.0 for negative weights, and compressed files a third larger.
    Assigning in a replica would cost a collective per weight.
    """
    if keras.backend.backend() != "tensorflow":
        for variable, mask in zip(variables, masks, strict=True):
            # JAX's functions of arrays take no Keras variables
            weight, active = ops.convert_to_tensor(variable), ops.convert_to_tensor(mask)
            variable.assign(ops.where(active, weight, ops.zeros_like(weight)))
        return
    import tensorflow as tf

    def zero_missing(variable: Any, mask: Any) -> None:
        variable.assign(tf.where(mask, variable, tf.zeros_like(variable)))

    def on_all_replicas(strategy: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        for variable, mask in pairs:
            strategy.extended.update(variable, zero_missing, args=(mask,), group=False)

    pairs = [(variable.value, mask.value) for variable, mask in zip(variables, masks, strict=True)]
    is_in_replica = not tf.distribute.in_cross_replica_context()  # inside of `strategy.run`
    if tf.distribute.has_strategy() and is_in_replica:
        tf.__internal__.distribute.interim.maybe_merge_call(
            on_all_replicas, tf.distribute.get_strategy(), pairs
        )
        return
    with strategy_of(variables).scope():
        on_all_replicas(tf.distribute.get_strategy(), pairs)
