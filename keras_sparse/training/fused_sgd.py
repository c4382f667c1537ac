"""A step of SGD with momentum as one operation; Keras' seven read all weights each.

A weight with a mask has an operation of its own, which masks it in the same pass.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import keras

from keras_sparse._keras import index_of, variables_of
from keras_sparse.compute.library import available, library
from keras_sparse.training.masked_weight import MaskedWeight

WeightOf = Callable[[Any], MaskedWeight | None]


@contextlib.contextmanager
def fused_steps(
    optimizer: keras.optimizers.Optimizer, masked_weight_of: WeightOf = lambda variable: None
) -> Iterator[list[MaskedWeight]]:
    """While the body runs, keras.optimizers.SGD with a momentum steps by one operation.

    The values are those of Keras' steps. Other optimizers, and other backends, step as ever.

    Args:
        optimizer: any optimizer; it is left as it was.
        masked_weight_of: called with a variable that the same operation can mask. Gives its
            MaskedWeight; None: it is not to be masked.

    Yields:
        The weights that the steps have masked; filled while the body runs.
    """
    masked: list[MaskedWeight] = []
    if not _is_sgd_with_momentum(optimizer):
        yield masked
        return
    # Keras looks up the method at the optimizer in each step. In the replicas of a strategy the
    # first one sets it, and the steps of all are made before any of them leaves.
    own = vars(optimizer)
    own["update_step"] = functools.partial(_update_step, optimizer, masked_weight_of, masked)
    try:
        yield masked
    finally:
        own.pop("update_step", None)


def _is_sgd_with_momentum(optimizer: Any) -> bool:
    return (
        type(optimizer) is keras.optimizers.SGD
        and optimizer.momentum != 0
        and "update_step" not in vars(optimizer)
        and keras.backend.backend() == "tensorflow"
    )


def _can_mask(optimizer: Any, variable: Any) -> bool:
    """Is the step the last that changes the weight, and on a CPU, under no strategy?

    Constraints and averages of weights change it after the step.
    """
    is_last = isinstance(variable, keras.Variable) and variable.constraint is None
    if not is_last or optimizer.use_ema or not available():
        return False
    import tensorflow as tf

    weight = variable.value
    under_strategy = tf.distribute.has_strategy() or hasattr(weight, "distribute_strategy")
    return not under_strategy and weight.dtype == tf.float32 and "CPU" in (weight.device or "")


def _update_step(
    optimizer: Any,
    masked_weight_of: WeightOf,
    masked: list[MaskedWeight],
    gradient: Any,
    variable: Any,
    learning_rate: Any,
) -> None:
    """momentum <- m * momentum - rate * gradient; weight <- weight + momentum.

    With Nesterov: weight <- weight + m * momentum - rate * gradient.
    """
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):  # of an embedding: Keras' own way
        keras.optimizers.SGD.update_step(optimizer, gradient, variable, learning_rate)
        return
    index = cast(int, index_of(optimizer, variable))  # Keras has checked that it is known
    known = variables_of(optimizer)[index]
    weight, momentum = _value(variable), _value(optimizer.momentums[index])
    rates = [tf.cast(rate, weight.dtype) for rate in (learning_rate, optimizer.momentum)]
    gradient, nesterov = tf.cast(gradient, weight.dtype), optimizer.nesterov
    masked_weight = masked_weight_of(known) if _can_mask(optimizer, known) else None
    if masked_weight is not None:
        masked.append(masked_weight)
        mask = keras.ops.convert_to_tensor(masked_weight.mask_variable)
        library().keras_sparse_apply_masked_momentum(
            weight.handle, momentum.handle, mask, gradient, *rates, use_nesterov=nesterov
        )
        return
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=momentum.handle,
        lr=rates[0],
        grad=gradient,
        momentum=rates[1],
        use_locking=False,
        use_nesterov=nesterov,
    )


def _value(variable: Any) -> Any:
    """The tf.Variable of a Keras variable; a tf.Variable is its own."""
    return variable.value if isinstance(variable, keras.Variable) else variable
