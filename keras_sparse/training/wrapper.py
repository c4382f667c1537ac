"""One Keras optimizer stands in for another: it holds it as ``inner_optimizer`` and delegates.

Follows Keras' own LossScaleOptimizer, so learning rate callbacks, loss scaling, saving and all
backends work.
"""

from typing import Any

import keras

from keras_sparse._keras import check_keras_3
from keras_sparse.rules.received import received
from keras_sparse.training.momentum import MULTI_OPTIMIZER

# What Keras' Optimizer takes as arguments beside the learning rate, and their defaults.
SETTINGS: dict[str, Any] = {
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def _optimizer(given: Any) -> Any:
    """The Keras optimizer that was given, by itself or as what ``keras.optimizers.get`` takes."""
    try:
        if (optimizer := keras.optimizers.get(given)) is not None:
            return optimizer
    except ValueError:
        pass
    raise ValueError(
        "`inner_optimizer` must be a Keras optimizer, such as keras.optimizers.SGD(momentum=0.9), "
        f'or the name of one, such as "adam". {received(inner_optimizer=given)}'
    )


def _delegated(name: str) -> property:
    """A setting of the inner optimizer; Keras' own code for the wrapper sees the default."""

    def get(self: "OptimizerWrapper") -> Any:
        return getattr(self.inner_optimizer, name) if self._delegates else SETTINGS[name]

    def put(self: "OptimizerWrapper", value: Any) -> None:
        if not self._delegates:
            return  # Keras' __init__ sets its defaults
        if isinstance(self.inner_optimizer, MULTI_OPTIMIZER) and name != "loss_scale_factor":
            raise AttributeError(
                f"A MultiOptimizer does not pass `{name}` on: set it on the optimizers in "
                f"`inner_optimizer.optimizers`. {received(**{name: value})}"
            )
        setattr(self.inner_optimizer, name, value)

    return property(get, put, doc=f"``{name}`` of the inner optimizer.")


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Delegates all that a Keras optimizer is asked for to ``inner_optimizer``: to read and to set.

    Args:
        inner_optimizer: any Keras 3 optimizer but LossScaleOptimizer, or a name like ``"adam"``.
        name: name of this optimizer.

    >>> wrapper = OptimizerWrapper(keras.optimizers.AdamW(weight_decay=0.01, clipnorm=1.0))
    >>> wrapper.weight_decay, wrapper.clipnorm, wrapper.beta_1
    (0.01, 1.0, 0.9)
    """

    _delegates = False  # not while Keras' code for the wrapper runs
    _is_complete = (
        False  # True: what is set from now on and only the inner optimizer has is the inner one's
    )

    def __init__(self, inner_optimizer: Any, name: str | None = None) -> None:
        check_keras_3(inner_optimizer, "inner_optimizer")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = _optimizer(inner_optimizer)
        if isinstance(self.inner_optimizer, OptimizerWrapper | keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "`inner_optimizer` must not be a wrapper itself; put LossScaleOptimizer outside, "
                "as Keras does. "
                f"Received: inner_optimizer={type(self.inner_optimizer).__name__}"
            )
        self._delegates = True

    weight_decay = _delegated("weight_decay")
    clipnorm = _delegated("clipnorm")
    clipvalue = _delegated("clipvalue")
    global_clipnorm = _delegated("global_clipnorm")
    use_ema = _delegated("use_ema")
    ema_momentum = _delegated("ema_momentum")
    ema_overwrite_frequency = _delegated("ema_overwrite_frequency")
    loss_scale_factor = _delegated("loss_scale_factor")
    gradient_accumulation_steps = _delegated("gradient_accumulation_steps")

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("inner_optimizer")
        if inner is None or name.startswith("_") or not hasattr(inner, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(inner, name)  # `momentum`, `beta_1`, ...

    def __setattr__(self, name: str, value: Any) -> None:
        own = (
            not self._is_complete
            or name.startswith("_")
            or name in self.__dict__
            or hasattr(type(self), name)
        )
        if not own and hasattr(self.inner_optimizer, name):
            setattr(self.inner_optimizer, name, value)
            return
        super().__setattr__(name, value)

    def build(self, variables: Any) -> None:
        """Builds what is the wrapper's own; averages are the inner optimizer's."""
        self._delegates = False
        try:
            super().build(variables)
        finally:
            self._delegates = True

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """As Keras', on the inner optimizer, or on all those of a MultiOptimizer."""
        multiple = isinstance(self.inner_optimizer, MULTI_OPTIMIZER)
        for optimizer in self.inner_optimizer.optimizers if multiple else [self.inner_optimizer]:
            optimizer.exclude_from_weight_decay(var_list, var_names)

    @property
    def variables(self) -> list[Any]:
        return super().variables + self.inner_optimizer.variables

    @property
    def iterations(self) -> Any:
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def _model_variables_moving_average(self) -> Any:
        """Keras' SwapEMAWeights looks here."""
        return self.inner_optimizer._model_variables_moving_average

    def set_weights(self, weights: Any) -> None:
        """Sets all variables, the inner optimizer's too, in the order of ``variables``.

        Raises:
            ValueError: another number of arrays.
        """
        if len(weights) != len(self.variables):
            raise ValueError(
                f"`weights` must be one array for each of the {len(self.variables)} variables. "
                f"Received: {len(weights)} arrays"
            )
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def scale_loss(self, loss: Any) -> Any:
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)
