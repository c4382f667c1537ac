"""A momentum for optimizers that keep none: a running average of the dense gradients."""

from typing import Any, cast

import keras
import numpy as np
from keras import ops

from keras_sparse._keras import index_of, to_float32
from keras_sparse.rules.received import received
from keras_sparse.training.momentum import momentum_of


@keras.saving.register_keras_serializable("keras_sparse")
class GradientAverage(keras.optimizers.Optimizer):
    """An optimizer that changes no weight and only keeps a running average of the dense gradients.

    Being an optimizer, it gets gradients summed over replicas, and saves and restores its state, on
    every backend.

    Args:
        decay: weight of the past, in [0, 1); 0 keeps the last gradient alone, which RigL grows by.
        name: name of this optimizer.
    """

    def __init__(self, decay: float, name: str = "gradient_average") -> None:
        super().__init__(learning_rate=0.0, name=name)
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0.0 <= decay < 1.0:
            raise ValueError(
                f"`gradient_momentum` must be in [0, 1). {received(gradient_momentum=decay)}"
            )
        self.decay = float(decay)

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.averages = self.add_optimizer_variables(variables, "gradient_average")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        average = self.averages[cast(int, index_of(self, variable))]
        gradient = ops.cast(gradient, variable.dtype)
        # not by operators: the gradient of an embedding lists only the rows that were looked up
        past, new = ops.multiply(average, self.decay), ops.multiply(gradient, 1.0 - self.decay)
        self.assign(average, ops.add(past, new))

    def get_config(self) -> dict[str, Any]:
        return {"decay": self.decay, "name": self.name}


@momentum_of.register(GradientAverage)
def _(optimizer: Any, index: int) -> np.ndarray:
    return to_float32(optimizer.averages[index])
