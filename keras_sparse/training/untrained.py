"""An untrained weight is one that the initializer of its layer draws again, or might have drawn.

A random initializer of Keras holds one integer seed, drawn when it is made unless given, and
returns the same values at every call. So equal values prove that a weight is untrained.

Weights that were copied or loaded before any training come from another seed. They are taken for
untrained on two conditions. They follow the law of their initializer. And the model has weights
that start as constants, such as biases or statistics, and none of these has moved: a step of
training moves them. In doubt a weight counts as trained.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import (
    fans,
    has_value,
    layers_of,
    of_the_first_worker,
    own_weights,
    to_float32,
)
from keras_sparse.compute.kernel_axes import TRANSPOSED, owners_of_weights
from keras_sparse.rules import initial_scale
from keras_sparse.rules.initial_scale import Connections, scale_factors
from keras_sparse.rules.initializer_law import follows_law, is_orthogonal
from keras_sparse.training.scale_invariant import is_scale_invariant
from keras_sparse.training.selection import DEPTHWISE

BY_FAN = (keras.initializers.VarianceScaling, keras.initializers.Orthogonal)
CONSTANT = (keras.initializers.Zeros, keras.initializers.Ones, keras.initializers.Constant)
RELATIVE_TOLERANCE = 1e-5  # the same draw, by another device or compiler


def scale_untrained(
    model: keras.Model,
    variables: Sequence[Any],
    masks: Sequence[np.ndarray],
) -> None:
    """Gives the untrained ones of a model's weights their initial scale, see ``initial_scale``.

    A ``RandomNormal`` of fixed stddev, a ``Constant`` or ``Identity`` is what the user asked for,
    and stays. So do weights whose outputs are normalized.

    Args:
        model: whose layers know the initializers.
        variables: weights, dense or already masked; those without a value yet get one.
        masks: bool arrays of their shapes.
    """
    owners, is_fresh = owners_of_weights(model), constants_are_untouched(model)
    own = [
        _factors(owners.get(id(v)), v, mask) is not None
        and is_untrained(v, initializer_of(owners[id(v)], v), mask, is_fresh)
        for v, mask in zip(variables, masks, strict=True)
    ]
    # Workers have the same weights, but each its own seeds: only the first one's draw them again.
    found = of_the_first_worker(np.array(own, np.int32))
    for v, mask, is_to_scale in zip(variables, masks, found.tolist(), strict=True):
        by = _factors(owners.get(id(v)), v, mask) if is_to_scale else None
        if by is not None:
            v.assign(_scaled(_start_of(v, owners[id(v)]), by, mask))


def _start_of(variable: Any, layer: keras.layers.Layer) -> np.ndarray:
    """The weight; without a value, what its initializer would draw."""
    drawn = None
    if not has_value(variable):
        drawn = draw_again(initializer_of(layer, variable), variable)
    return to_float32(variable) if drawn is None else drawn


def _scaled(weight: np.ndarray, by: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Weight times a float64 factor, rounded once, without a float64 array of its size."""
    scaled = np.empty_like(weight)
    np.multiply(weight, by, out=scaled, casting="same_kind")
    scaled[~mask] = 0
    return scaled


def _factors(
    layer: keras.layers.Layer | None, variable: Any, mask: np.ndarray
) -> np.ndarray | None:
    """By what to multiply a weight if it is untrained; None: by nothing."""
    initializer = None if layer is None else initializer_of(layer, variable)
    if layer is None or not isinstance(initializer, BY_FAN) or is_scale_invariant(layer):
        return None
    mode = getattr(initializer, "mode", "fan_in")  # which an orthogonal matrix does not have
    factors = scale_factors(mask, connections_of(layer, variable), mode)
    return None if (factors == 1).all() else factors


def is_untrained(variable: Any, initializer: Any, mask: np.ndarray, is_fresh: bool) -> bool:
    """Is the weight one that its initializer draws, or might have drawn?

    Args:
        variable: the weight, dense or already masked; without a value, it is untrained where its
            initializer can draw it.
        initializer: of the weight.
        mask: bool array of the weight's shape.
        is_fresh: whether a copied weight may be taken for untrained.
    """
    drawn = draw_again(initializer, variable)
    if not has_value(variable):
        return drawn is not None
    active = None if drawn is None else drawn[mask]
    del drawn  # its memory is wanted for what follows
    weight = to_float32(variable)
    if active is not None and np.allclose(weight[mask], active, rtol=RELATIVE_TOLERANCE, atol=0):
        return True
    return is_fresh and _may_be_drawn(initializer, weight, mask)


def _may_be_drawn(initializer: Any, weight: np.ndarray, mask: np.ndarray) -> bool:
    """Does a weight, dense or masked, follow the law of its initializer?"""
    if isinstance(initializer, keras.initializers.Orthogonal):
        return is_orthogonal(weight, initializer.gain)
    fan_in, fan_out = fans(initializer, weight.shape)
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    values = weight if weight[~mask].any() else weight[mask]
    return follows_law(values, initializer.scale / max(1.0, n), initializer.distribution)


def constants_are_untouched(model: keras.Model) -> bool:
    """Has the model weights that start as constants, and are all as they started?"""
    pairs = [pair for layer in layers_of(model) for pair in constant_starts(layer)]
    if not all(has_value(variable) for variable, _ in pairs):
        return False
    return bool(pairs) and not any(
        (to_float32(variable) != start).any() for variable, start in pairs
    )


def constant_starts(layer: keras.layers.Layer) -> list[tuple[Any, np.ndarray]]:
    """A layer's own variables that begin with a constant, and that constant."""
    found = []
    for variable in own_weights(layer):
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        if not isinstance(initializer, CONSTANT):
            continue
        start = np.array(keras.ops.convert_to_numpy(initializer(variable.shape)), np.float32)
        forgets = getattr(layer, "unit_forget_bias", False)
        if variable.name == "bias" and forgets:  # of an LSTM: 0, 1, 0, 0
            units = start.size // 4
            start[units : 2 * units] = 1.0
        found.append((variable, start))
    return found


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
