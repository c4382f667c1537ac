"""Sizes of a network that tfmot prunes: ``strip_pruning``, saved as a .keras file, zipped.

tfmot needs Keras 2 (``tf_keras``), and prunes in a training: here in one step on random inputs.
"""

import gzip
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.export_networks import NETWORKS

KINDS = ("Dense", "Conv2D", "LSTM")  # whose kernels are pruned


def sizes(name: str) -> dict[str, int]:
    """Bytes of a network's file, before and after the pruning, as they are and by ``gzip -9``."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    network = NETWORKS[name]
    dense = network.build(tf_keras)
    found = dict(zip(("dense", "dense_zipped"), _sizes(dense), strict=True))
    sparse = _pruned(tf_keras, dense, network.density)
    return found | dict(zip(("sparse", "sparse_zipped"), _sizes(sparse), strict=True))


def _pruned(keras: Any, model: Any, density: float) -> Any:
    from tensorflow_model_optimization.sparsity import keras as tfmot

    schedule = tfmot.ConstantSparsity(1 - density, begin_step=0, frequency=1)

    def wrapped(layer: Any) -> Any:
        is_pruned = type(layer).__name__ in KINDS
        return tfmot.prune_low_magnitude(layer, schedule) if is_pruned else layer

    pruned = keras.models.clone_model(model, clone_function=wrapped)
    pruned.compile(keras.optimizers.legacy.SGD(0.0), "mse")
    inputs = np.zeros((1, *model.input_shape[1:]), "float32")
    targets = np.zeros((1, model.output_shape[-1]), "float32")
    pruned.fit(inputs, targets, verbose=0, callbacks=[tfmot.UpdatePruningStep()])
    return tfmot.strip_pruning(pruned)


def _sizes(model: Any) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        content = path.read_bytes()
    return len(content), len(gzip.compress(content, 9))
