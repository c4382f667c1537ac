"""How does a step of SGD with momentum run as one operation?  Keras makes seven of it, each of which reads all weights."""

import types
from typing import Any

import keras


def fuse_momentum(optimizer: keras.optimizers.Optimizer) -> None:
    """Has keras.optimizers.SGD with a momentum step by one operation where the backend has it; the values are the same.

    Args:
        optimizer: any; what is not exactly SGD with a momentum stays as it is.
    """
    if type(optimizer) is keras.optimizers.SGD and optimizer.momentum != 0 and keras.backend.backend() == "tensorflow":
        optimizer.update_step = types.MethodType(_update_step, optimizer)


def _update_step(optimizer: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """momentum <- m * momentum - rate * gradient; weight <- weight + momentum, or + m * momentum - rate * gradient (Nesterov)."""
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):  # of an embedding: Keras' own way
        keras.optimizers.SGD.update_step(optimizer, gradient, variable, learning_rate)
        return
    momentum = optimizer.momentums[optimizer._get_variable_index(variable)]
    weight, momentum = (v.value if isinstance(v, keras.Variable) else v for v in (variable, momentum))
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=momentum.handle,
        lr=tf.cast(learning_rate, weight.dtype),
        grad=tf.cast(gradient, weight.dtype),
        momentum=tf.cast(optimizer.momentum, weight.dtype),
        use_locking=False,
        use_nesterov=optimizer.nesterov,
    )
