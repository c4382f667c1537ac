"""The layers that ``sparsify`` and ``densify`` replace, by which class, and why others stay."""

from dataclasses import dataclass

import keras

from keras_sparse._keras import layers_of, own_trainable
from keras_sparse.compute import layers
from keras_sparse.compute.cpu_kernels import too_few_channels, unsupported_form

SPARSE_TYPES: dict[type, type[layers.SparseLayer]] = {
    keras.layers.Conv1D: layers.SparseConv1D,
    keras.layers.Conv1DTranspose: layers.SparseConv1DTranspose,
    keras.layers.Conv2D: layers.SparseConv2D,
    keras.layers.Conv2DTranspose: layers.SparseConv2DTranspose,
    keras.layers.Conv3D: layers.SparseConv3D,
    keras.layers.Dense: layers.SparseDense,
    keras.layers.EinsumDense: layers.SparseEinsumDense,
    keras.layers.GRUCell: layers.SparseGRUCell,
    keras.layers.LSTMCell: layers.SparseLSTMCell,
    keras.layers.SeparableConv1D: layers.SparseSeparableConv1D,
    keras.layers.SeparableConv2D: layers.SparseSeparableConv2D,
    keras.layers.SimpleRNNCell: layers.SparseSimpleRNNCell,
}
RECURRENT_CELLS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)
# Layers without kernels of their own: files of a sparse model make them sparse again.
AROUND_SPARSE: dict[type, type] = {
    keras.layers.GRU: layers.SparseGRU,
    keras.layers.GroupQueryAttention: layers.SparseGroupQueryAttention,
    keras.layers.LSTM: layers.SparseLSTM,
    keras.layers.MultiHeadAttention: layers.SparseMultiHeadAttention,
    keras.layers.SimpleRNN: layers.SparseSimpleRNN,
}
# Once convolutions are fast, normalization takes the time.
FASTER: dict[type, type] = {keras.layers.BatchNormalization: layers.FusedBatchNormalization}
KERAS_TYPES: dict[type, type] = {
    new: old for old, new in {**SPARSE_TYPES, **AROUND_SPARSE, **FASTER}.items()
}


@dataclass(frozen=True)
class Converted:
    """The conversion of one layer.

    Attributes:
        path: path of the layer, unique in the model.
        layer_type: name of its class.
        new_type: the class of its copy; None: the same class.
        why: why a layer with a kernel keeps its class; None for all others.
    """

    path: str
    layer_type: str
    new_type: type | None
    why: str | None


def sparse_type(layer: keras.layers.Layer) -> type:
    """The class of the layer's copy in a sparsified model."""
    if type(layer) in FASTER:
        return FASTER[type(layer)]
    if type(layer) in AROUND_SPARSE:
        is_sparse = not any(map(why_dense, layers_of(layer)))
        return AROUND_SPARSE[type(layer)] if is_sparse else type(layer)
    return SPARSE_TYPES.get(type(layer), type(layer)) if why_dense(layer) is None else type(layer)


def keras_type(layer: keras.layers.Layer) -> type:
    """The class of the layer's copy in a densified model."""
    return KERAS_TYPES.get(type(layer), type(layer))


def why_dense(layer: keras.layers.Layer) -> str | None:
    """Why ``sparsify`` leaves a layer dense; None if it converts it, or if it has no kernel.

    >>> why_dense(keras.layers.Conv2D(8, 3, data_format="channels_first"))
    'data_format is channels_first, not channels_last'
    """
    if isinstance(layer, layers.SparseLayer):
        return None
    if type(layer) in SPARSE_TYPES:
        return _unsupported_reason(layer)
    if not any(len(variable.shape) >= 2 for variable in own_trainable(layer)):
        return None
    base = next((base for base in SPARSE_TYPES if isinstance(layer, base)), None)
    if base is not None and not isinstance(layer, keras.layers.DepthwiseConv2D):
        return f"subclass of {base.__name__}"
    return f"no sparse layer for {type(layer).__name__}"


def conversions(model: keras.Model) -> list[Converted]:
    """The conversions of all layers with their own weights, in the order of the model."""
    found = []
    for layer in layers_of(model):
        if type(layer) in AROUND_SPARSE:
            continue
        new_type, why = sparse_type(layer), why_dense(layer)
        if new_type is not type(layer) or why is not None:
            path, name = layer.path or layer.name, type(layer).__name__
            found.append(Converted(path, name, None if why else new_type, why))
    return found


def _unsupported_reason(layer: keras.layers.Layer) -> str | None:
    """Why no sparse layer, or no custom op, covers a layer in SPARSE_TYPES; None if one does."""
    if getattr(layer, "quantization_mode", None) is not None:
        return f"quantized ({layer.quantization_mode})"
    if getattr(layer, "lora_enabled", False):
        return "LoRA"
    products = SPARSE_TYPES[type(layer)].products_of(layer).values()
    reasons = [product.obstacle or unsupported_form(product) for product in products]
    if isinstance(layer, RECURRENT_CELLS):  # a loop over small products only gets slower
        pairs = zip(reasons, products, strict=True)
        reasons = [why or too_few_channels(product) for why, product in pairs]
    return None if None in reasons else reasons[0]
