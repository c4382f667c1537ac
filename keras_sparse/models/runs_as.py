"""What computes with a weight at a batch: the custom op, or the stock operation and the reason."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse._keras import layers_of, symbolic
from keras_sparse.compute.cpu_kernels import MOST_ROWS
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.sparse_recurrent import SparseRecurrent
from keras_sparse.conversion.convertible import why_dense

LARGEST_BATCH = 2**16  # stands for any larger batch


def multiplying_layers(model: keras.Model) -> dict[int, SparseRecurrent]:
    """``{id of a cell: its recurrent layer, which computes all time steps at once}``."""
    return {id(one.cell): one for one in layers_of(model) if isinstance(one, SparseRecurrent)}


def runs_as(
    layer: keras.layers.Layer,
    weight: Any,
    calls: Sequence[keras.KerasTensor],
    traced: int,
    batch: int | None,
) -> str:
    """``"custom op"``, ``"custom op from batch 12"``, or ``"stock: "`` and the reason.

    A prediction of few rows may give ``"custom op up to batch 8 and from batch 40"``. Where
    training and prediction differ, both are named. The answer holds for the mask's present density.

    Args:
        layer: any layer.
        weight: a variable that it multiplies by.
        calls: inputs of its calls, at the traced batch.
        traced: the traced batch.
        batch: the batch in question; None: any.
    """
    name = weight.name
    if isinstance(layer, SparseLayer) and name not in layer.masked_weights:
        return f"stock: the layer has no mask for {name}"
    if not isinstance(layer, SparseLayer | SparseRecurrent):
        why = why_dense(layer)
        return "stock: not a sparse layer" + (f" ({why})" if why else "")
    if not calls:
        return layer.runs_as(None, name)

    def text_of(inputs: keras.KerasTensor, training: bool) -> str:
        if batch is None:
            return _at_any_batch(layer, name, inputs, traced, training)
        return layer.runs_as(_with_batch(inputs, traced, batch), name, training)

    in_training, in_prediction = (
        "; ".join(dict.fromkeys(text_of(inputs, training) for inputs in calls))
        for training in (True, False)
    )
    if in_training == in_prediction:
        return in_training
    return f"training: {in_training}; prediction: {in_prediction}"


def _at_any_batch(
    layer: SparseLayer | SparseRecurrent,
    name: str,
    inputs: keras.KerasTensor,
    traced: int,
    training: bool,
) -> str:
    """Finds the batches of the custom op: few in a prediction, and many.

    The smallest of many is found by bisection: above few rows its break-even never falls.
    """

    def is_worth_it(batch: int) -> bool:
        return layer.why_stock(_with_batch(inputs, traced, batch), name, training) is None

    too_few = next((n for n in range(1, MOST_ROWS + 2) if not is_worth_it(n)), None)
    if too_few is None:
        return "custom op"
    few = f"custom op up to batch {too_few - 1}" if too_few > 1 else ""
    if not is_worth_it(LARGEST_BATCH):
        return few or layer.runs_as(_with_batch(inputs, traced, LARGEST_BATCH), name, training)
    enough = LARGEST_BATCH
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_worth_it(middle) else (middle, enough)
    return f"{few} and from batch {enough}" if few else f"custom op from batch {enough}"


def _with_batch(inputs: keras.KerasTensor, traced: int, batch: int) -> keras.KerasTensor:
    """The inputs at another batch; their first size may be batch * steps, joined by a wrapper."""
    first = inputs.shape[0]
    return inputs if first is None else symbolic(inputs, first * batch // traced)
