"""The time of each sparse layer of a model alone, with the masks that the model has now."""

from typing import Any

import keras

from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import has_sparse_layers, sparsify
from keras_sparse.models.layer_speed import LayerSpeed, layer_speeds, sparse_layers
from keras_sparse.models.step_speed import with_present_masks
from keras_sparse.tracing.multiply_adds import count_multiply_adds
from keras_sparse.training.find_optimizer import sparse_optimizer


def layer_times(model: keras.Model, input_shape: Any, batch: int | None) -> list[LayerSpeed]:
    """Times the layers of a sparse copy; the model stays unchanged.

    Args:
        model: built.
        input_shape: as in ``report``.
        batch: number of examples.
    """
    sparse = sparsify(model, verbose=False)
    if not has_sparse_layers(sparse):
        return []
    sparse.compile(with_present_masks(model))
    sparse.optimizer.build(sparse.trainable_variables)
    sparse_optimizer(sparse).open_growth_window(False)
    found = layer_speeds(sparse, count_multiply_adds(sparse, input_shape, batch))
    with progress("timing layers") as line:
        return list(line.each(found, sparse_layers(sparse)))
