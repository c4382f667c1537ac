"""SparseConv2D: Keras' Conv2D that skips its missing weights."""

from typing import Any

import keras

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.product import Product
from keras_sparse.compute.sparse_layer import SparseLayer
from keras_sparse.rules.single_weights import Weights


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv2D")
class SparseConv2D(
    SparseLayer, keras.layers.Conv2D, metaclass=NamedInFiles, name_in_files="Conv2D"
):
    """keras.layers.Conv2D that skips its missing weights.

    Arguments, weights, names and weight files are those of the Keras layer. A SparseMomentum
    optimizer uses the layer's mask as its own. Without an optimizer, the mask is True everywhere
    until it is loaded or set. If weights with zeros come without a mask, their nonzeros become
    active. Missing weights are 0 in the kernel and get no gradient.

    Args:
        *args: arguments of keras.layers.Conv2D.
        implementation: ``"auto"``: the custom op where it is faster at the mask's density, else the
            stock operation; ``"custom_op"``; ``"stock"``.
        block_shape: (in, out) channels of the blocks that the mask consists of, over all taps;
            None: single weights, or the optimizer's structure. It selects the kernel on GPUs, and
            the break-even density of ``"auto"``.
        structure: what the mask consists of, in place of ``block_shape``:
            ``keras_sparse.Blocks(4, 4, per_tap=True)``.
        **kwargs: keyword arguments of keras.layers.Conv2D.

    Raises:
        ValueError: ``implementation="custom_op"`` cannot run (the message has the reason); LoRA.

    >>> layer = SparseConv2D(16, 3, padding="same")
    >>> layer(np.ones((2, 8, 8, 16), "float32")).shape == (2, 8, 8, 16)
    True
    >>> layer.mask.shape == (3, 3, 16, 16), len(layer.weights)
    (True, 2)
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return self._compute(inputs)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, kernel)

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        unbuilt = (*layer.kernel_size, None, layer.filters)
        return Product(
            "conv2d",
            tuple(layer.kernel.shape) if layer.built else unbuilt,
            layer.compute_dtype,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation=layer.dilation_rate,
            groups=layer.groups,
            structure=getattr(layer, "structure", Weights()),
        )
