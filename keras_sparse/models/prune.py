"""``prune(model, density)`` makes a trained model sparse in one call."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import check_model, to_float32
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import mask_of
from keras_sparse.models.pruned_counts import affordable_counts, counts_of
from keras_sparse.rules import scores
from keras_sparse.rules.all_layers import check_no_distribution, check_scope
from keras_sparse.rules.density import check_density
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.mask_update import prune_to
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.received import received
from keras_sparse.rules.scores import Score
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.training.find_optimizer import sparse_momentum_of
from keras_sparse.training.masked_optimizer import MaskedOptimizer
from keras_sparse.training.seed import Seed
from keras_sparse.training.selection import Selection
from keras_sparse.training.uninterrupted import finish
from keras_sparse.training.weight_costs import check_budget, costs_by


def prune(
    model: keras.Model,
    density: float,
    *,
    budget: str = "weights",
    scope: str = "layer",
    distribution: Any = "uniform",
    score: str | Score = "magnitude",
    sparse: Any = None,
    dense: Any = None,
    block_shape: BlockShape = None,
    structure: Structure | None = None,
    seed: int | None = None,
    verbose: bool = True,
) -> dict[str, np.ndarray]:
    """Sets the weights of smallest score of a trained model to 0, and returns the masks.

    Sparse layers, and a SparseMomentum that the model is compiled with, receive the masks. In other
    layers, the zeros are the mask. To keep them in further training, compile with a SparseMomentum
    and ``initial_masks="nonzero"``. Missing weights stay missing: pruning a model again to a lower
    density keeps some of the same weights.

    Args:
        model: a built model. Frozen layers stay unchanged.
        density: active / all pruned weights afterwards, in (0, 1]. It is relative to all weights,
            not to the active ones.
        budget: what the density is a share of, as in ``SparseMomentum``: ``"weights"``, or
            ``"multiply_adds"``, those of the active weights / of all pruned weights, never more.
        scope: ``"layer"``: each layer keeps its part, by ``distribution``; ``"global"``: all layers
            compete, and each keeps at least one weight, or block.
        distribution: density of each layer, as in ``SparseMomentum``: ``"uniform"``, ``"erk"``, a
            map from glob patterns to densities, or a function.
        score: the score by which weights stay, the largest first: ``"magnitude"``, ``"random"``,
            or a function ``(layer, rng) -> array``.
        sparse: additional weights to prune, as in ``SparseMomentum``.
        dense: weights to leave dense, as in ``SparseMomentum``.
        block_shape: (in, out) channels of the blocks that are kept or pruned as a whole, by the
            mean of their scores. None: single weights, or the structure of the optimizer or of
            the sparse layers.
        structure: what masks consist of, such as ``keras_sparse.Blocks(4, 4, per_tap=True)``, in
            place of ``block_shape``.
        seed: seed of random scores; None: follows ``keras.utils.set_random_seed``.
        verbose: False: a terminal does not show that it runs.

    Returns:
        ``{path of each pruned weight: bool array of its shape, True = active}``.

    Raises:
        ValueError: an argument is wrong; the model is unchanged then.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    >>> masks = ks.prune(model, 0.25)
    >>> [int(mask.sum()) for mask in masks.values()], ks.density(model)
    ([32, 16], 0.25)
    """
    check_model(model)
    check_density(density)
    check_flags(verbose=verbose)
    rule = _checked_score(score)
    check_no_distribution(check_scope(scope), distribution)
    variables = Selection(sparse, dense).of_trainable(model)
    is_given = block_shape is not None or structure is not None
    asked = as_structure(block_shape, structure) if is_given else None
    groups = _structure(model, variables, asked)
    groups.check_density(density, distribution)
    rng = np.random.default_rng(Seed(seed).value)
    costs = costs_by(check_budget(budget), model, variables)
    with progress("prune", verbose):
        layers = [_layer(variable, groups) for variable in variables]
        if costs is not None:
            counts = affordable_counts(layers, costs, density, distribution, scope, rule, rng)
        else:
            counts = counts_of(layers, density, distribution, scope, rule, rng)
        masks = prune_to(layers, counts, rule, rng)
        _warn_if_sparser(masks, density, sum(counts))
        finish(lambda: _apply(model, variables, masks, groups))
    return {variable.path: mask for variable, mask in zip(variables, masks, strict=True)}


def _checked_score(score: Any) -> Score:
    rule = scores.get_score(score, "score")
    if rule is None or scores.needs_of(rule):
        raise ValueError(
            "`score` must rank weights by their values: a model has no momenta and gradients. "
            f"{received(score=score)}"
        )
    return rule


def _structure(model: keras.Model, variables: Sequence[Any], given: Structure | None) -> Structure:
    """The given structure; for None, that of the optimizer or of all sparse layers."""
    optimizer = _optimizer(model)
    if optimizer is not None:
        if given not in (None, optimizer.structure):
            raise ValueError(
                "`block_shape` must be that of the model's SparseMomentum, or left out, and so "
                f"must `structure`. Received: {given}, and {optimizer.structure} of the optimizer"
            )
        given = optimizer.structure
    held = {mask.structure for v in variables if (mask := kernel_mask_of(v)) is not None}
    if given is None:
        given = held.pop() if len(held) == 1 else Weights()
    if others := held - {Weights(), given}:
        raise ValueError(
            "`block_shape` must be that of the sparse layers, and so must `structure`. "
            f"Received: {given}, and {', '.join(map(str, others))} of layers"
        )
    for variable in variables:
        given.check(variable.path, tuple(variable.shape))
    return given


def _optimizer(model: keras.Model) -> MaskedOptimizer | None:
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built or optimizer.begins_anew:
        return None
    return optimizer


def _layer(variable: Any, structure: Structure) -> MaskedLayer:
    mask = structure.whole(mask_of(variable))
    return MaskedLayer(variable.path, to_float32(variable), mask, structure=structure)


def _warn_if_sparser(masks: Sequence[np.ndarray], density: float, wanted: int) -> None:
    active, total = sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
    if active < 0.99 * wanted:
        warnings.warn(
            "Some layers of the model were sparser than `density`, and pruning adds no weights: "
            f"{active / total:.4f} of its weights are active. Received: density={density}",
            stacklevel=3,
        )


def _apply(
    model: keras.Model,
    variables: Sequence[Any],
    masks: Sequence[np.ndarray],
    structure: Structure,
) -> None:
    """Gives the masks to the optimizer, to sparse layers and to the weights."""
    optimizer = _optimizer(model)
    names: Mapping[int, str] = {}
    if optimizer is not None:
        names = {id(one.variable): one.name for one in optimizer.masked_weights}
        optimizer.set_masks(
            {names[id(v)]: mask for v, mask in zip(variables, masks, strict=True) if id(v) in names}
        )
    for variable, mask in zip(variables, masks, strict=True):
        if id(variable) in names:
            continue
        kernel_mask = kernel_mask_of(variable)
        if kernel_mask is not None:
            kernel_mask.take_structure(variable.path, structure)
            kernel_mask.assign(mask)
        variable.assign(np.where(mask, to_float32(variable), 0))
