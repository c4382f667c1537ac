"""The step of SGD with momentum, or of Adam, and the mask as one operation on a CPU.

Keras' own seven operations of SGD, and thirteen of Adam, read all weights each.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import keras

from keras_sparse._keras import index_of, variables_of
from keras_sparse.compute.library import available, library
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.momentum import kept_by

WeightOf = Callable[[Any], MaskedWeight | None]


@contextlib.contextmanager
def fused_steps(
    optimizer: keras.optimizers.Optimizer, masked_weight_of: WeightOf = lambda variable: None
) -> Iterator[list[MaskedWeight]]:
    """While the body runs, SGD with a momentum, Adam and AdamW step by one operation.

    The values are those of Keras' steps. Other optimizers, Adam with `amsgrad`, and other backends
    step as ever.

    Args:
        optimizer: any optimizer; it is left as it was.
        masked_weight_of: called with a variable that the same operation can mask. Gives its
            MaskedWeight; None: it is not to be masked.

    Yields:
        The weights that the steps have masked; filled while the body runs.
    """
    masked: list[MaskedWeight] = []
    is_own = "update_step" in vars(optimizer)
    if is_own or keras.backend.backend() != "tensorflow" or not _has_operation(optimizer):
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


def _has_operation(optimizer: Any) -> bool:
    if type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW):
        return not optimizer.amsgrad
    return type(optimizer) is keras.optimizers.SGD and optimizer.momentum != 0


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
    """One variable: by our operation if it has a mask, by TensorFlow's for SGD, or by Keras."""
    import tensorflow as tf

    index = cast(int, index_of(optimizer, variable))  # Keras has checked that it is known
    known = variables_of(optimizer)[index]
    is_sgd = type(optimizer) is keras.optimizers.SGD
    lists_rows = isinstance(gradient, tf.IndexedSlices)  # of an embedding
    can_mask = not lists_rows and _can_mask(optimizer, known)
    masked_weight = masked_weight_of(known) if can_mask else None
    if masked_weight is not None:
        masked.append(masked_weight)
        mask = keras.ops.convert_to_tensor(masked_weight.mask_variable)
        step = _masked_sgd if is_sgd else _masked_adam
        step(optimizer, index, _value(variable), mask, tf.cast(gradient, "float32"), learning_rate)
    elif is_sgd and not lists_rows:
        _sgd(optimizer, index, _value(variable), gradient, learning_rate)
    else:
        type(optimizer).update_step(optimizer, gradient, variable, learning_rate)


def _masked_sgd(
    optimizer: Any, index: int, weight: Any, mask: Any, gradient: Any, learning_rate: Any
) -> None:
    """momentum <- m * momentum - rate * gradient; weight <- weight + momentum, masked.

    With Nesterov: weight <- weight + m * momentum - rate * gradient.
    """
    import tensorflow as tf

    library().keras_sparse_apply_masked_momentum(
        weight.handle,
        _value(optimizer.momentums[index]).handle,
        mask,
        gradient,
        tf.cast(learning_rate, "float32"),
        optimizer.momentum,
        use_nesterov=optimizer.nesterov,
    )


def _sgd(optimizer: Any, index: int, weight: Any, gradient: Any, learning_rate: Any) -> None:
    """The same without a mask, in any dtype."""
    import tensorflow as tf

    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=_value(optimizer.momentums[index]).handle,
        lr=tf.cast(learning_rate, weight.dtype),
        grad=tf.cast(gradient, weight.dtype),
        momentum=tf.cast(optimizer.momentum, weight.dtype),
        use_nesterov=optimizer.nesterov,
    )


def _masked_adam(
    optimizer: Any, index: int, weight: Any, mask: Any, gradient: Any, learning_rate: Any
) -> None:
    """weight <- weight - rate * momentum / (sqrt(velocity) + epsilon), masked.

    TensorFlow's own operation takes 1 - beta from a beta in float32, which is another number.
    """
    import tensorflow as tf

    step = tf.cast(optimizer.iterations + 1, "float32")
    kept = kept_by(optimizer)
    momentum, velocity = (
        _value(getattr(optimizer, str(name))[index]) for name in (kept.momenta, kept.scales)
    )
    first, second = (1 - tf.pow(beta, step) for beta in (optimizer.beta_1, optimizer.beta_2))
    library().keras_sparse_apply_masked_adam(
        weight.handle,
        momentum.handle,
        mask,
        gradient,
        velocity.handle,
        tf.cast(learning_rate, "float32") * tf.sqrt(second) / first,
        1 - optimizer.beta_1,
        1 - optimizer.beta_2,
        optimizer.epsilon,
    )


def _value(variable: Any) -> Any:
    """The tf.Variable of a Keras variable; a tf.Variable is its own."""
    return variable.value if isinstance(variable, keras.Variable) else variable
