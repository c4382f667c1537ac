"""SparseConv1D: Keras' Conv1D that skips its missing weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.bias import with_bias
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv1D")
class SparseConv1D(
    SparseLayer, keras.layers.Conv1D, metaclass=NamedInFiles, name_in_files="Conv1D"
):
    """keras.layers.Conv1D that skips its missing weights: see SparseConv2D.

    The custom op computes it as a convolution of images of height 1.

    >>> layer = SparseConv1D(16, 3, padding="causal")
    >>> layer(np.ones((2, 8, 32), "float32")).shape == (2, 8, 16), layer.mask.shape == (3, 32, 16)
    (True, True)
    """

    def call(self, inputs: Any) -> Any:
        return with_bias(self, self._compute(inputs), without_height)

    def _padded(self, inputs: Any) -> Any:
        """The inputs, after as many zeros as the window sees of the past."""
        if self.padding != "causal":
            return inputs
        past = [self._past(), 0]
        is_last = self.data_format == "channels_last"
        return ops.pad(inputs, [[0, 0], past, [0, 0]] if is_last else [[0, 0], [0, 0], past])

    def _past(self) -> int:
        taps, dilation = self.kernel_size[0], self.dilation_rate[0]
        return int(dilation * (taps - 1))

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.conv(
            self._padded(inputs),
            kernel,
            strides=list(self.strides),
            padding="valid" if self.padding == "causal" else self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        kernel_shape = layer.kernel.shape if layer.built else (None, layer.filters)
        return Product(
            "conv2d",
            (1, *layer.kernel_size, *kernel_shape[-2:]),
            layer.compute_dtype,
            strides=(1, *layer.strides),
            padding="valid" if layer.padding == "causal" else layer.padding,
            data_format=layer.data_format,
            dilation=(1, *layer.dilation_rate),
            groups=layer.groups,
            structure=getattr(layer, "structure", Weights()),
        )

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        *batch, one, other = input_shape
        is_last = self.data_format == "channels_last"
        length, channels = (one, other) if is_last else (other, one)
        if self.padding == "causal" and length is not None:
            length += self._past()
        sizes = (1, length, channels) if is_last else (channels, 1, length)
        return product.on([*batch, *sizes])

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        images = ops.expand_dims(self._padded(inputs), 1)
        return call_custom_op(product, images, kernel, mask, wanted, self.name)

    def _in_product_axes(self, outputs: Any) -> Any:
        return ops.expand_dims(outputs, 1)


def without_height(outputs: Any) -> Any:
    """(batch, length, channels), of these or of images of height 1."""
    return ops.squeeze(outputs, 1) if len(outputs.shape) == 4 else outputs
