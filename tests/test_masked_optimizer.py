"""Masks of the optimizer: made, set, whole in blocks."""

import keras
import numpy as np
import pytest
from helpers import (
    active,
    array,
    arrays,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sgd,
    sparse,
    toy_data,
    toy_model,
)

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.rules.structure import Weights
from keras_sparse.training import first_masks
from keras_sparse.training.selection import Selection

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


# --- the first masks


@backend
def test_the_masks_are_there_and_applied_when_built():
    model = built()
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == {
        HIDDEN: 32,
        HEAD: 16,
    }
    for variable, mask in zip(
        model.optimizer.masked_variables, model.optimizer.masks.values(), strict=True
    ):
        np.testing.assert_array_equal(array(variable) != 0, mask)
    assert model.optimizer.total_density() == 0.25


@backend
def test_magnitude_keeps_the_largest():
    model = toy_model()
    weight = array(model.layers[0].kernel)
    compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), model).optimizer.build(
        model
    )
    threshold = np.sort(np.abs(weight), axis=None)[-32]
    np.testing.assert_array_equal(
        array(model.layers[0].kernel), np.where(np.abs(weight) >= threshold, weight, 0)
    )


@backend
def test_nonzero_takes_the_masks_of_a_sparse_checkpoint():
    sparse = built(density=0.1)
    model = toy_model()
    model.set_weights(sparse.get_weights())
    optimizer = ks.SparseMomentum(sgd(), 0.9, initial_masks="nonzero")
    compiled(optimizer, model).optimizer.build(model)
    assert_same(list(optimizer.masks.values()), list(sparse.optimizer.masks.values()))


def test_nonzero_looks_at_weights_where_a_sparse_layer_has_all_and_at_its_mask_otherwise():
    model, even = ks.sparsify(toy_model(), verbose=False), np.arange(128).reshape(8, 16) % 2 == 0
    hidden, head = (layer.kernel for layer in model.layers)
    hidden.assign(array(hidden) * even)
    eye = np.eye(16, 4, dtype=bool)
    kernel_mask_of(head).assign(eye)
    only_one = np.zeros((16, 4))
    only_one[0, 0] = 1.0
    head.assign(only_one)  # the other active weights are 0
    optimizer = ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero")
    optimizer.build(model)
    assert_same(list(optimizer.masks.values()), [even, eye])


def test_a_layer_that_is_trained_dense_loses_a_mask_that_it_got_after_build():
    model = compiled(sparse(dense="head"), ks.sparsify(toy_model(), verbose=False))
    model.optimizer.build(model)
    mask = kernel_mask_of(model.layers[1].kernel)
    mask.assign(np.eye(16, 4, dtype=bool))  # as a file of weights brings one
    model.optimizer.attach(model)
    assert mask.density() == 1


def test_nonzero_of_nothing_raises():
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, kernel_initializer="zeros", name="empty")]
    )
    with pytest.raises(
        ValueError,
        match="found no nonzero weight in 'sequential/empty/kernel'. Load the sparse weights",
    ):
        ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero").build(model)


@backend
def test_random_masks_come_from_the_seed():
    one, same, other = (built(seed=seed).optimizer.masks[HIDDEN] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@backend
@pytest.mark.parametrize("keep_optimizer", [True, False])
def test_random_masks_over_trained_weights_warn_once(keep_optimizer):
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(model.optimizer if keep_optimizer else sgd(), 0.25), "mse")
    with pytest.warns(
        UserWarning, match='throws away most of what they have learned.*`initial_masks="magnitude"`'
    ) as caught:
        fit(model, ks.UpdateMasks(), epochs=2)
    assert sum("random mask" in str(warning.message) for warning in caught) == 1
    assert_sparse(model, count=48)


def test_magnitude_masks_over_trained_weights_do_not_warn():
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), "mse")
    fit(model, ks.UpdateMasks(), epochs=2)
    assert_sparse(model, count=48)


@pytest.mark.parametrize("kind", ["magnitude", "nonzero"])
def test_weights_must_be_there_to_be_looked_at(kind):
    model = keras.Sequential([keras.layers.Dense(4)])
    model.compile(ks.SparseMomentum(sgd(), 0.5, initial_masks=kind), "mse")
    with pytest.raises(
        ValueError, match=f"build the model before `fit`.*Received: initial_masks='{kind}'"
    ):
        fit(model, ks.UpdateMasks())


@pytest.mark.parametrize("kind", ["all", None, True])
def test_unknown_kind_of_masks(kind):
    with pytest.raises(
        ValueError, match="`initial_masks` must be one of .*Received: initial_masks="
    ):
        ks.SparseMomentum(sgd(), 0.5, initial_masks=kind)


# --- which model


def test_layer_types_need_the_model():
    optimizer, model = ks.SparseMomentum(sgd(), 0.25, dense=keras.layers.EinsumDense), toy_model()
    optimizer.build(model.trainable_variables)
    with pytest.raises(
        ValueError, match=r"the model is not known. Call `optimizer.build\(model\)` first"
    ):
        optimizer.apply(
            [keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables
        )


def test_masks_made_without_the_model_are_checked_against_it():
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="taps"),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
    ]
    model = compiled(ks.SparseMomentum(sgd(), 0.25, sparse="taps"), keras.Sequential(layers))
    model.optimizer.build(model.trainable_variables)
    fit(
        model, ks.UpdateMasks(), data=toy_data((8, 8, 3)), epochs=2
    )  # named outright: nothing to guess
    assert len(model.optimizer.masks) == 2


# --- set_masks


@backend
def test_set_masks_masks_the_weights():
    model = built()
    new = np.zeros((16, 4), bool)
    new[3] = True
    hidden = model.optimizer.masks[HIDDEN]
    model.optimizer.set_masks({HEAD: new})
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], new)
    np.testing.assert_array_equal(model.optimizer.masks[HIDDEN], hidden)
    assert not array(model.layers[1].kernel)[~new].any()


@pytest.mark.parametrize(
    ("path", "mask", "message"),
    [
        (
            "head",
            np.ones((16, 4), bool),
            "names a weight that has no mask. Received: 'head'; masked are",
        ),
        (
            HEAD,
            np.ones((4, 16), bool),
            r"must be bool, of the weight's shape \(16, 4\).*shape \(4, 16\)",
        ),
        (HEAD, np.ones((16, 4)), "must be bool.*dtype float64"),
        (HEAD, np.zeros((16, 4), bool), "with an active weight.*0 active"),
    ],
)
def test_set_masks_changes_nothing_if_one_is_wrong(path, mask, message):
    model = built()
    before = model.optimizer.masks
    with pytest.raises(ValueError, match=message):
        model.optimizer.set_masks({HIDDEN: ~before[HIDDEN], path: mask})
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


@backend
def test_masks_are_copies():
    model = built()
    model.optimizer.masks[HEAD][:] = True
    assert active(model.optimizer) == 48


def test_masks_of_other_weights_replace_those_before():
    optimizer = built().optimizer
    masks = optimizer.mask_variables
    optimizer.hold_masks_of(optimizer.masked_indices[:1])
    assert [mask.path for mask in optimizer.mask_variables] == [masks[0].path]
    listed = {id(variable) for variable in optimizer.variables}
    assert not listed & {id(mask) for mask in masks}


@backend
@pytest.mark.parametrize(
    ("settings", "shapes"),
    [({}, []), ({"gradient_momentum": 0.9}, [(8, 16), (16, 4)])],
)
def test_the_average_of_gradients_is_among_the_variables(settings, shapes):
    variables = built(**settings).optimizer.variables
    averages = [tuple(one.shape) for one in variables if "gradient_average" in one.path]
    assert [shape for shape in averages if shape] == shapes  # the others are counters


@backend
def test_a_step_may_be_of_all_variables_or_of_some():
    model = built()
    variables = model.trainable_variables
    gradients = [keras.ops.ones(variable.shape) for variable in variables]
    model.optimizer.apply(gradients)
    model.optimizer.apply(gradients[:1], variables[:1])
    assert model.optimizer.step() == 2
    assert_masks_hold(model.optimizer)


def test_fit_alone_tells_layer_types():
    layers = [keras.Input((8,)), keras.layers.Dense(16), keras.layers.EinsumDense("ab,bc->ac", 4)]
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense=keras.layers.EinsumDense)
    model = compiled(optimizer, keras.Sequential(layers))
    fit(model, epochs=1)  # without UpdateMasks, and not built before
    assert_sparse(model, count=32)


def test_masks_that_look_at_weights_need_all_of_them(monkeypatch):
    one, other = (keras.Variable("ones", (2, 2)) for _ in range(2))
    monkeypatch.setattr(first_masks, "has_value", lambda variable: variable is one)
    first_masks.check_readable("magnitude", [one])
    first_masks.check_readable("random", [one, other])
    with pytest.raises(ValueError, match="only made in the first step.*initial_masks='magnitude'"):
        first_masks.check_readable("magnitude", [one, other])


# --- a file of a run that had not begun has been loaded


def with_weights_of_a_run_that_had_not_begun(**settings):
    """Its masks are of other weights: the largest of the head's weights are now the last rows."""
    model = built(initial_masks="magnitude", **settings)
    model.layers[1].kernel.assign(np.arange(64, dtype="float32").reshape(16, 4))
    model.optimizer.load_own_variables({"not_begun": True})
    return model


LAST_ROWS = np.arange(16)[:, None].repeat(4, axis=1) >= 12
ONE_ROW = np.arange(8)[:, None].repeat(16, axis=1) == 5
CALLS = {
    "attach": lambda model: model.optimizer.attach(model),
    "build": lambda model: model.optimizer.build(model),
    "set_masks": lambda model: model.optimizer.set_masks({HIDDEN: ONE_ROW}),
    "prune_to_density": lambda model: model.optimizer.prune_to_density(0.25),
    "apply": lambda model: model.optimizer.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_first_call_that_needs_masks_makes_those_of_the_new_weights(call):
    model = with_weights_of_a_run_that_had_not_begun()
    optimizer = model.optimizer
    assert optimizer.begins_anew
    assert not (optimizer.masks[HEAD] == LAST_ROWS).all()
    CALLS[call](model)
    assert not optimizer.begins_anew
    np.testing.assert_array_equal(optimizer.masks[HEAD], LAST_ROWS)
    model.layers[1].kernel.assign(np.zeros((16, 4)))
    CALLS[call](model)  # and only the first one
    np.testing.assert_array_equal(optimizer.masks[HEAD], LAST_ROWS)


def test_an_update_begins_with_masks_of_the_new_weights():
    model = with_weights_of_a_run_that_had_not_begun(prune_rate=0.0)
    model.optimizer.update_masks()
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], LAST_ROWS)


def test_after_a_step_they_are_made_at_once_since_the_next_one_may_be_traced():
    model = built(initial_masks="magnitude")
    CALLS["apply"](model)
    model.layers[1].kernel.assign(np.arange(64, dtype="float32").reshape(16, 4))
    model.optimizer.load_own_variables({"not_begun": True})
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], LAST_ROWS)


def test_a_list_of_variables_ends_the_waiting_and_tells_sparse_layers_their_density():
    one, other = (
        compiled(sparse(density=density), ks.sparsify(toy_model())) for density in (0.25, 0.5)
    )
    for model in (one, other):
        model.optimizer.build(model)
    one.optimizer.begins_anew = True
    one.optimizer.set_weights(arrays(other.optimizer.variables))
    assert not one.optimizer.begins_anew
    assert_same(list(one.optimizer.masks.values()), list(other.optimizer.masks.values()))
    assert array(kernel_mask_of(one.layers[0].kernel).mask_density) == 0.5


# --- what a density asks for


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


# --- the first masks by hand

BLOCKS = ks.Blocks(4, 4)


@pytest.mark.parametrize(
    ("counts", "costs", "active"),
    [
        ([15, 15], None, [8, 16]),  # of blocks of 16, 16 and 8: 7 are left for the second
        ([16, 17], None, [16, 16]),
        ([4, 15], None, [16, 8]),  # one block at least, and nothing is left
        ([15, 15], [2, 1], [8, 24]),  # what is left is worth 14
        ([15, 15], [1, 3], [8, 16]),  # 7 of 3: two weights more
    ],
)
def test_a_kernel_of_unequal_blocks_gets_what_those_before_could_not_use(counts, costs, active):
    weight = np.repeat([[1.0, 3.0, 2.0]], 4, axis=1)[:, :10].repeat(4, axis=0)
    variables = [keras.Variable(weight, name="kernel") for _ in counts]
    masks = first_masks.first_masks("magnitude", variables, counts, BLOCKS, None, costs)
    assert [int(mask.sum()) for mask in masks] == active


def test_a_block_in_each_layer_may_exceed_the_density_by_less_than_a_block():
    variables = [keras.Variable(np.ones((4, 4))) for _ in range(2)]
    assert first_masks.counts_in_groups([8, 9], variables, BLOCKS) == [16, 16]
    with pytest.raises(ValueError, match=r"fewer active weights \(16\) than one block.*\(32\)"):
        first_masks.counts_in_groups([8, 8], variables, BLOCKS)


@pytest.mark.parametrize(("found", "is_told"), [(49, False), (51, False), (52, True)])
def test_one_percent_more_nonzeros_than_asked_for_are_told(found, is_told):
    masks = [np.arange(100) < found]
    notice = first_masks.notice_of_density("nonzero", masks, 50, Weights())
    assert (notice is not None) == is_told
    assert first_masks.notice_of_density("magnitude", masks, 50, Weights()) is None


def test_another_choice_of_weights_is_an_error_before_the_first_step():
    model = built()
    optimizer = model.optimizer
    optimizer.selection = Selection(dense="head")
    with pytest.raises(ValueError, match=r"took some weights for others.*Received: .'toy/head/k"):
        optimizer.attach(model)
    optimizer.masks_were_loaded = True
    optimizer.attach(model)  # the file says which weights are masked
    optimizer.masks_were_loaded = False
    optimizer.iterations.assign(1)
    optimizer.attach(model)
    assert list(optimizer.masks) == [HIDDEN, HEAD]


def test_a_model_that_is_named_later_brings_the_masks_that_waited_for_it():
    model = toy_model()
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense="*", sparse=keras.layers.Dense, seed=0)
    optimizer.build(model.trainable_variables)
    assert optimizer.masks == {}
    optimizer.build(model)
    assert active(optimizer) == 48
    masks = optimizer.masks
    optimizer.build(model)  # they stay
    assert_same(list(optimizer.masks.values()), list(masks.values()))


def test_first_masks_that_wait_for_a_batch_are_not_made_anew():
    model = compiled(sparse(initial_masks="snip"))
    model.optimizer.build(model)
    model.optimizer.begins_anew = True
    model.optimizer.begin_anew()
    assert not model.optimizer.begins_anew
    assert model.optimizer.awaiting == [0, 2]


def test_a_step_of_fit_finds_the_model_that_the_masks_waited_for():
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense="*", sparse=keras.layers.Dense, seed=0)
    model = compiled(optimizer)
    optimizer.build(model.trainable_variables)
    assert optimizer.masks == {}
    fit(model, epochs=1)
    assert_sparse(model, count=48)


def test_an_average_stays_for_the_same_weights_and_is_new_for_others():
    optimizer = built(gradient_momentum=0.9).optimizer
    average, indices = optimizer._gradient_average, optimizer.masked_indices
    optimizer.hold_masks_of(indices)
    assert optimizer._gradient_average is average
    optimizer.hold_masks_of(indices[:1])
    assert optimizer._gradient_average is not average
    assert optimizer._gradient_average.decay == 0.9


def test_a_batch_cannot_choose_among_weights_that_are_not_made_yet(monkeypatch):
    model = compiled(sparse(initial_masks="snip"))
    model.optimizer.build(model)
    monkeypatch.setattr(first_masks, "has_value", lambda variable: False)
    with pytest.raises(ValueError, match="only made in the first step.*initial_masks='snip'"):
        model.optimizer.begin_with_batch(lambda weights: [np.ones(w.shape) for w in weights])
