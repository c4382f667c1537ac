"""SparseDense: Keras' Dense that skips its missing weights."""

from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.bias import with_bias
from keras_sparse.compute.product import Product
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


@keras.saving.register_keras_serializable("keras_sparse", name="SparseDense")
class SparseDense(SparseLayer, keras.layers.Dense, metaclass=NamedInFiles, name_in_files="Dense"):
    """keras.layers.Dense that skips its missing weights: see SparseConv2D.

    >>> layer = SparseDense(16, activation="relu")
    >>> layer(np.ones((2, 32), "float32")).shape == (2, 16), layer.mask.shape == (32, 16)
    (True, True)
    """

    def call(self, inputs: Any, training: Any = None) -> Any:
        return with_bias(self, self._compute(ops.convert_to_tensor(inputs)))

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.matmul(inputs, kernel)

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        return Product(
            "matmul",
            tuple(layer.kernel.shape) if layer.built else (None, layer.units),
            layer.compute_dtype,
            structure=getattr(layer, "structure", Weights()),
        )
