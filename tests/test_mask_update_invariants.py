"""What holds for every mask update: 10,000 random ones, five after another."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_sparse.rules import scores
from keras_sparse.rules.blocks import Blocks, ChannelPairs
from keras_sparse.rules.channels import Channels
from keras_sparse.rules.mask_update import prune_to, update_masks
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.single_weights import Weights

STRUCTURES = st.sampled_from(
    [
        Weights(),
        Weights(),
        ChannelPairs(),
        Blocks(2, 1),
        Blocks(2, 2),
        Blocks(1, 1, per_tap=True),
        Blocks(2, 2, per_tap=True),
        Blocks(3, 4, per_tap=True),
        Channels("in"),
        Channels("out"),
    ]
)


@st.composite
def random_layer(draw, structure, index):
    taps = draw(st.sampled_from([(), (3,), (2, 2), (3, 3)]))
    channels = (draw(st.integers(1, 10)), draw(st.integers(1, 10)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = taps + channels
    density = draw(st.sampled_from([0.02, 0.1, 0.5, 0.9, 1.0]))
    mask = structure.from_groups(rng.random(structure.grid(shape)) < density, shape)
    ties = draw(st.sampled_from([0, 1, 4]))  # decimals kept: few distinct values, all zero at times
    momentum = np.round(rng.normal(size=shape) * draw(st.sampled_from([0.0, 0.1, 1.0])), ties)
    weight = np.round(rng.normal(size=shape), ties) * mask
    gradient = np.roll(momentum, 1)
    return MaskedLayer(f"layer_{index}", weight, mask, momentum, gradient, structure=structure)


@st.composite
def random_layers(draw):
    structure = draw(STRUCTURES)
    return [draw(random_layer(structure, index)) for index in range(draw(st.integers(1, 4)))]


def are_ragged(layers):
    """Do the blocks of a layer differ in size?"""
    return any(layer.structure.is_ragged(layer.mask.shape) for layer in layers)


def cheapest_missing(layers, masks):
    """What the cheapest missing group costs; infinity: all are active."""
    pairs = [
        (x, x.structure, mask) for x, mask in zip(layers, masks, strict=True) if not mask.all()
    ]
    sizes = (s.group_sizes(mask.shape)[~s.active_groups(mask)] * x.cost for x, s, mask in pairs)
    return min((int(each.min()) for each in sizes), default=math.inf)


RULES = st.tuples(
    st.sampled_from(sorted(scores.SCORES)),
    st.sampled_from([None, *sorted(scores.SHARES)]),
    st.sampled_from(sorted(scores.SCORES)),
    st.floats(0.0, 1.0),
)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_layers(), st.lists(RULES, min_size=5, max_size=5), st.integers(0, 1000))
def test_every_update_keeps_the_total_and_grows_missing_weights(layers, rules, seed):
    for number, rule in enumerate(rules):
        masks = _check_update(layers, rule, seed + number)
        layers = [_trained(layer, mask) for layer, mask in zip(layers, masks, strict=True)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_layers(), RULES, st.integers(0, 1000))
def test_an_update_keeps_the_total_and_grows_missing_weights(layers, rules, seed):
    _check_update(layers, rules, seed)


def _trained(layer, mask):
    """The layer after an update and some training: all active weights are others."""
    weight = np.where(mask, np.roll(layer.weight + layer.momentum, 1), 0)
    return MaskedLayer(
        layer.name, weight, mask, layer.momentum, layer.gradient, structure=layer.structure
    )


def _check_update(layers, rules, seed):
    """The masks after an update by these rules."""
    prune, redistribute, grow, rate = rules
    share = None if redistribute is None else scores.SHARES[redistribute]
    before = [layer.mask.copy() for layer in layers]
    new = update_masks(
        layers, rate, scores.SCORES[prune], share, scores.SCORES[grow], np.random.default_rng(seed)
    )
    kept = [_kept(layer, prune, rate, seed) for layer in layers]
    lost = sum(int(m.sum()) for m in before) - sum(int(m.sum()) for m in new)
    assert 0 <= lost < (cheapest_missing(layers, new) if are_ragged(layers) else 1)
    for layer, old, mask, survivors in zip(layers, before, new, kept, strict=True):
        assert mask.dtype == bool
        assert mask.shape == old.shape
        assert mask.any() or not old.any()  # no layer loses its last weight
        layer.structure.check_whole(layer.name, mask)
        np.testing.assert_array_equal(layer.mask, old)  # nothing of the caller's is changed
        assert survivors is None or not (survivors & ~mask).any()  # what was not pruned stays
    return new


def _kept(layer, prune, rate, seed):
    """Active weights that no ceiling prunes, where scores do not tie: the largest n - ceil(p n)."""
    n = int(layer.mask.sum())
    if prune != "magnitude" or layer.structure != Weights() or n == 0:
        return None
    magnitudes = np.sort(np.abs(layer.weight[layer.mask]))
    pruned = min(int(np.ceil(rate * n - 1e-9)), n - 1)
    return layer.mask & (np.abs(layer.weight) > magnitudes[pruned])


@settings(max_examples=300, deadline=None)
@given(random_layers(), st.floats(0.01, 1.0))
def test_pruning_to_a_density_only_removes(layers, density):
    wanted = [round(layer.mask.size * density) for layer in layers]
    new = prune_to(layers, wanted, scores.magnitude, np.random.default_rng(0))
    for layer, mask, n in zip(layers, new, wanted, strict=True):
        assert not (mask & ~layer.mask).any()
        layer.structure.check_whole(layer.name, mask)
        if not are_ragged([layer]):
            size = layer.mask.size // math.prod(layer.structure.grid(layer.mask.shape))
            assert mask.sum() == min(layer.mask.sum(), max(1, round(n / size)) * size)
    largest = max(layer.structure.group_size(layer.mask.shape) for layer in layers)
    ragged = [(x, m, n) for x, m, n in zip(layers, new, wanted, strict=True) if are_ragged([x])]
    can = sum(min(n, int(x.mask.sum())) for x, _, n in ragged)  # what is asked for, and is there
    # one block stays, which may be more than was asked for
    most = sum(max(n, x.structure.group_size(x.mask.shape)) for x, _, n in ragged)
    assert can - largest < sum(int(m.sum()) for _, m, _ in ragged) or not ragged
    assert sum(int(m.sum()) for _, m, _ in ragged) <= most
