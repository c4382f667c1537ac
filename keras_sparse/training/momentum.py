"""The momentum of a weight: one small function for each Keras optimizer class.

By class and never by attribute name: ScheduleFreeAdamW keeps weights in ``_momentums``. Optimizers that have none can
be trained with ``SparseMomentum(..., gradient_momentum=0.9)``, which keeps an average of its own.
"""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse._keras import to_float32

EPSILON = 1e-8  # of the published code
MULTI_OPTIMIZER = tuple(
    filter(None, [getattr(keras.optimizers, "MultiOptimizer", None)])
)  # Keras has it from 3.15 on
MOMENTA = {  # Keras' optimizers that have a momentum, and where they keep it
    keras.optimizers.SGD: "momentums",
    keras.optimizers.Muon: "momentums",
    keras.optimizers.RMSprop: "_momentums",
    keras.optimizers.Lion: "_momentums",
    keras.optimizers.Adam: "_momentums",
    keras.optimizers.Nadam: "_momentums",
    keras.optimizers.Lamb: "_momentums",
    keras.optimizers.Adamax: "_m",
}


@functools.singledispatch
def momentum_of(optimizer: keras.optimizers.Optimizer, index: int) -> np.ndarray:
    """Momentum of an optimizer's trainable variable: dense, float32, of the variable's shape.

    Register your own optimizer with ``@keras_sparse.momentum_of.register(YourOptimizer)``.

    Args:
        optimizer: a built Keras optimizer.
        index: place of the variable in the list the optimizer was built with.
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
        for cls, attribute in MOMENTA.items():
            if isinstance(part, cls):
                for momentum in getattr(part, attribute):
                    momentum.assign(ops.zeros(momentum.shape, momentum.dtype))


def _refusal(optimizer: keras.optimizers.Optimizer) -> str:
    return (
        "The rules of this mask update need a momentum and this optimizer keeps none. Give it one (SGD(momentum=0.9)), or pass "
        "`gradient_momentum=0.9` so that SparseMomentum keeps an average of the gradients itself. "
        f"Received: inner_optimizer={type(optimizer).__name__}, momentum={getattr(optimizer, 'momentum', None)}"
    )


@momentum_of.register(keras.optimizers.SGD)
def _(optimizer: Any, index: int) -> np.ndarray:
    return to_float32(optimizer.momentums[index])


@momentum_of.register(keras.optimizers.RMSprop)
@momentum_of.register(keras.optimizers.Lion)
def _(optimizer: Any, index: int) -> np.ndarray:
    return to_float32(optimizer._momentums[index])


@momentum_of.register(keras.optimizers.Adam)  # AdamW is an Adam
@momentum_of.register(keras.optimizers.Nadam)
@momentum_of.register(keras.optimizers.Lamb)
def _(optimizer: Any, index: int) -> np.ndarray:
    return _normalised(optimizer._momentums[index], optimizer._velocities[index])


@momentum_of.register(keras.optimizers.Adamax)
def _(optimizer: Any, index: int) -> np.ndarray:
    return to_float32(optimizer._m[index]) / (to_float32(optimizer._u[index]) + EPSILON)


@momentum_of.register(keras.optimizers.Muon)
def _(optimizer: Any, index: int) -> np.ndarray:
    if optimizer.adam_velocities[index] is None:
        return to_float32(optimizer.momentums[index])
    return _normalised(optimizer.momentums[index], optimizer.adam_velocities[index])


def _of_part(optimizer: Any, index: int) -> np.ndarray:
    variable = optimizer._trainable_variables[index]
    part = optimizer.optimizers[optimizer._var_to_optimizer_idx[optimizer._var_key(variable)]]
    return momentum_of(part, part._get_variable_index(variable))


for multi_optimizer in MULTI_OPTIMIZER:
    momentum_of.register(multi_optimizer, _of_part)


def _normalised(momentum: Any, velocity: Any) -> np.ndarray:
    """Adam's direction, m / (sqrt(v) + epsilon)."""
    scale = np.sqrt(to_float32(velocity))
    scale += EPSILON
    return np.divide(to_float32(momentum), scale, out=scale)


@keras.saving.register_keras_serializable("keras_sparse")
class GradientAverage(keras.optimizers.Optimizer):
    """An optimizer that changes no weight and only keeps a running average of the dense gradients.

    Being an optimizer, it gets gradients summed over replicas, and saves and restores its state, on every backend.

    Args:
        decay: weight of the past, in [0, 1); 0 keeps the last gradient alone, which is what RigL grows by.
    """

    def __init__(self, decay: float, name: str = "gradient_average") -> None:
        super().__init__(learning_rate=0.0, name=name)
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0.0 <= decay < 1.0:
            raise ValueError(
                f"`gradient_momentum` must be in [0, 1). Received: gradient_momentum={decay!r}"
            )
        self.decay = float(decay)

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "gradient_average")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        average = self.averages[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        # ops and not operators: the gradient of an embedding lists only the rows that were looked up
        self.assign(
            average,
            ops.add(ops.multiply(average, self.decay), ops.multiply(gradient, 1.0 - self.decay)),
        )

    def get_config(self) -> dict[str, Any]:
        return {"decay": self.decay, "name": self.name}


@momentum_of.register(GradientAverage)
def _(optimizer: Any, index: int) -> np.ndarray:
    return to_float32(optimizer.averages[index])
