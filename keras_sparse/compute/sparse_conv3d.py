"""SparseConv3D: Keras' Conv3D that skips its missing weights where its kernel is flat or a line."""

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


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv3D")
class SparseConv3D(
    SparseLayer, keras.layers.Conv3D, metaclass=NamedInFiles, name_in_files="Conv3D"
):
    """keras.layers.Conv3D that skips its missing weights: see SparseConv2D.

    The custom op computes kernels of size (1, n, m), whose frames are images of one batch, and of
    size (n, 1, 1), whose pixels are columns of one image. Factorized video networks have both. The
    stock operation computes all other sizes, with the mask.

    >>> layer = SparseConv3D(16, (1, 3, 3))
    >>> layer(np.ones((2, 4, 6, 6, 16), "float32")).shape == (2, 4, 4, 4, 16)
    True
    """

    def call(self, inputs: Any) -> Any:
        return with_bias(self, self._compute(inputs), lambda made: self._in_frames(made, inputs))

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        kernel_shape = layer.kernel.shape if layer.built else (None, layer.filters)
        is_flat = _is_flat(layer)
        strides, dilation = layer.strides, layer.dilation_rate
        is_covered = is_flat or layer.kernel_size[1:] == (1, 1)
        return Product(
            "conv2d",
            (*layer.kernel_size[1 if is_flat else 0 :][:2], *kernel_shape[-2:]),
            layer.compute_dtype,
            strides=strides[1:] if is_flat else (strides[0], 1),
            padding=layer.padding,
            data_format=layer.data_format,
            dilation=dilation[1:] if is_flat else (dilation[0], 1),
            groups=layer.groups,
            structure=getattr(layer, "structure", Weights()),
            obstacle=None if is_covered else f"kernel_size is {layer.kernel_size}",
        )

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        if product.data_format != "channels_last" or product.obstacle is not None:
            return product
        batch, depth, height, width, channels = input_shape
        if _is_flat(self):
            frames = _times(batch, _every(depth, self.strides[0]))
            return product.on([frames, height, width, channels])
        columns = _times(_every(height, self.strides[1]), _every(width, self.strides[2]))
        return product.on([batch, depth, columns, channels])

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        deep, high, wide = self.strides
        inputs = inputs[:, ::deep] if _is_flat(self) else inputs[:, :, ::high, ::wide]
        images = self._in_product_axes(inputs)
        return call_custom_op(product, images, kernel, mask, wanted, self.name)

    def _in_product_axes(self, outputs: Any) -> Any:
        """The frames of a batch as images, or as lines of one image each."""
        batch, depth, height, width, channels = ops.shape(outputs)
        sizes = (-1, height, width) if _is_flat(self) else (batch, depth, -1)
        return ops.reshape(outputs, (*sizes, channels))

    def _in_frames(self, outputs: Any, inputs: Any) -> Any:
        """The layer's outputs, of these or of what the custom op gives for the inputs."""
        if len(outputs.shape) == 5:
            return outputs
        batch, *sizes = ops.shape(inputs)[:-1]
        depth, height, width = map(_every, sizes, self.strides)
        if _is_flat(self):
            return ops.reshape(outputs, (batch, depth, *ops.shape(outputs)[1:]))
        return ops.reshape(outputs, (batch, -1, height, width, self.filters))


def _is_flat(layer: keras.layers.Layer) -> bool:
    return bool(layer.kernel_size[0] == 1)


def _every(size: Any, stride: int) -> Any:
    """How many of these places are left where only every ``stride``-th counts."""
    return None if size is None else (size + stride - 1) // stride


def _times(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one * other
