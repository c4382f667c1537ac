"""A budget of costs by hand, and what holds for every update and every first mask."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_mask_update_invariants import RULES, are_ragged, cheapest_missing, random_layers

from keras_sparse.rules import density as densities
from keras_sparse.rules import scores
from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.asked import Asked, affordable_weights, ask
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.budget import Counts
from keras_sparse.rules.cost_budget import affordable, cost_of, grow_within, spend
from keras_sparse.rules.mask_update import prune_to, update_masks
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.single_weights import Weights

COSTS = st.sampled_from([1, 2, 3, 5, 16, 49, 256])


def of(*arrays):
    return [np.array(array) for array in arrays]


# --- by hand


@pytest.mark.parametrize(
    ("budget", "wanted", "most", "costs", "least", "expected"),
    [
        (50, [10.0, 10.0], [99, 99], [4, 1], 1, [10, 10]),
        (21, [2.5, 3.0], [9, 9], [4, 3], 1, [3, 3]),  # the largest remainder is paid first
        (12, [2.5, 3.0], [9, 9], [4, 3], 1, [2, 1]),  # wanted more than there is: the dearest less
        (23, [2.0, 3.0], [9, 9], [4, 3], 0, [3, 3]),  # 6 are left: one of 4, and 2 stay
        (40, [10.0, 0.0], [2, 99], [4, 1], 0, [2, 32]),  # what does not fit goes to the other
        (8, [0.0, 8.0], [9, 9], [4, 1], 1, [1, 4]),  # each has its least
    ],
)
def test_the_budget_is_paid_by_whole_groups(budget, wanted, most, costs, least, expected):
    groups = affordable(budget, *of(wanted, most, costs), least)
    np.testing.assert_array_equal(groups, expected)


def test_a_budget_that_does_not_pay_one_group_each_is_an_error():
    with pytest.raises(ValueError, match=r"13 in all.*Received: a budget of 12 multiply-adds"):
        affordable(12, *of([1.0, 1.0], [9, 9], [9, 4]), 1)


def test_what_is_left_buys_the_dearest_first():
    np.testing.assert_array_equal(spend(27, *of([0, 0, 0], [2, 9, 1], [10, 3, 100])), [2, 2, 0])


def test_layers_grow_by_their_share_of_the_cost():
    """20 pruned weights free 50: a share of .8 is 10 weights of 4, one of .2 is 10 of 1.

    A share of .2 is 2.5 weights of 4, of which 2 fit; what is left goes to the other.
    """
    counts = Counts(*of([20, 20], [80, 80], [1, 1], [0.8, 0.2]))
    pruned, costs = of([10, 10], [4, 1])
    np.testing.assert_array_equal(grow_within(counts, pruned, costs, 100, True), [10, 10])
    counts = Counts(*of([20, 20], [80, 80], [1, 1], [0.2, 0.8]))
    np.testing.assert_array_equal(grow_within(counts, pruned, costs, 100, True), [2, 42])


def test_layers_that_regrow_what_they_lost_also_spend_what_is_left():
    counts = Counts(*of([20, 20], [80, 80], [1, 1], [0.5, 0.5]))
    pruned, costs = of([10, 10], [4, 1])
    np.testing.assert_array_equal(grow_within(counts, pruned, costs, 100, False), [10, 10])
    np.testing.assert_array_equal(grow_within(counts, pruned, costs, 103, False), [10, 13])


def test_an_empty_layer_gets_a_group_if_it_can_be_paid():
    counts = Counts(*of([0, 10], [10, 10], [1, 1], [0.0, 1.0]))
    np.testing.assert_array_equal(grow_within(counts, *of([0, 3], [2, 1]), 10, True), [1, 1])
    np.testing.assert_array_equal(grow_within(counts, *of([0, 1], [2, 1]), 10, True), [0, 1])
    only = Counts(*of([0, 10], [1, 10], [1, 1], [0.0, 1.0]))  # its only group
    np.testing.assert_array_equal(grow_within(only, *of([0, 3], [2, 1]), 10, True), [1, 1])


def test_an_empty_layer_gets_as_much_as_is_asked_and_free():
    counts = Counts(*of([0, 10], [3, 10], [1, 1], [0.0, 1.0]))
    pruned, costs = of([0, 6], [1, 1])
    for first, grown in ((2, [2, 4]), (5, [3, 3])):
        found = grow_within(counts, pruned, costs, 10, True, np.array([first, 1]))
        np.testing.assert_array_equal(found, grown)


def test_a_layer_of_the_largest_share_gets_99_percent_of_its_places_and_another_the_rest():
    counts = Counts(*of([10, 10], [100, 100], [1, 1], [1.0, 0.0]))
    np.testing.assert_array_equal(grow_within(counts, *of([0, 0], [1, 1]), 120, True), [99, 1])


def test_a_capped_layer_exceeds_its_99_percent_only_by_what_nobody_else_can_take():
    counts = Counts(*of([0, 5], [100, 0], [1, 1], [1.0, 0.0]))
    grown = grow_within(counts, *of([0, 1], [1, 500]), 2099, True)
    np.testing.assert_array_equal(grown, [99, 0])
    grown = grow_within(counts, *of([0, 1], [1, 500]), 2100, True)
    np.testing.assert_array_equal(grown, [100, 0])


@pytest.mark.parametrize(
    ("density", "distribution", "wanted", "budget"),
    [
        (0.1, "uniform", [10.0, 10.0], 50),
        (0.29, "uniform", [29.0, 29.0], 145),  # .29 * 500 is 144.99999999999997
        (np.float32(0.1), "uniform", [10.0, 10.0], 50),  # 0.10000000149, by a schedule of Keras
        (0.1, lambda shapes, density: [30, 10], [50 / 130 * 30, 50 / 130 * 10], 50),
        (0.1, {"a": 0.5}, [50.0, 10.0], 210),
    ],
)
def test_what_a_density_asks_for(density, distribution, wanted, budget):
    asked = ask("ab", [(10, 10), (10, 10)], [4, 1], density, distribution)
    np.testing.assert_allclose(asked.wanted, wanted, rtol=1e-6)
    assert asked.budget == budget


def test_erk_scales_to_the_cost_and_caps_a_layer():
    """Active weights are to each other as the sums of the sizes, 18 and 30."""
    asked = ask("ab", [(3, 3, 4, 8), (3, 3, 8, 16)], [4, 1], 0.5, "erk")
    np.testing.assert_allclose(asked.wanted * [30, 18], asked.wanted[0] * 30)
    asked = ask("ab", [(100, 100), (2, 2)], [1, 1000], 0.5, "erk")
    np.testing.assert_allclose(asked.wanted, [(0.5 * 14000 - 4000), 4])


@pytest.mark.parametrize("counts", [[1, 3], [0, 3], [10, 30]])
def test_only_the_proportions_of_a_functions_counts_matter(counts):
    asked = ask("ab", [(10, 10)] * 2, [1, 1], 0.1, lambda shapes, density: counts)
    np.testing.assert_allclose(asked.wanted, [5, 15])


def test_layers_follow_the_distribution_or_keep_their_proportions():
    asked, shapes, costs = Asked(np.array([10.0, 90.0]), 130), [(10, 10)] * 2, [4, 1]
    arguments = (asked, shapes, Weights(), costs, [100, 100])
    assert affordable_weights(*arguments) == [10, 90]
    assert affordable_weights(*arguments, by_distribution=False) == [26, 26]  # 26 % of the most


def test_the_threshold_of_all_layers_stops_where_a_group_does_not_fit():
    """By score: 5 of the dear layer, 4 and 3 of the cheap one, 2 of the dear one, 1, .5."""
    layers = [
        MaskedLayer(name, np.array(weight), np.ones(3, bool), cost=cost)
        for name, weight, cost in (("dear", [5.0, 2.0, 0.5], 10), ("cheap", [4.0, 3.0, 1.0], 1))
    ]
    rng = np.random.default_rng(0)
    counts = [global_counts(layers, n, scores.magnitude, rng, True) for n in (11, 13, 22, 33)]
    assert counts == [[1, 1], [1, 3], [2, 2], [3, 3]]
    with pytest.raises(ValueError, match=r"11 in all.*Received: a budget of 10 multiply-adds"):
        global_counts(layers, 10, scores.magnitude, rng, True)


def test_the_cost_of_masks():
    masks = [np.array([True, False, True]), np.ones(4, bool)]
    assert cost_of(masks, [3, 2]) == 14
    assert cost_of(masks, None) == 6


# --- what always holds


def priced(layers, costs):
    for layer, cost in zip(layers, costs, strict=False):
        layer.cost = cost
    return layers


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_layers(), st.lists(COSTS, min_size=4), RULES, st.integers(0, 300))
def test_every_update_spends_the_budget_and_no_more(layers, costs, rules, more):
    _check_update(layers, costs, rules, more)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_layers(), st.lists(COSTS, min_size=4), RULES, st.integers(0, 300))
def test_an_update_spends_the_budget_and_no_more(layers, costs, rules, more):
    _check_update(layers, costs, rules, more)


def _check_update(layers, costs, rules, more):
    prune, redistribute, grow, rate = rules
    share = None if redistribute is None else scores.SHARES[redistribute]
    layers = priced(layers, costs)
    before = [layer.mask.copy() for layer in layers]
    prices = [layer.cost for layer in layers]
    budget = cost_of(before, prices) + more
    rng = np.random.default_rng(0)
    new = update_masks(layers, rate, scores.SCORES[prune], share, scores.SCORES[grow], rng, budget)
    assert 0 <= budget - cost_of(new, prices) < cheapest_missing(layers, new)
    for layer, old, mask in zip(layers, before, new, strict=True):
        assert mask.any() or not old.any()
        layer.structure.check_whole(layer.name, mask)
        np.testing.assert_array_equal(layer.mask, old)


SHAPES = st.lists(
    st.tuples(st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6)).map(
        lambda sizes: (sizes[0], 2 * sizes[1], 3 * sizes[2])
    ),
    min_size=1,
    max_size=5,
)
STRUCTURES = st.sampled_from([Weights(), Blocks(2, 2), Blocks(2, 1, per_tap=True)])


@settings(max_examples=300, deadline=None)
@given(
    SHAPES,
    st.lists(COSTS, min_size=5),
    STRUCTURES,
    st.sampled_from(sorted(densities.NAMED)),
    st.floats(0.01, 1.0),
)
def test_every_first_mask_spends_the_budget_and_no_more(shapes, costs, structure, name, density):
    costs = costs[: len(shapes)]
    sizes = [math.prod(shape) for shape in shapes]
    groups = [structure.group_size(shape) for shape in shapes]
    units = [structure.unit(shape) for shape in shapes]
    asked = ask([str(i) for i in range(len(shapes))], shapes, costs, density, name)
    dense = sum(n * cost for n, cost in zip(sizes, costs, strict=True))
    assert density * dense - 1 - 1e-6 < asked.budget <= density * dense + 1e-6
    if asked.budget < sum(n * cost for n, cost in zip(groups, costs, strict=True)):
        with pytest.raises(ValueError, match="`density` must leave multiply-adds for one weight"):
            affordable_weights(asked, shapes, structure, costs, sizes)
        return
    counts = affordable_weights(asked, shapes, structure, costs, sizes)
    assert all(n >= group for n, group in zip(counts, groups, strict=True))
    _check_spent(asked.budget, counts, sizes, units, costs)


def _check_spent(budget, counts, most, groups, costs):
    spent = sum(n * cost for n, cost in zip(counts, costs, strict=True))
    room = [g * c for n, m, g, c in zip(counts, most, groups, costs, strict=True) if n < m]
    assert all(0 < n <= m and n % g == 0 for n, m, g in zip(counts, most, groups, strict=True))
    assert 0 <= budget - spent < min(room, default=math.inf)


@settings(max_examples=150, deadline=None)
@given(random_layers(), st.lists(COSTS, min_size=4), st.floats(0.1, 1.0), st.booleans())
def test_pruning_to_a_budget_only_removes_and_leaves_little(layers, costs, part, is_global):
    layers = [layer for layer in priced(layers, costs) if layer.mask.any()]
    if not layers:
        return
    structure, shapes = layers[0].structure, [layer.mask.shape for layer in layers]
    prices, most = [layer.cost for layer in layers], [int(layer.mask.sum()) for layer in layers]
    units = [structure.unit(shape) for shape in shapes]
    least = sum(structure.group_size(s) * c for s, c in zip(shapes, prices, strict=True))
    budget = max(least, int(part * cost_of([layer.mask for layer in layers], prices)))
    rng = np.random.default_rng(0)
    if is_global:
        counts = global_counts(layers, budget, scores.magnitude, rng, by_cost=True)
    else:
        asked = Asked(np.array(most, float), budget)
        counts = affordable_weights(asked, shapes, structure, prices, most, False)
    _check_spent(budget, counts, most, units, prices)
    new = prune_to(layers, counts, scores.magnitude, rng)
    for layer, mask, n in zip(layers, new, counts, strict=True):
        assert int(mask.sum()) == n or are_ragged([layer])
        assert not (mask & ~layer.mask).any()
    assert cost_of(new, prices) <= budget
