"""SparseEinsumDense: Keras' EinsumDense that skips its missing weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.bias import with_bias
from keras_sparse.compute.einsum import Contraction, contraction
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product, positions
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


@keras.saving.register_keras_serializable("keras_sparse", name="SparseEinsumDense")
class SparseEinsumDense(
    SparseLayer, keras.layers.EinsumDense, metaclass=NamedInFiles, name_in_files="EinsumDense"
):
    """keras.layers.EinsumDense that skips its missing weights: see SparseConv2D.

    The custom op computes equations that are a matrix product, with the summed axes first in the
    kernel: all projections of MultiHeadAttention and GroupQueryAttention are.

    >>> layer = SparseEinsumDense("abc,cde->abde", (None, 4, 8))
    >>> layer(np.ones((2, 5, 16), "float32")).shape == (2, 5, 4, 8), layer.mask.shape == (16, 4, 8)
    (True, True)
    """

    def call(self, inputs: Any, training: Any = None) -> Any:
        inputs = ops.convert_to_tensor(inputs)
        products, found = self._compute(inputs), self._with_flat_bias()
        if found is None or len(products.shape) > found.rank_of_matrix(len(inputs.shape)):
            return with_bias(self, products)
        rank, shape = len(inputs.shape), self.kernel.shape
        return with_bias(self, products, lambda matrix: found.tensor(matrix, rank, shape))

    def _with_flat_bias(self) -> Contraction | None:
        """The matrix product, if the bias has a number for each of its outputs, on several axes.

        Then the bias is added before the outputs get these axes, so that TensorFlow can join it
        with the product.
        """
        found = contraction(self.equation)
        if isinstance(found, str) or self.bias is None or not found.splits_outputs:
            return None
        made = tuple(self.kernel.shape[len(found.contracted) :])
        return found if tuple(self.bias.shape) == made else None

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.einsum(self.equation, inputs, kernel)

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        found = contraction(layer.equation)
        if isinstance(found, str):
            return Product("matmul", (None, None), layer.compute_dtype, obstacle=found)
        if not layer.built:
            return Product("matmul", (None, None), layer.compute_dtype)
        is_matrix = len(layer.kernel.shape) == 2  # blocks are of a kernel's last two axes
        structure = getattr(layer, "structure", Weights()) if is_matrix else Weights()
        shape = found.matrix_shape(layer.kernel.shape)
        return Product("matmul", shape, layer.compute_dtype, structure=structure)

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        found = contraction(self.equation)
        if isinstance(found, str):
            return product
        return product.with_positions(positions(found.rows_shape(input_shape)))

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        found = contraction(self.equation)
        assert isinstance(found, Contraction)  # else there is an obstacle
        outputs = call_custom_op(product, found.matrix(inputs), kernel, mask, wanted, self.name)
        if self._with_flat_bias() is not None:
            return outputs
        return found.tensor(outputs, len(inputs.shape), self.kernel.shape)

    def _in_product_axes(self, outputs: Any) -> Any:
        found = self._with_flat_bias()
        return outputs if found is None else found.flat(outputs)
