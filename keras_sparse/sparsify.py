"""How does a model get sparse layers, and how does it lose them?  ``sparsify`` and ``densify`` return a new model."""

from collections.abc import Callable

import keras
import numpy as np

from keras_sparse._keras import check_keras_3, is_functional, layers_of, strategy_scope, to_float32, to_numpy
from keras_sparse.blocks import BlockShape, check_block_shape
from keras_sparse.compiled import sparse_momentum_of
from keras_sparse.kernel_mask import kernel_mask_of, nonzero_mask
from keras_sparse.layers import SparseConv2D, SparseDense, SparseLayer
from keras_sparse.normalization import FusedBatchNormalization

Clone = Callable[[keras.layers.Layer], keras.layers.Layer]


def sparsify(model: keras.Model, implementation: str = "auto", block_shape: BlockShape = None) -> keras.Model:
    """A new model with the same weights, where Conv2D is SparseConv2D, Dense SparseDense, BatchNormalization FusedBatchNormalization.

    Call it before you compile; the new model is not compiled. Layers of these three types are replaced and none of their
    subclasses, nor what is inside of custom layers; convolutions with groups, dilation or channels first stay. Names,
    paths and weight files are those of the model given. Masks are those of the SparseMomentum optimizer it was trained
    with; without one zeros of a kernel are missing weights. A new SparseMomentum draws masks of its own, or goes on with
    these: ``initial_masks="nonzero"``.

    Args:
        model: a built Functional or Sequential model; models in it are converted, too. It is not changed.
        implementation: of the sparse layers, see ``keras_sparse.layers.SparseConv2D``.
        block_shape: of the sparse layers whose channels are whole blocks. None: that of the SparseMomentum optimizer the model was trained
            with, or of the one that it is compiled with. On GPUs in float16 and bfloat16 only blocks are fast: give it with
            ``implementation="custom_op"``.

    Raises:
        ValueError: a subclassed model, or one without weights yet.

    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> sparsify(model).layers[0].mask.shape == (32, 16)
    True
    """
    optimizer = sparse_momentum_of(model)
    if block_shape is None and optimizer is not None:
        block_shape = optimizer.block_shape
    block_shape = check_block_shape(block_shape)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        blocks = _if_whole(layer, block_shape)
        options = {"implementation": implementation if blocks == block_shape else "auto", "block_shape": blocks}
        if type(layer) is keras.layers.Dense and layer.quantization_mode is None and not layer.lora_enabled:
            return SparseDense.from_config({**config, **options})
        if type(layer) is keras.layers.Conv2D and _is_plain(layer):
            return SparseConv2D.from_config({**config, **options})
        if type(layer) is keras.layers.BatchNormalization:  # once convolutions are fast, it is what takes the time
            return FusedBatchNormalization.from_config(config)
        return type(layer).from_config(config)

    sparse = _converted(model, clone, "sparsify")
    trained = {} if optimizer is None or not optimizer.built else dict(zip(map(id, optimizer.masked_variables), optimizer.masks.values(), strict=True))
    for old, new in zip(model.weights, sparse.weights, strict=True):
        kernel_mask = kernel_mask_of(new)
        if kernel_mask is not None:
            kernel_mask.assign(trained[id(old)] if id(old) in trained else mask_of(old))
    return sparse


def densify(model: keras.Model) -> keras.Model:
    """A new model of Keras' own layers, with kernel * mask for weights: what ``sparsify`` has made, undone. Not compiled.

    Args:
        model: a built Functional or Sequential model. It is not changed.

    Raises:
        ValueError: a subclassed model, or one without weights yet.

    >>> model = sparsify(keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)]))
    >>> type(densify(model).layers[0]) is keras.layers.Dense
    True
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if type(layer) not in KERAS_TYPES:
            return type(layer).from_config(config)
        for argument in ("implementation", "block_shape"):
            config.pop(argument, None)
        return KERAS_TYPES[type(layer)].from_config(config)

    dense = _converted(model, clone, "densify")
    for old, new in zip(model.weights, dense.weights, strict=True):
        kernel_mask = kernel_mask_of(old)
        if kernel_mask is not None:
            new.assign(to_float32(old) * to_numpy(kernel_mask.mask))
    return dense


KERAS_TYPES = {SparseConv2D: keras.layers.Conv2D, SparseDense: keras.layers.Dense, FusedBatchNormalization: keras.layers.BatchNormalization}


def has_sparse_layers(model: keras.Model) -> bool:
    """Is a layer of this model, however deep, a sparse one?"""
    return any(isinstance(layer, SparseLayer) for layer in layers_of(model))


def mask_of(kernel: keras.Variable) -> np.ndarray:
    """The mask of a kernel that no optimizer masks: its sparse layer's, or True where it is not 0 (everywhere, if all is 0)."""
    kernel_mask = kernel_mask_of(kernel)
    return nonzero_mask(kernel) if kernel_mask is None else to_numpy(kernel_mask.mask)


def _if_whole(layer: keras.layers.Layer, block_shape: BlockShape) -> BlockShape:
    """The block shape, for a layer whose channels are whole blocks; else None."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None or block_shape is None or any(n % size for n, size in zip(kernel.shape[-2:], block_shape, strict=True)):
        return None
    return block_shape


def _is_plain(layer: keras.layers.Conv2D) -> bool:
    return layer.groups == 1 and tuple(layer.dilation_rate) == (1, 1) and layer.data_format == "channels_last" and not layer.lora_enabled


def _converted(model: keras.Model, clone: Clone, what: str) -> keras.Model:
    check_keras_3(model, "model")
    if not is_functional(model):
        raise ValueError(
            f"`{what}` takes Functional and Sequential models that know their input shape. In a subclassed model write keras_sparse.layers.SparseConv2D and "
            f"SparseDense for keras.layers.Conv2D and Dense, or the other way round: weight files fit both. Received: {type(model).__name__} {model.name!r}"
        )
    compiled, model.compiled = model.compiled, False  # else Keras compiles the clone and builds its optimizer, on weights that are yet to come
    try:
        with strategy_scope(model):
            converted = keras.models.clone_model(model, clone_function=clone, recursive=True)
    finally:
        model.compiled = compiled
    for old, new in zip(model.weights, converted.weights, strict=True):
        new.assign(keras.ops.copy(old))  # JAX would share the array, and a training of one model deletes it; one by one: no third copy of all weights
    return converted
