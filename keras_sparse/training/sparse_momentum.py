"""SparseMomentum: the rules by which masks change, and their schedules."""

from typing import Any

import keras
import numpy as np

from keras_sparse.rules import density as densities
from keras_sparse.rules import scores
from keras_sparse.rules.all_layers import check_scope
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.training import growth_window as windows
from keras_sparse.training import schedules
from keras_sparse.training.momentum import momentum_of
from keras_sparse.training.optimizer_config import arguments_of, config_of
from keras_sparse.training.rule_checks import (
    check_momentum_is_kept,
    check_rules,
    check_scope_is_used,
    gradient_average,
    warn_of_zero_steps,
)
from keras_sparse.training.selection import Selection
from keras_sparse.training.set_later import SetLater
from keras_sparse.training.update_watch import watch_for_updates
from keras_sparse.training.weight_costs import check_budget


@keras.saving.register_keras_serializable("keras_sparse")
class SparseMomentum(SetLater):
    """Keeps the kernels of a model sparse while any Keras optimizer trains it.

    In every step, the inner optimizer steps all weights; then missing weights are set to 0. Outside
    of a ``growth_window``, sparse layers skip their gradients. ``update_masks`` prunes,
    redistributes and grows (Dettmers & Zettlemoyer 2019, arXiv 1907.04840); the ``UpdateMasks``
    callback or your loop calls it. The number of active weights, or what they cost of the
    ``budget``, only changes if ``density`` is a schedule.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        density: active / all masked weights, in (0, 1], see ``budget``; or a schedule of it (a
            Keras schedule, ``CubicOverTraining``, or a tfmot pruning schedule). A schedule never
            raises the density; only ``AlternatingOverTraining`` makes all weights active again.
        budget: what the density is a share of. ``"weights"``: of the masked weights.
            ``"multiply_adds"``: of their multiply-adds for one example, so that a training keeps
            the cost it was asked for. The output positions that use a weight are its cost. Pruning
            frees cost, and growing spends it: never more than the density allows, and less by no
            more than the cheapest weight (or block) of a layer with room costs. Shares are then
            shares of cost. The model must have inputs of known shape.
        prune_rate: share of the active weights that one update prunes, in [0, 1], or a schedule of
            the optimizer step. Default: the paper's cosine from 0.5 to 0.005 over the training.
        distribution: initial density of each layer: ``"uniform"``, ``"erdos_renyi"``, ``"erk"``, a
            function, or a map ``{pattern of the variable's path: density}`` (others get
            ``density``).
        scope: what competes when weights are pruned to a density, by a schedule or by initial
            magnitude. ``"layer"``: the weights of each layer; ``"global"``: those of all layers, by
            one threshold, and each layer keeps at least one weight, or block. The prune rate always
            applies to each layer.
        prune: score by which active weights stay: ``"magnitude"``, ... or a function (see
            ``keras_sparse.scores``). None, with ``grow=None``: the masks never change.
        redistribute: share of each layer in the weights that regrow: ``"mean_momentum"``,
            ``"mean_magnitude"``, ``"active_count"``, a function, or None: each layer regrows the
            number of weights that it lost.
        grow: score by which missing weights become active: ``"momentum"``, ``"gradient"``,
            ``"random"``, a function; or None: nothing grows, the density is a schedule.
        sparse: additional weights to mask: patterns of the variable's path, layers or layer types.
            It wins over ``dense``: ``dense="*", sparse="head"`` masks the head alone.
        dense: weights to leave dense, given in the same way.
        initial_masks: ``"random"``; ``"magnitude"`` to start from trained weights; ``"nonzero"``
            from a sparse checkpoint, at its density; ``"snip"``: the weights of largest |weight *
            gradient| in one batch of ``fit``, over all layers (needs UpdateMasks; see
            ``keras_sparse.snip_masks``); or masks of this density,
            ``{path of each masked weight: bool array}``.
        block_shape: (in, out) channels of the blocks that masks consist of, over all taps; None:
            single weights. The short form of ``structure``.
        structure: what masks consist of, in place of ``block_shape``: ``keras_sparse.NofM``,
            ``Channels`` or ``Blocks``. ``Blocks(4, 4, per_tap=True)`` gives each tap of a
            convolution its own blocks. Where blocks do not divide the channels, the last one is
            smaller. Then the density is never exceeded, and missed by less than a block.
        gradient_momentum: decay in [0, 1) of a moving average of the gradients, which replaces the
            momentum of optimizers without one.
        growth_window: optimizer steps before an update in which missing weights get gradients;
            outside of it, sparse layers skip these. None: all steps, the published method.
            ``"auto"``: until the momentum holds 0.5 % of older gradients (50 for SGD's or Adam's
            0.9); 1 for the last gradient; 0 if nothing grows by gradients; all for norms of
            gradients (``clipnorm``) and for RMSprop, where a window would change the training.
        growth_batch: share of each batch, in (0, 1], that sparse layers take the gradients of
            missing weights from: its first examples, scaled up to the whole batch. Active weights
            get the whole batch's. Less than 1 makes a step in the growth window cheaper. Layers
            that run the stock operation take whole batches.
        initial_scale: ``"auto"``: untrained weights under a random mask get the variance for their
            active connections, so that signals do not shrink from layer to layer (Evci et al. 2022,
            arXiv 2010.03533). Their initializer must scale by fan (Glorot, He, LeCun,
            ``VarianceScaling``, ``Orthogonal``). Weights before a normalization layer keep their
            values. None: all weights keep them, the published method.
        seed: seed of initial masks and random scores; an update draws from (seed, optimizer step).
            None: drawn as Keras draws seeds, from ``keras.utils.set_random_seed``. Config and files
            hold it, and all workers use the first worker's.
        name: name of this optimizer.

    Attributes:
        growth_window_open: bool scalar variable, True while missing weights get gradients; see
            ``open_growth_window``.

    Raises:
        ValueError, TypeError: at construction, if an argument is wrong.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16)])
    >>> model.compile(SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.25), "mse")
    >>> model.optimizer.build(model)
    >>> int((keras.ops.convert_to_numpy(model.layers[0].kernel) != 0).sum())
    32
    """

    def __init__(
        self,
        inner_optimizer: Any,
        density: Any,
        *,
        budget: str = "weights",
        prune_rate: Any = None,
        distribution: Any = "uniform",
        scope: str = "layer",
        prune: Any = "magnitude",
        redistribute: Any = "mean_momentum",
        grow: Any = "momentum",
        sparse: Any = None,
        dense: Any = None,
        initial_masks: Any = "random",
        block_shape: BlockShape = None,
        structure: Structure | None = None,
        gradient_momentum: float | None = None,
        growth_window: int | str | None = "auto",
        growth_batch: float = 1.0,
        initial_scale: str | None = "auto",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        rules = (
            scores.get_score(prune, "prune"),
            scores.get_share(redistribute, "redistribute"),
            scores.get_score(grow, "grow"),
        )
        average, selection = gradient_average(rules, gradient_momentum), Selection(sparse, dense)
        structure = as_structure(block_shape, structure)
        super().__init__(
            inner_optimizer, selection, initial_masks, structure, average, seed, name, initial_scale
        )
        self.budget = check_budget(budget)
        self.prune, self.redistribute, self.grow = rules
        schedules.check_as_density(density)
        self.density = schedules.get(density, "density")
        first = density(0.0) if isinstance(density, schedules.OverTraining) else density
        if not callable(first):
            structure.check_density(first, distribution)
        rate = schedules.CosineOverTraining() if prune_rate is None else prune_rate
        self.prune_rate = schedules.get(rate, "prune_rate")
        self.distribution = densities.check_distribution(distribution)
        self.scope = check_scope(scope)
        self.gradient_momentum = gradient_momentum
        self.growth_window = windows.check(growth_window)
        self.growth_batch = windows.check_batch(growth_batch)
        check_rules(self.prune, self.grow, self.density)
        check_scope_is_used(self.scope, self.initial_masks, self.density, self.distribution)
        check_momentum_is_kept(rules, self.inner_optimizer, gradient_momentum)
        warn_of_zero_steps(self.inner_optimizer)
        self._is_complete = True

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        if not (self.updates_are_planned or self._is_watched or self.prune is None):
            self._is_watched = watch_for_updates(self)
        super().apply(grads, trainable_variables)

    def __repr__(self) -> str:
        rules = ", ".join(
            f"{what}={getattr(rule, '__name__', rule)}"
            for what in ("prune", "redistribute", "grow")
            for rule in [getattr(self, what)]
        )
        masks = f"{len(self.masked_weights)} masks" if self.built else "not built"
        inner = type(self.inner_optimizer).__name__
        density = f"density={self.density}"
        if self.budget != "weights":
            density += f" of {self.budget}"
        return f"<SparseMomentum around {inner}: {density}, {rules}, {masks}>"

    def get_config(self) -> dict[str, Any]:
        return config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SparseMomentum":
        return cls(**arguments_of(config, custom_objects))


@momentum_of.register(SparseMomentum)
def _(optimizer: Any, index: int) -> np.ndarray:
    """What the rules read: the inner optimizer's momentum, or the average in its place."""
    for one in optimizer.masked_weights:
        if one.index == index:
            return one.view().momentum
    return momentum_of(optimizer.inner_optimizer, index)
