"""The momentum of a weight, and what else is known of each Keras optimizer class: one table.

By class and never by attribute name: ScheduleFreeAdamW keeps weights in ``_momentums``. Optimizers
without a momentum can be trained with ``SparseMomentum(..., gradient_momentum=0.9)``, which keeps
an average of its own. To add an optimizer, add a row to ``KEPT``.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from keras_sparse._keras import index_of, part_of, to_float32, variables_of

EPSILON = 1e-8  # of the published code
# Keras has it from 3.15 on.
MULTI_OPTIMIZER = tuple(filter(None, [getattr(keras.optimizers, "MultiOptimizer", None)]))


@dataclasses.dataclass(frozen=True)
class Kept:
    """What an optimizer keeps of the gradients of a weight.

    Args:
        momenta: attribute with the list of the momenta; None: it has none.
        scales: attribute with the list of what its steps divide them by; None: nothing. A variable
            of the list may be None, too.
        scale: makes the divisor of the value of such a variable.
        is_elementwise: True: the step of a weight depends on no other weight's gradient.
        linear_decay: attribute with the decay of a momentum that is a plain weighted sum of the
            gradients; None: it is none.
    """

    momenta: str | None = None
    scales: str | None = None
    scale: Callable[[np.ndarray], np.ndarray] = np.sqrt
    is_elementwise: bool = True
    linear_decay: str | None = None


KEPT: dict[type, Kept] = {
    keras.optimizers.SGD: Kept("momentums", linear_decay="momentum"),
    keras.optimizers.Lion: Kept("_momentums", linear_decay="beta_2"),
    keras.optimizers.RMSprop: Kept("_momentums"),
    keras.optimizers.Adam: Kept("_momentums", "_velocities", linear_decay="beta_1"),  # and AdamW
    keras.optimizers.Nadam: Kept("_momentums", "_velocities", linear_decay="beta_1"),
    keras.optimizers.Adamax: Kept("_m", "_u", scale=np.asarray, linear_decay="beta_1"),
    keras.optimizers.Lamb: Kept("_momentums", "_velocities", is_elementwise=False),
    keras.optimizers.Muon: Kept("momentums", "adam_velocities", is_elementwise=False),
    keras.optimizers.Adagrad: Kept(),
    keras.optimizers.Adadelta: Kept(),
    keras.optimizers.Ftrl: Kept(),
}


def kept_by(optimizer: keras.optimizers.Optimizer) -> Kept:
    """The row of an optimizer's class, or of the class that it is made from.

    One that is not in the table keeps no momentum, and its steps may look at all gradients.

    >>> kept_by(keras.optimizers.AdamW()).momenta
    '_momentums'
    """
    found = (KEPT[cls] for cls in type(optimizer).__mro__ if cls in KEPT)
    return next(found, Kept(is_elementwise=False))


def linear_decay(optimizer: keras.optimizers.Optimizer) -> float | None:
    """Decay of a momentum that is a plain weighted sum of gradients; None where it is none.

    >>> linear_decay(keras.optimizers.Adam(beta_1=0.8)), linear_decay(keras.optimizers.RMSprop())
    (0.8, None)
    """
    attribute = kept_by(optimizer).linear_decay
    return None if attribute is None else float(getattr(optimizer, attribute))


@functools.singledispatch
def momentum_of(optimizer: keras.optimizers.Optimizer, index: int) -> np.ndarray:
    """Momentum of an optimizer's trainable variable: dense, float32, of the variable's shape.

    Register your own optimizer with ``@keras_sparse.momentum_of.register(YourOptimizer)``.

    Args:
        optimizer: a built Keras optimizer.
        index: place of the variable in the list the optimizer was built with.

    Raises:
        TypeError: an optimizer without a momentum, or of a class that is not registered.
        ValueError: an optimizer that is not built.

    >>> optimizer = keras.optimizers.SGD(momentum=0.9)
    >>> optimizer.build([keras.Variable(np.ones(2))])
    >>> momentum_of(optimizer, 0)
    array([0., 0.], dtype=float32)
    """
    raise TypeError(_refusal(optimizer))


def check_momentum(optimizer: keras.optimizers.Optimizer) -> None:
    """Raises ValueError if this optimizer keeps no momentum. Needs no built optimizer."""
    if isinstance(optimizer, MULTI_OPTIMIZER):
        for part in optimizer.optimizers:
            check_momentum(part)
    elif (
        momentum_of.dispatch(type(optimizer)) is momentum_of.dispatch(object)
        or getattr(optimizer, "momentum", None) == 0
    ):
        raise ValueError(_refusal(optimizer))


def reset_momentum(optimizer: keras.optimizers.Optimizer) -> None:
    """Sets the momenta of Keras' optimizers to 0, of all variables; second moments stay.

    Args:
        optimizer: a built Keras optimizer. One without a momentum, or of your own, stays as it is.
    """
    for part in getattr(optimizer, "optimizers", [optimizer]):
        attribute = kept_by(part).momenta
        for momentum in [] if attribute is None else getattr(part, attribute):
            momentum.assign(ops.zeros(momentum.shape, momentum.dtype))


def _refusal(optimizer: keras.optimizers.Optimizer) -> str:
    momentum = getattr(optimizer, "momentum", None)
    return (
        "The rules of this mask update need a momentum and this optimizer keeps none. Give it one "
        "(SGD(momentum=0.9)), or pass `gradient_momentum=0.9` so that SparseMomentum keeps an "
        "average of the gradients itself. "
        f"Received: inner_optimizer={type(optimizer).__name__}, momentum={momentum}"
    )


def _of_table(optimizer: Any, index: int) -> np.ndarray:
    """The momentum as the optimizer steps by it: Adam's direction is m / (sqrt(v) + epsilon)."""
    if not optimizer.built:
        raise ValueError(
            "`optimizer` must be built: call `optimizer.build(model.trainable_variables)`. "
            f"Received: optimizer={type(optimizer).__name__}, not built"
        )
    kept = kept_by(optimizer)
    momentum = to_float32(getattr(optimizer, str(kept.momenta))[index])
    second = None if kept.scales is None else getattr(optimizer, kept.scales)[index]
    if second is None:
        return momentum
    scale = kept.scale(to_float32(second)) + np.float32(EPSILON)
    return np.divide(momentum, scale, out=scale)


for cls, kept in KEPT.items():
    if kept.momenta is not None:
        momentum_of.register(cls, _of_table)


def _of_part(optimizer: Any, index: int) -> np.ndarray:
    variable = variables_of(optimizer)[index]
    part = part_of(optimizer, variable)
    return momentum_of(part, cast(int, index_of(part, variable)))  # it steps this variable


for multi_optimizer in MULTI_OPTIMIZER:
    momentum_of.register(multi_optimizer, _of_part)
