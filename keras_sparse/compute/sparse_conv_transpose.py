"""SparseConv1DTranspose and 2D: Keras' transposed convolutions that skip missing weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.bias import with_bias
from keras_sparse.compute.op_call import call_transposed
from keras_sparse.compute.product import Product, positions
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


class SparseConvTranspose(SparseLayer):
    """The product is the gradient, by its inputs, of the convolution with the same kernel."""

    def call(self, inputs: Any) -> Any:
        return with_bias(self, self._compute(inputs))

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.conv_transpose(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        ones = (1,) * (2 - layer.rank)
        channels = layer.kernel.shape[-1] if layer.built else None
        return Product(
            "conv2d",
            (*ones, *layer.kernel_size, layer.filters, channels),
            layer.compute_dtype,
            strides=(*ones, *layer.strides),
            padding=layer.padding,
            data_format=layer.data_format,
            dilation=(*ones, *layer.dilation_rate),
            structure=getattr(layer, "structure", Weights()),
        )

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        """Each input of a channel meets each of its weights once, as a convolution's outputs do."""
        return product.with_positions(positions(input_shape[:-1]))

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        shape = list(self.compute_output_shape(ops.shape(inputs)))
        if self.rank == 1:
            inputs = ops.expand_dims(inputs, 1)
            shape.insert(1, 1)
        outputs = call_transposed(product, inputs, kernel, mask, wanted, self.name, shape)
        return ops.squeeze(outputs, 1) if self.rank == 1 else outputs


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv1DTranspose")
class SparseConv1DTranspose(
    SparseConvTranspose,
    keras.layers.Conv1DTranspose,
    metaclass=NamedInFiles,
    name_in_files="Conv1DTranspose",
):
    """keras.layers.Conv1DTranspose that skips its missing weights: see SparseConv2D.

    >>> layer = SparseConv1DTranspose(16, 3, strides=2)
    >>> layer(np.ones((2, 8, 32), "float32")).shape == (2, 17, 16), layer.mask.shape == (3, 16, 32)
    (True, True)
    """


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv2DTranspose")
class SparseConv2DTranspose(
    SparseConvTranspose,
    keras.layers.Conv2DTranspose,
    metaclass=NamedInFiles,
    name_in_files="Conv2DTranspose",
):
    """keras.layers.Conv2DTranspose that skips its missing weights: see SparseConv2D.

    >>> layer = SparseConv2DTranspose(16, 3, strides=2, padding="same")
    >>> layer(np.ones((2, 8, 8, 32), "float32")).shape == (2, 16, 16, 16)
    True
    >>> layer.mask.shape == (3, 3, 16, 32)
    True
    """
