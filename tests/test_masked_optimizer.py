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
from keras_sparse.training import first_masks

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
