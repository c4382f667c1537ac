"""SparseSeparableConv1D and 2D: Keras' layers with a mask on their pointwise kernel."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.bias import with_bias
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product, positions
from keras_sparse.compute.sparse_conv1d import without_height
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


class SparseSeparableConv(SparseLayer):
    """The depthwise convolution is Keras'; the pointwise one is a matrix product of all pixels."""

    masked_weights = ("pointwise_kernel",)

    def call(self, inputs: Any) -> Any:
        return with_bias(self, self._compute(inputs), without_height if self.rank == 1 else None)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.separable_conv(inputs, self.depthwise_kernel, kernel, **self._window())

    def _window(self) -> dict[str, Any]:
        names = ("strides", "padding", "dilation_rate", "data_format")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        channels = layer.pointwise_kernel.shape[-2] if layer.built else None
        return Product(
            "conv2d",
            (1, 1, channels, layer.filters),
            layer.compute_dtype,
            data_format=layer.data_format,
            structure=getattr(layer, "structure", Weights()),
        )

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        batch, *sizes = input_shape[:-1]  # channels last: all others are stock
        ones = (1,) * (2 - self.rank)
        depthwise = Product(
            "conv2d",
            (*ones, *self.kernel_size, None, None),
            strides=(*ones, *self.strides),
            padding=self.padding,
            dilation=(*ones, *self.dilation_rate),
        )
        of_images = depthwise.output_sizes([batch, *ones, *sizes, None])
        return product.with_positions(positions(of_images))

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        pixels = ops.depthwise_conv(inputs, self.depthwise_kernel, **self._window())
        if self.rank == 1:
            pixels = ops.expand_dims(pixels, 1)
        return call_custom_op(product, pixels, kernel, mask, wanted, self.name)

    def _in_product_axes(self, outputs: Any) -> Any:
        return ops.expand_dims(outputs, 1) if self.rank == 1 else outputs


@keras.saving.register_keras_serializable("keras_sparse", name="SparseSeparableConv1D")
class SparseSeparableConv1D(
    SparseSeparableConv,
    keras.layers.SeparableConv1D,
    metaclass=NamedInFiles,
    name_in_files="SeparableConv1D",
):
    """keras.layers.SeparableConv1D that skips missing weights of its pointwise kernel.

    See SparseConv2D. The depthwise kernel has no mask.

    >>> layer = SparseSeparableConv1D(16, 3)
    >>> layer(np.ones((2, 8, 32), "float32")).shape == (2, 6, 16), layer.mask.shape == (1, 32, 16)
    (True, True)
    """


@keras.saving.register_keras_serializable("keras_sparse", name="SparseSeparableConv2D")
class SparseSeparableConv2D(
    SparseSeparableConv,
    keras.layers.SeparableConv2D,
    metaclass=NamedInFiles,
    name_in_files="SeparableConv2D",
):
    """keras.layers.SeparableConv2D that skips missing weights of its pointwise kernel.

    See SparseConv2D. The depthwise kernel has no mask.

    >>> layer = SparseSeparableConv2D(16, 3, padding="same")
    >>> layer(np.ones((2, 8, 8, 32), "float32")).shape == (2, 8, 8, 16)
    True
    >>> layer.mask.shape == (1, 1, 32, 16)
    True
    """
