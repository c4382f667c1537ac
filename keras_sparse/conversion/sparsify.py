"""``sparsify`` and ``densify`` return a new model with sparse layers, or with Keras' own."""

import keras
import numpy as np

from keras_sparse._keras import check_keras_3, layers_of, strategy_scope, to_numpy
from keras_sparse.compute.gpu_kernels import lacks_whole_blocks
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.mask_owner import mask_owner_of
from keras_sparse.compute.mask_state import kernel_mask_of, nonzero_mask
from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.compute.sparse_composite import SparseComposite
from keras_sparse.conversion.convertible import conversions, keras_type, sparse_type
from keras_sparse.conversion.copy_model import copy_model
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.report import is_sparse, report, warn_if_nothing_was_converted
from keras_sparse.rules.flags import check_verbose
from keras_sparse.rules.received import received
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure


def sparsify(
    model: keras.Model,
    implementation: str = "auto",
    block_shape: BlockShape = None,
    verbose: bool | str = "auto",
    structure: Structure | None = None,
) -> keras.Model:
    """Returns a new model of sparse layers, with the same weights and state.

    Conv2D becomes SparseConv2D, Dense becomes SparseDense, and so on for all layers in
    ``keras_sparse.layers``; BatchNormalization becomes FusedBatchNormalization. Layers are
    converted everywhere that Keras finds their weights: in nested models, wrappers, cells, custom
    layers and subclassed models, in attributes, lists and dicts. The model's class, names, paths,
    weight files, ``trainable`` and all other state stay the same. The models share functions.

    Some layers stay dense: subclasses of these layers, groups of one channel, channels first, LoRA
    or quantized weights, and layers of other types. One printed line reports them. A warning
    follows if no layer was converted.

    Call it before you compile; the new model is not compiled. Its masks are those of the model's
    SparseMomentum. Without one, the zeros of a kernel are missing weights. A new SparseMomentum
    draws new masks; with ``initial_masks="nonzero"`` it keeps these.

    Args:
        model: a Keras model that has its weights: built, or called once. It stays unchanged.
        implementation: the implementation of the sparse layers; see
            ``keras_sparse.layers.SparseConv2D``.
        block_shape: (in, out) channels of the blocks that masks are made of. None: the structure of
            the model's SparseMomentum, or of the one that it is compiled with later. On GPUs,
            layers whose channels blocks do not divide run stock operations; ``"auto"`` runs kernels
            where they were measured to be faster, ``"custom_op"`` in all other layers.
        verbose: ``"auto"``: prints one line if a layer with a kernel stays dense; True: prints a
            table of the layers, with reasons; False: prints nothing.
        structure: the structure of these layers, in place of ``block_shape``, such as
            ``Blocks(4, 4, per_tap=True)``.

    Raises:
        TypeError: ``model`` is not a Keras model.
        ValueError: the model has no weights yet, or another argument is wrong.

    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> sparsify(model).layers[0].mask.shape == (32, 16)
    True
    """
    check_has_weights(model)
    check_verbose(verbose)
    optimizer = mask_owner_of(model)
    if optimizer is not None and block_shape is None and structure is None:
        structure = optimizer.structure
    wanted = as_structure(block_shape, structure)
    found = conversions(model)
    with progress("sparsify", verbose):
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
    """Returns a new model of Keras' own layers, whose weights are kernel * mask.

    It takes the models that ``sparsify`` takes, and models that you built of sparse layers. The new
    model is not compiled.

    Args:
        model: a Keras model that has its weights. It stays unchanged.

    Raises:
        TypeError: ``model`` is not a Keras model.
        ValueError: the model has no weights yet.

    >>> model = sparsify(keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)]))
    >>> type(densify(model).layers[0]) is keras.layers.Dense
    True
    """
    check_has_weights(model)
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
    """Whether the model has a sparse layer at any depth."""
    return any(isinstance(layer, SparseLayer) for layer in layers_of(model))


def has_layers_to_densify(model: keras.Model) -> bool:
    """Whether the model has a layer of this library at any depth."""
    return any(
        isinstance(layer, SparseLayer | FusedBatchNormalization) for layer in layers_of(model)
    )


def mask_of(kernel: keras.Variable) -> np.ndarray:
    """The mask of a kernel that no optimizer masks: its sparse layer's, or its nonzero weights."""
    kernel_mask = kernel_mask_of(kernel)
    return nonzero_mask(kernel) if kernel_mask is None else to_numpy(kernel_mask.mask)


def check_has_weights(model: keras.Model) -> None:
    """Raises an error unless it is a Keras model that was built, or called once."""
    check_keras_3(model, "model")
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. {received(model=model)}")
    if not model.built and not model.weights:
        raise ValueError(
            "`model` must have weights: give it a keras.Input, or call it on a batch of data. "
            f"Received: model={type(model).__name__} {model.name!r}"
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
        new.configure(*_fitting(old, new, implementation, structure))


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


def _fitting(
    layer: keras.layers.Layer, sparse: SparseLayer, implementation: str, structure: Structure
) -> tuple[str, Structure]:
    """The implementation and structure for this layer.

    A layer that is not built gets single weights; one whose kernels a GPU cannot compute in blocks
    gets ``"auto"``.
    """
    names = sparse.masked_weights if layer.built else ()
    shapes = [tuple(getattr(layer, name).shape) for name in names]
    if not shapes or any(map(structure.why_not, shapes)):
        return implementation if structure == Weights() else "auto", Weights()
    lacks_blocks = any(lacks_whole_blocks(structure, shape) for shape in shapes)
    return "auto" if lacks_blocks else implementation, structure
