"""``snip_scores`` and ``snip_masks``: SNIP on a model and a batch that the user gives.

Lee et al. 2019, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*, arXiv
1810.02340. The gradients are those of a copy of the model, so that the model itself is not touched.
"""

from typing import Any

import keras
import numpy as np

from keras_sparse._keras import check_model
from keras_sparse.rules.asked import ask
from keras_sparse.rules.density import active_counts, check_density
from keras_sparse.rules.given_masks import unique_names
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.training.competing_masks import sensitivity_masks
from keras_sparse.training.first_masks import counts_in_groups
from keras_sparse.training.selection import Selection
from keras_sparse.training.sensitivities import sensitivities
from keras_sparse.training.weight_costs import check_budget, costs_by


def snip_masks(
    model: keras.Model,
    x: Any,
    y: Any,
    density: float,
    *,
    sample_weight: Any = None,
    loss: Any = None,
    budget: str = "weights",
    sparse: Any = None,
    dense: Any = None,
    block_shape: BlockShape = None,
    structure: Structure | None = None,
) -> dict[str, np.ndarray]:
    """The masks of SNIP: the weights of largest |weight * gradient| in one batch stay.

    All layers compete, as published. Unlike in the published method, each layer keeps at least one
    weight, or block, so that the network stays connected. Pass the masks as ``initial_masks`` of
    any method; ``StaticSparsity`` is the published one. The model stays unchanged: weights,
    statistics, seeds, optimizer and metrics. Ties go to the earlier layer and the lower index.

    Args:
        model: a built model, compiled, or with a ``loss``; SNIP is for untrained weights. Frozen
            weights get no mask; weights of 0 score 0.
        x: one batch of inputs, as ``train_on_batch`` takes it.
        y: targets, or None.
        density: active / all masked weights, in (0, 1]; exactly ``round(density * weights)`` in
            all, to the nearest block. Where blocks differ in size, never more.
        sample_weight: of the batch, or None.
        loss: as for ``compile``; None: the model's own. Weight regularizers are left out.
        budget: what the density is a share of, as in ``SparseMomentum``. With ``"multiply_adds"``,
            weights still compete by their scores alone.
        sparse: weights to mask in addition, as for ``SparseMomentum``.
        dense: weights to leave dense, likewise.
        block_shape: (in, out) channels of the blocks that masks are made of. Scores are summed over
            a block; blocks of different sizes compete by the mean score of a weight.
        structure: what masks are made of, in place of ``block_shape``.

    Returns:
        {path of each masked weight: bool array of its shape, True = active}.

    Raises:
        ValueError: no loss; a model whose own ``train_step`` does not step its compiled optimizer;
            NaN in the scores (names the layers); scores that are all 0; an argument out of range.
        TypeError: a dataset in place of a batch.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    >>> x, y = np.random.normal(size=(32, 8)), np.random.normal(size=(32, 4))
    >>> masks = ks.snip_masks(model, x, y, 0.25, loss="mse")
    >>> sum(int(mask.sum()) for mask in masks.values())
    48
    >>> model.compile(ks.StaticSparsity("sgd", 0.25, initial_masks=masks), "mse")
    """
    check_density(density)
    groups = as_structure(block_shape, structure)
    groups.check_density(density)
    check_model(model)
    variables = Selection(sparse, dense).of_trainable(model)
    for variable in variables:
        groups.check(variable.path, tuple(variable.shape))
    names = unique_names([variable.path for variable in variables])
    shapes = [tuple(variable.shape) for variable in variables]
    costs = costs_by(check_budget(budget), model, variables)
    if costs is None:
        wanted = sum(counts_in_groups(active_counts(names, shapes, density), variables, groups))
    else:
        wanted = ask(names, shapes, costs, density, "uniform").budget
    scores = sensitivities(model, (x, y, sample_weight), variables, loss)
    masks = sensitivity_masks(dict(zip(names, scores, strict=True)), wanted, groups, costs)
    return dict(zip(names, masks, strict=True))


def snip_scores(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    loss: Any = None,
    sparse: Any = None,
    dense: Any = None,
) -> dict[str, np.ndarray]:
    """The connection sensitivities of SNIP, |weight * gradient of the loss of one batch|.

    Arguments and errors are those of ``snip_masks``.

    Returns:
        {path of the weight: float32 array of its shape, not negative}.

    The loss (w - 1)^2 + (v - 3)^2 over 2, at w = 2 and v = 2:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    >>> model.set_weights([np.array([[2.0, 2.0]])])
    >>> scores = ks.snip_scores(model, np.ones((1, 1)), np.array([[1.0, 3.0]]), loss="mse")
    >>> scores[model.weights[0].path]
    array([[2., 2.]], dtype=float32)
    """
    check_model(model)
    variables = Selection(sparse, dense).of_trainable(model)
    scores = sensitivities(model, (x, y, sample_weight), variables, loss)
    return dict(zip(unique_names([v.path for v in variables]), scores, strict=True))
