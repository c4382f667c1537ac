"""Times each sparse layer of a model alone, beside Keras' layer and by the custom op."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_sparse._keras import layers_of, to_numpy
from keras_sparse.compute.choice import choose
from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.sparse_recurrent import SparseRecurrent
from keras_sparse.conversion.convertible import RECURRENT_CELLS
from keras_sparse.conversion.sparsify import densify
from keras_sparse.models.runs_as import multiplying_layers
from keras_sparse.models.step_speed import random_values
from keras_sparse.models.turns import ratio, take_turns
from keras_sparse.tracing.multiply_adds import MultiplyAdds

TURNS, MIN_SECONDS_OF_TURN = 5, 0.02


@dataclasses.dataclass(frozen=True)
class LayerSpeed:
    """The time of one layer alone: outputs, and gradients by inputs and weights.

    Attributes:
        layer: its path.
        density: active / all weights of its masks.
        runs_as: what computes it in the model: "custom op", or "stock: " and the reason.
        dense_seconds: of Keras' layer; the median.
        speed_up: dense seconds / seconds by the custom op, growth window closed; None where the
            custom op cannot compute it.
    """

    layer: str
    density: float
    runs_as: str
    dense_seconds: float
    speed_up: float | None


def layer_speeds(model: keras.Model, counted: MultiplyAdds) -> Iterator[LayerSpeed]:
    """Times the sparse layers whose inputs are known; not cells, which a layer of the user calls.

    Args:
        model: a built model with sparse layers, its growth window closed.
        counted: what ``count_multiply_adds`` found, at the batch in question.
    """
    around = multiplying_layers(model)
    pairs = zip(layers_of(model), layers_of(densify(model)), strict=True)
    twins = {id(sparse): dense for sparse, dense in pairs}
    for owner in layers_of(model):
        if isinstance(owner, SparseLayer):
            layer = around.get(id(owner), owner)
            inputs = counted.inputs.get(id(layer), [])
            is_alone = isinstance(layer, RECURRENT_CELLS)
            if inputs and not is_alone:
                yield _speed(owner, layer, twins[id(layer)], inputs)


def sparse_layers(model: keras.Model) -> int:
    """The number of layers with masks of their own."""
    return sum(isinstance(layer, SparseLayer) for layer in layers_of(model))


def _speed(owner: SparseLayer, layer: Any, dense: Any, calls: Sequence[Any]) -> LayerSpeed:
    contenders = {"dense": _step(dense, calls)}
    if all(_can_run(owner, layer, name, calls) for name in owner.masked_weights):
        before, owner.implementation = owner.implementation, "custom_op"
        try:
            contenders["custom op"] = _step(layer, calls)
        finally:
            owner.implementation = before
    seconds = take_turns(contenders, TURNS, MIN_SECONDS_OF_TURN)
    masks = [to_numpy(kernel_mask.mask) for kernel_mask in owner.kernel_masks.values()]
    active, weights = sum(map(np.count_nonzero, masks)), sum(mask.size for mask in masks)
    texts = [layer.runs_as(each, name) for each in calls for name in owner.masked_weights]
    has_custom_op = "custom op" in seconds
    return LayerSpeed(
        owner.path,
        int(active) / weights,
        "; ".join(dict.fromkeys(texts)),
        statistics.median(seconds["dense"]),
        ratio(seconds["dense"], seconds["custom op"]) if has_custom_op else None,
    )


def _can_run(owner: SparseLayer, layer: Any, name: str, calls: Sequence[Any]) -> bool:
    inputs = None if isinstance(layer, SparseRecurrent) else calls[0]
    return choose(owner.product(inputs, name), "custom_op").why is None


def _step(layer: Any, calls: Sequence[Any]) -> Callable[[], object]:
    """A compiled function of the layer's calls and all their gradients; it is traced now."""
    import tensorflow as tf

    inputs = [tree.map_structure(tf.constant, random_values(each)) for each in calls]
    weights = [weight.value for weight in layer.trainable_variables]

    def step(inputs: Any) -> object:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tree.flatten([layer(each) for each in inputs])
        ones = [tf.ones_like(each) for each in outputs]
        return tape.gradient(outputs, [inputs, *weights], output_gradients=ones)

    traced = tf.function(step, autograph=False).get_concrete_function(inputs)
    waits = has_gpu()

    def run() -> None:
        traced(inputs)
        if waits:
            tf.test.experimental.sync_devices()

    return run
