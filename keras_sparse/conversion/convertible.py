"""Which layers ``sparsify`` and ``densify`` replace, by which class, and why others stay."""

from dataclasses import dataclass

import keras

from keras_sparse._keras import layers_of, own_trainable
from keras_sparse.compute.cpu_kernels import unsupported_form
from keras_sparse.compute.layers import SparseConv2D, SparseDense, SparseLayer
from keras_sparse.compute.normalization import FusedBatchNormalization

SPARSE_TYPES: dict[type, type[SparseLayer]] = {
    keras.layers.Conv2D: SparseConv2D,
    keras.layers.Dense: SparseDense,
}
KERAS_TYPES: dict[type, type] = {sparse: dense for dense, sparse in SPARSE_TYPES.items()}
NORMALIZATION = keras.layers.BatchNormalization
KERAS_TYPES[FusedBatchNormalization] = NORMALIZATION


@dataclass(frozen=True)
class Converted:
    """What becomes of one layer.

    Attributes:
        path: of the layer, unique in the model.
        layer_type: name of the class it has.
        new_type: the class that its copy gets, or None: its own.
        why: a layer with a kernel keeps its class; None for all others.
    """

    path: str
    layer_type: str
    new_type: type | None
    why: str | None


def sparse_type(layer: keras.layers.Layer) -> type:
    """The class of the layer's copy in a sparsified model."""
    if type(layer) is NORMALIZATION:  # once convolutions are fast, it is what takes the time
        return FusedBatchNormalization
    return SPARSE_TYPES.get(type(layer), type(layer)) if why_dense(layer) is None else type(layer)


def keras_type(layer: keras.layers.Layer) -> type:
    """The class of the layer's copy in a densified model."""
    return KERAS_TYPES.get(type(layer), type(layer))


def why_dense(layer: keras.layers.Layer) -> str | None:
    """Why ``sparsify`` leaves a layer dense; None if it does not, or if there is no kernel.

    >>> why_dense(keras.layers.Conv2D(8, 3, groups=2))
    'groups is 2, not 1'
    """
    if isinstance(layer, SparseLayer):
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
    """What ``sparsify`` makes of each layer that has weights of its own, in the model's order."""
    found = []
    for layer in layers_of(model):
        new_type, why = sparse_type(layer), why_dense(layer)
        if new_type is not type(layer) or why is not None:
            path, name = layer.path or layer.name, type(layer).__name__
            found.append(Converted(path, name, None if why else new_type, why))
    return found


def _unsupported_reason(layer: keras.layers.Layer) -> str | None:
    """The setting of a Conv2D or Dense layer that sparse layers do not have, or None."""
    if getattr(layer, "quantization_mode", None) is not None:
        return f"quantized ({layer.quantization_mode})"
    if getattr(layer, "lora_enabled", False):
        return "LoRA"
    return unsupported_form(SPARSE_TYPES[type(layer)].product_of(layer))
