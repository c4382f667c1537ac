"""What a density asks of the masks, and which masks it changes."""

import keras
import numpy as np
import pytest
from helpers import array, built, sparse

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


@pytest.mark.parametrize(
    ("block_shape", "density", "is_above"),
    [
        (None, 47 / 192, True),  # 48 weights are active
        (None, 48 / 192, False),
        ((4, 4), 39 / 192, True),
        ((4, 4), 40 / 192, False),  # nearer than half a block
    ],
)
def test_a_density_is_above_another_by_half_a_group_at_least(block_shape, density, is_above):
    optimizer = built(block_shape=block_shape).optimizer
    assert optimizer.density_is_above(density) is is_above
    masks = [np.zeros((8, 16), bool), np.zeros((16, 4), bool)]
    assert not optimizer.density_is_above(density, masks)


@pytest.mark.parametrize(
    ("blocks", "is_frozen", "budget"),
    [
        (([1, 0, 0], [1, 0, 0]), False, 40),  # 8 weights are left of 40, less than a block of 16
        (([1, 0, 1], [1, 0, 0]), False, 40),
        (([1, 0, 0], [0, 0, 1]), False, 24),  # 16 are left: masks of a density of their own
        (([1, 1, 0], [1, 0, 0]), False, 48),  # 8 too many
        (([1, 0, 0], [1, 0, 0]), True, 16 + 8),
        (([1, 0, 0], [0, 0, 1]), True, 16),
    ],
)
def test_blocks_of_different_sizes_may_use_what_is_left_of_the_density(blocks, is_frozen, budget):
    kernels = [keras.Variable(np.ones((4, 10)), name="kernel") for _ in blocks]
    optimizer = sparse(density=0.5, block_shape=(4, 4))  # of 16, 16 and 8 weights in each
    optimizer.build(kernels)
    masks = [np.repeat([own] * 4, 4, axis=1)[:, :10] > 0 for own in blocks]
    optimizer.set_masks(dict(zip(optimizer.masked_names, masks, strict=True)))
    kernels[1].trainable = not is_frozen
    weights = optimizer.trained_weights()
    assert optimizer._budget_of_update(weights, None, 0) == budget
    assert optimizer._budget_of_update(weights, masks[: len(weights)], 0) == budget


@pytest.mark.parametrize("budget", ["weights", "multiply_adds"])
def test_a_density_of_frozen_weights_alone_is_never_above_another(budget):
    model = built(ks.CubicOverTraining(0.25), budget=budget)
    model.trainable = False
    assert not model.optimizer.density_is_above(1e-3)


def test_a_lower_density_prunes_the_layers_that_have_more():
    optimizer = built(0.5).optimizer
    optimizer.grow = None
    few, all_ = np.zeros((8, 16), bool), np.ones((16, 4), bool)
    few[0, :8] = True
    optimizer.set_masks({HIDDEN: few, HEAD: all_})
    optimizer.prune_to_density(0.25)
    assert [int(mask.sum()) for mask in optimizer.masks.values()] == [8, 16]


def test_a_dense_phase_fills_what_is_not_full():
    optimizer = built(0.5).optimizer
    optimizer.set_masks({HEAD: np.ones((16, 4), bool)})
    optimizer._make_dense(optimizer.masked_weights)
    assert optimizer.total_density() == 1.0


def test_frozen_weights_of_a_fractional_number_leave_less_to_the_others():
    kernels = [keras.Variable(np.ones((4, 10)), name="kernel") for _ in range(2)]
    optimizer = sparse(density=0.33)
    optimizer.build(kernels)
    optimizer.budget = "multiply_adds"
    optimizer._costs._known = {id(kernel): 3 for kernel in kernels}
    kernels[1].trainable = False
    asked = optimizer._asked_at(0.33, optimizer.trained_weights())
    assert asked.budget == 79 - 40  # 39.6 for 13.2 weights of each, of 79.2
    np.testing.assert_allclose(asked.wanted, [13.2])


def test_weights_that_were_put_back_bring_their_masks_beside_frozen_ones():
    model = built()
    model.layers[1].trainable = False
    earlier = np.arange(128).reshape(8, 16) < 32
    model.layers[0].kernel.assign(earlier * 1.0)
    frozen = model.optimizer.masks[HEAD]
    model.optimizer.follow_weights()
    np.testing.assert_array_equal(model.optimizer.masks[HIDDEN], earlier)
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], frozen)


def test_masks_before_the_first_step_do_not_count_as_explored():
    optimizer = built().optimizer
    optimizer.set_masks({HIDDEN: ~optimizer.masks[HIDDEN]})  # 96 of 128
    assert optimizer.exploration_rate() == optimizer.total_density() == (96 + 16) / 192
    optimizer.iterations.assign(1)
    optimizer.set_masks({HIDDEN: ~optimizer.masks[HIDDEN]})
    assert optimizer.exploration_rate() == (128 + 16) / 192


def test_first_masks_have_the_density_of_the_schedule_at_its_beginning():
    assert built(ks.CosineOverTraining(0.5, 0.25)).optimizer.total_density() == 0.5


def test_a_schedule_that_begins_above_what_the_structure_allows_is_an_error():
    with pytest.raises(ValueError, match="`density` must be at most 0.5"):
        sparse(density=ks.CosineOverTraining(1.0, 0.25), structure=ks.NofM(2, 4))


def test_a_training_is_announced_before_snip_has_seen_a_batch():
    optimizer = built(initial_masks="snip").optimizer
    optimizer.start_training(12)
    assert optimizer.counter("training_stop") == 12
    optimizer.open_growth_window(False)
    assert not array(optimizer.growth_window_open)


def test_a_training_that_is_announced_is_watched_and_warned_of_anew():
    optimizer = built().optimizer
    assert not optimizer._is_watched
    optimizer.warned_of_density = optimizer._is_watched = True
    optimizer.start_training(None)
    assert (optimizer.warned_of_density, optimizer._is_watched) == (False, False)
    assert (optimizer.counter("training_stop"), optimizer.announced_stop) == (-1, -1)


def test_pruning_to_no_density_is_an_error_of_the_density_first():
    with pytest.raises(ValueError, match=r"`density` must be in \(0, 1\]"):
        sparse(prune=None, grow=None).prune_to_density(2.0)


def test_pruning_to_the_density_of_now_changes_no_mask():
    class Watcher:
        def see_masks(self, optimizer, weights, masks):
            raise AssertionError("a mask changes")

    optimizer, watcher = built().optimizer, Watcher()
    optimizer.watchers.add(watcher)
    optimizer.prune_to_density(0.25)
    assert optimizer.total_density() == 0.25


def test_the_dearest_group_is_that_of_the_dearest_weight():
    kernels = [keras.Variable(np.ones((4, 4)), name="kernel") for _ in range(2)]
    optimizer = sparse(density=0.5, block_shape=(2, 2))
    optimizer.build(kernels)
    optimizer.budget = "multiply_adds"
    optimizer._costs._known = {id(kernels[0]): 3, id(kernels[1]): 5}
    assert optimizer._dearest_group(optimizer.masked_weights) == 4 * 5


def test_one_weight_with_a_block_of_another_size_makes_a_budget_of_all():
    kernels = [keras.Variable(np.ones((4, n)), name="kernel") for n in (10, 8)]
    optimizer = sparse(density=0.5, block_shape=(4, 4))
    optimizer.build(kernels)
    spent = sum(int(mask.sum()) for mask in optimizer.masks.values())
    budget = optimizer._budget_of_update(optimizer.trained_weights(), None, 0)
    assert spent <= budget <= 36  # half of 72
    assert optimizer._budget_of_update(optimizer.trained_weights()[1:], None, 0) is None
