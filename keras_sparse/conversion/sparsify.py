"""``sparsify`` and ``densify`` return a new model with sparse layers for Keras' own, or back."""

import keras
import numpy as np

from keras_sparse._keras import check_keras_3, layers_of, strategy_scope, to_numpy
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.mask_owner import mask_owner_of
from keras_sparse.compute.mask_state import kernel_mask_of, nonzero_mask
from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.compute.sparse_composite import SparseComposite
from keras_sparse.conversion.convertible import conversions, keras_type, sparse_type
from keras_sparse.conversion.copy_model import copy_model
from keras_sparse.conversion.report import is_sparse, report, warn_if_nothing_was_converted
from keras_sparse.rules.structure import BlockShape, Structure, Weights
from keras_sparse.rules.structure_arguments import as_structure


def sparsify(
    model: keras.Model,
    implementation: str = "auto",
    block_shape: BlockShape = None,
    verbose: bool | str = "auto",
    structure: Structure | None = None,
) -> keras.Model:
    """A new model with the same weights and state, of sparse layers.

    Conv2D becomes SparseConv2D, Dense SparseDense, and so on for all layers that
    ``keras_sparse.layers`` has; BatchNormalization becomes FusedBatchNormalization. Layers are
    found wherever Keras finds their weights: in nested models, wrappers, cells, custom layers and
    subclassed models, in attributes, lists and dicts. The model's class, names, paths, weight
    files, `trainable`, and everything else that is not a weight stay as they are; functions are
    shared.

    Dense remain: subclasses of these layers, layers with groups, dilation, channels first, LoRA or
    quantized weights, and layers of other types. A line says so, and a warning where no layer was
    converted.

    Call it before you compile; the new model is not compiled. Masks are those of the SparseMomentum
    optimizer it was trained with; without one zeros of a kernel are missing weights. A new
    SparseMomentum draws masks of its own, or goes on with these: ``initial_masks="nonzero"``.

    Args:
        model: a Keras model that has its weights: built, or called once. It is not changed.
        implementation: of the sparse layers, see ``keras_sparse.layers.SparseConv2D``.
        block_shape: of the sparse layers whose channels are whole blocks. None: that of the
            SparseMomentum optimizer the model was trained with, or of the one that it is compiled
            with. On GPUs in float16 and bfloat16 only blocks are fast: give it with
            ``implementation="custom_op"``.
        verbose: ``"auto"``: prints one line if a layer with a kernel stays dense; True: prints a
            table of the layers, with reasons; False: prints nothing.
        structure: of these layers, in place of ``block_shape``: ``Blocks(4, 4, per_tap=True)``.

    Raises:
        ValueError: a model without weights yet, or a bad argument.

    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> sparsify(model).layers[0].mask.shape == (32, 16)
    True
    """
    _check(model)
    if verbose not in (True, False, "auto"):
        raise ValueError(f'`verbose` must be True, False or "auto". Received: verbose={verbose!r}')
    optimizer = mask_owner_of(model)
    if optimizer is not None and block_shape is None and structure is None:
        structure = optimizer.structure
    wanted = as_structure(block_shape, structure)
    found = conversions(model)
    sparse, copies = copy_model(model, sparse_type)
    with strategy_scope(model):
        for layer in layers_of(model):
            _configure(layer, copies[id(layer)], implementation, wanted)
    _give_masks(model, copies)
    report(model.name, found, verbose)
    if not any(map(is_sparse, found)) and not has_sparse_layers(model):
        warn_if_nothing_was_converted(model.name, found)
    return sparse


def densify(model: keras.Model) -> keras.Model:
    """A new model of Keras' own layers, with kernel * mask for weights. It is not compiled.

    It takes the models that ``sparsify`` takes, and models that you built of sparse layers.

    Args:
        model: a Keras model that has its weights. It is not changed.

    Raises:
        ValueError: a model without weights yet.

    >>> model = sparsify(keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)]))
    >>> type(densify(model).layers[0]) is keras.layers.Dense
    True
    """
    _check(model)
    dense, copies = copy_model(model, keras_type)
    for old in layers_of(model):
        new = copies[id(old)]
        if isinstance(old, SparseLayer | SparseComposite) and type(new) is not type(old):
            old.leave(new)
        if isinstance(old, SparseLayer):
            for name, kernel_mask in old.kernel_masks.items():
                weights = to_numpy(getattr(old, name)) * to_numpy(kernel_mask.mask)
                getattr(new, name).assign(weights)
    return dense


def has_sparse_layers(model: keras.Model) -> bool:
    """Is a layer of this model, however deep, a sparse one?"""
    return any(isinstance(layer, SparseLayer) for layer in layers_of(model))


def has_layers_to_densify(model: keras.Model) -> bool:
    """Is a layer of this model, however deep, one that only this library has?"""
    return any(
        isinstance(layer, SparseLayer | FusedBatchNormalization) for layer in layers_of(model)
    )


def mask_of(kernel: keras.Variable) -> np.ndarray:
    """The mask of a kernel that no optimizer masks: its sparse layer's, or its nonzero weights."""
    kernel_mask = kernel_mask_of(kernel)
    return nonzero_mask(kernel) if kernel_mask is None else to_numpy(kernel_mask.mask)


def _check(model: keras.Model) -> None:
    check_keras_3(model, "model")
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.built and not model.weights:
        raise ValueError(
            f"`model` has no weights yet: give it an input shape by keras.Input, or call it on a batch of data. Received: {type(model).__name__} {model.name!r}"
        )


def _configure(
    old: keras.layers.Layer, new: keras.layers.Layer, implementation: str, structure: Structure
) -> None:
    """Makes a sparse layer of a copy that has only the attributes of a Keras layer."""
    if isinstance(old, SparseLayer | SparseComposite):
        new.configure(old.implementation, old.structure)
    elif isinstance(new, SparseComposite):
        new.configure(implementation, Weights())
    elif isinstance(new, SparseLayer):
        whole = _if_whole(old, new, structure)
        new.configure(implementation if whole == structure else "auto", whole)


def _give_masks(model: keras.Model, copies: dict[int, object]) -> None:
    """Gives kernels of sparse copies the masks that the original weights have."""
    optimizer = mask_owner_of(model)
    masks = {}
    if optimizer is not None and optimizer.built:
        ids = map(id, optimizer.masked_variables)
        masks = dict(zip(ids, optimizer.masks.values(), strict=True))
    for old in model.weights:
        kernel_mask = kernel_mask_of(copies[id(old)])
        if kernel_mask is not None:
            mask = masks[id(old)] if id(old) in masks else mask_of(old)
            kernel_mask.assign(kernel_mask.structure.whole(mask))
            kernel_mask.mask_kernel()


def _if_whole(layer: keras.layers.Layer, sparse: SparseLayer, structure: Structure) -> Structure:
    """The structure, for a layer whose kernels are made of it; else single weights."""
    kernels = [getattr(layer, weight) for weight in sparse.masked_weights] if layer.built else []
    reasons = [structure.why_not(tuple(kernel.shape)) for kernel in kernels]
    return structure if kernels and not any(reasons) else Weights()
