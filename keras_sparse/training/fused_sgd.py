"""A step of SGD with momentum as one operation; Keras' seven read all weights each.

A weight with a mask has an operation of its own, which masks it in the same pass.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.compute.library import available, library

TakeMask = Callable[[Any], Any]


def fuse_momentum(
    optimizer: keras.optimizers.Optimizer, take_mask: TakeMask = lambda variable: None
) -> None:
    """Has keras.optimizers.SGD with a momentum step by one operation where the backend has it; the values are the same.

    Args:
        optimizer: any; what is not exactly SGD with a momentum stays as it is.
        take_mask: called for a variable that is about to be stepped and can be masked by the same operation. Gives its mask,
            bool and of its shape, which is applied; or None.
    """
    if _is_sgd_with_momentum(optimizer):
        optimizer.update_step = functools.partial(_update_step, optimizer, take_mask)


def _can_mask(optimizer: Any, variable: Any) -> bool:
    """Not where anything changes the weight after the step (constraints, averaged weights), under a strategy, nor on a GPU."""
    if (
        not isinstance(variable, keras.Variable)
        or optimizer.use_ema
        or variable.constraint is not None
        or not available()
    ):
        return False
    import tensorflow as tf

    weight = variable.value
    under_strategy = tf.distribute.has_strategy() or hasattr(weight, "distribute_strategy")
    return not under_strategy and weight.dtype == tf.float32 and "CPU" in (weight.device or "")


def _is_sgd_with_momentum(optimizer: Any) -> bool:
    return (
        type(optimizer) is keras.optimizers.SGD
        and optimizer.momentum != 0
        and keras.backend.backend() == "tensorflow"
    )


def _update_step(
    optimizer: Any, take_mask: TakeMask, gradient: Any, variable: Any, learning_rate: Any
) -> None:
    """momentum <- m * momentum - rate * gradient; weight <- weight + momentum, or + m * momentum - rate * gradient (Nesterov)."""
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):  # of an embedding: Keras' own way
        keras.optimizers.SGD.update_step(optimizer, gradient, variable, learning_rate)
        return
    index = optimizer._get_variable_index(variable)
    weight, momentum = (
        v.value if isinstance(v, keras.Variable) else v
        for v in (variable, optimizer.momentums[index])
    )
    rates = [tf.cast(rate, weight.dtype) for rate in (learning_rate, optimizer.momentum)]
    gradient = tf.cast(gradient, weight.dtype)
    mask = (
        take_mask(variable) if _can_mask(optimizer, optimizer._trainable_variables[index]) else None
    )
    if mask is not None:
        mask = keras.ops.convert_to_tensor(mask)
        library().keras_sparse_apply_masked_momentum(
            weight.handle, momentum.handle, mask, gradient, *rates, use_nesterov=optimizer.nesterov
        )
        return
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=momentum.handle,
        lr=rates[0],
        grad=gradient,
        momentum=rates[1],
        use_locking=False,
        use_nesterov=optimizer.nesterov,
    )
