"""How does one Keras optimizer stand in for another?  It holds it as ``inner_optimizer`` and delegates.

Follows Keras' own LossScaleOptimizer, so that learning rate callbacks, loss scaling, saving and all backends work.
"""

from typing import Any

import keras

from keras_sparse._keras import check_keras_3


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Delegates learning rate, iterations, loss scale and averaged weights to ``inner_optimizer``.

    Args:
        inner_optimizer: any Keras 3 optimizer but LossScaleOptimizer, or a name like ``"adam"``.
        name: of this optimizer.
    """

    def __init__(self, inner_optimizer: Any, name: str | None = None) -> None:
        check_keras_3(inner_optimizer, "inner_optimizer")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = keras.optimizers.get(inner_optimizer)
        if isinstance(self.inner_optimizer, OptimizerWrapper | keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                f"`inner_optimizer` must not be a wrapper itself; put LossScaleOptimizer outside, as Keras does. "
                f"Received: inner_optimizer={type(self.inner_optimizer).__name__}"
            )

    @property
    def variables(self) -> list[Any]:
        return self._variables + self.inner_optimizer.variables

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    def set_weights(self, weights: Any) -> None:
        """Sets all variables, in the order of ``variables``: this optimizer's and those it delegates to."""
        if len(weights) != len(self.variables):
            raise ValueError(f"`weights` must be one array for each of the {len(self.variables)} variables. Received: {len(weights)} arrays")
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def scale_loss(self, loss: Any) -> Any:
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)
