"""An untrained weight is one that the initializer of its layer draws again.

A random initializer of Keras holds one integer seed, drawn when it is made unless given, and
returns the same values at every call. So equal values prove that nobody has trained, loaded or
scaled a weight; statistics of a small kernel could only make that likely. In doubt it counts as
trained: a copied weight, an initializer that the layer does not keep, a seed that moves on.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse import initial_scale
from keras_sparse._keras import has_value, layers_of, own_variables, to_float32
from keras_sparse.initial_scale import Connections, scale_factors
from keras_sparse.selection import DEPTHWISE

BY_FAN = (keras.initializers.VarianceScaling, keras.initializers.Orthogonal)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
RELATIVE_TOLERANCE = 1e-5  # the same draw, by another device or compiler


def scale_untrained(
    model: keras.Model,
    variables: Sequence[Any],
    masks: Sequence[np.ndarray],
) -> None:
    """Gives the untrained ones of a model's weights their initial scale, see ``initial_scale``.

    Args:
        model: whose layers know the initializers.
        variables: weights, dense or already masked; those without a value yet get one.
        masks: bool arrays of their shapes.
    """
    owners = {id(own): layer for layer in layers_of(model) for own in own_variables(layer)}
    for variable, mask in zip(variables, masks, strict=True):
        layer = owners.get(id(variable))
        weight = None if layer is None else scaled_weight(layer, variable, mask)
        if weight is not None:
            variable.assign(weight)


def scaled_weight(layer: keras.layers.Layer, variable: Any, mask: np.ndarray) -> np.ndarray | None:
    """The weight at its initial scale.

    Args:
        layer: that made the variable.
        variable: its weight.
        mask: bool array of the weight's shape.

    Returns:
        float32 array, 0 where a weight is missing; or None: the weight is trained, or was not
        scaled by fan. The values of ``Constant`` or ``Identity``, or the stddev of a
        ``RandomNormal``, are what the user asked for.
    """
    initializer = initializer_of(layer, variable)
    if not isinstance(initializer, BY_FAN):
        return None
    mode = getattr(initializer, "mode", "fan_in")  # which an orthogonal matrix does not have
    factors = scale_factors(mask, connections_of(layer, variable), mode)
    drawn = None if (factors == 1).all() else draw_again(initializer, variable)
    if drawn is None:
        return None
    if has_value(variable) and not _equal(to_float32(variable)[mask], drawn[mask]):
        return None
    return np.asarray(drawn * factors * mask, np.float32)


def initializer_of(layer: keras.layers.Layer, variable: Any) -> Any:
    """The initializer of a layer's own variable; None if it is not where Keras' layers keep it.

    That of ``kernel`` is ``kernel_initializer``, of ``pointwise_kernel`` ``pointwise_initializer``.
    """
    names: tuple[str, ...] = (variable.name, variable.name.removesuffix("_kernel"))
    if isinstance(layer, DEPTHWISE):
        names = ("depthwise",)
    found = [getattr(layer, f"{name}_initializer", None) for name in names]
    initializer: Any = found[0] or found[-1]
    if not isinstance(layer, keras.layers.EinsumDense) or not hasattr(initializer, "input_axes"):
        return initializer
    if None not in (initializer.input_axes, initializer.output_axes):
        return initializer
    into = initial_scale.einsum(layer.equation).into  # the layer adds its axes, and keeps the seed
    rest = tuple(axis for axis in range(len(variable.shape)) if axis not in into)
    axes = {"seed": initializer.seed, "input_axes": into, "output_axes": rest}
    return type(initializer).from_config({**initializer.get_config(), **axes})


def connections_of(layer: keras.layers.Layer, variable: Any) -> Connections:
    """The axes to count over; those of a kernel (taps..., in, out) for layers we do not know."""
    rank = len(variable.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        return initial_scale.einsum(layer.equation)
    if isinstance(layer, TRANSPOSED):
        return initial_scale.transposed(rank)
    if isinstance(layer, DEPTHWISE) or variable.name == "depthwise_kernel":
        return initial_scale.depthwise(rank)
    return initial_scale.plain(rank)


def draw_again(initializer: Any, variable: Any) -> np.ndarray | None:
    """What an initializer drew for a variable; None for a SeedGenerator, which moves on."""
    if not isinstance(initializer.seed, int):
        return None
    return to_float32(initializer(tuple(variable.shape), dtype=variable.dtype))


def keep_initializers(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Gives the copy of a layer its initializers, seeds included, as its weights are theirs."""
    for name, value in vars(old).items():
        if name.endswith("_initializer") and type(getattr(new, name, None)) is type(value):
            setattr(new, name, value)


def _equal(weight: np.ndarray, drawn: np.ndarray) -> bool:
    return np.allclose(weight, drawn, rtol=RELATIVE_TOLERANCE, atol=0)
