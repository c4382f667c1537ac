"""What is saved of a sparse run, and what may be loaded into one."""

import types

import keras
import numpy as np
import pytest
from helpers import (
    active,
    array,
    arrays,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sgd,
    toy_data,
    toy_model,
)
from steps_by_hand import go_on, training_by_hand

import keras_sparse as ks
from keras_sparse.training.checkpoint import SavedMask, SavedState

backend = pytest.mark.backend
HIDDEN = "toy/hidden/kernel"


def trained(model=None):
    """A model, or a toy model, after six steps and two mask updates."""
    model = model or compiled()
    assert list(training_by_hand(model.optimizer, model, steps=6, every=2)) == [0, 2, 4]
    return model


# --- state


@backend
def test_every_variable_is_listed_once_and_none_is_trained():
    model = built(gradient_momentum=0.9, seed=None)
    variables = model.optimizer.variables
    assert not any(variable.trainable for variable in variables)
    assert len({id(variable) for variable in variables}) == len(variables)
    names = [variable.path for variable in variables]
    assert {id(variable) for variable in model.optimizer.inner_optimizer.variables} < {
        id(variable) for variable in variables
    }
    assert sum("mask" in name for name in names) == 2
    assert sum("gradient_average" in name.split("/")[-1] for name in names) == 2


@backend
def test_weights_alone_carry_the_masks(tmp_path):
    model = trained()
    model.save_weights(tmp_path / "all.weights.h5")
    other = built(seed=1)
    other.load_weights(tmp_path / "all.weights.h5")
    assert_same(arrays(other.optimizer.variables), arrays(model.optimizer.variables))
    assert_same(other.get_weights(), model.get_weights())


def test_tensorflow_checkpoints_carry_the_masks(tmp_path):
    import tensorflow as tf

    model = trained()
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(
        str(tmp_path / "checkpoint")
    )
    other = built(seed=1)
    tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(
        path
    ).assert_existing_objects_matched()
    assert_same(go_on(other), go_on(model))


def test_a_checkpoint_without_masks_says_what_to_do_and_it_works(tmp_path):
    sparse = trained()
    expected = sparse.optimizer.masks
    sparse.compile(sgd(), "mse")
    sparse.optimizer.build(sparse.trainable_variables)
    sparse.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(
        ValueError, match='holds no masks and this is a sparse run.*initial_masks="nonzero"'
    ):
        built().load_weights(tmp_path / "plain.weights.h5")
    recovered = compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="nonzero"))
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):  # Keras' own
        recovered.load_weights(
            tmp_path / "plain.weights.h5"
        )  # before the optimizer is built, as the message says
    fit(recovered, ks.UpdateMasks(every=3), epochs=1)
    assert active(recovered.optimizer) == sum(int(mask.sum()) for mask in expected.values())


@backend
def test_weights_loaded_before_the_optimizer_is_built_bring_their_masks(tmp_path):
    """keras_tuner's get_best_models does so."""
    model = trained()
    model.save_weights(tmp_path / "sparse.weights.h5")
    other = compiled(ks.SparseMomentum(sgd(), 0.25, seed=1))
    with pytest.warns(
        UserWarning, match="Skipping variable loading for optimizer 'sgd"
    ):  # Keras' own
        other.load_weights(tmp_path / "sparse.weights.h5")
    x, _ = toy_data()
    assert_same([array(other(x))], [array(model(x))])
    other.save_weights(tmp_path / "again.weights.h5")  # the masks that wait are not lost
    other = compiled(ks.SparseMomentum(sgd(), 0.25, seed=1))
    other.load_weights(tmp_path / "again.weights.h5")
    other.optimizer.build(other)
    assert_same(list(other.optimizer.masks.values()), list(model.optimizer.masks.values()))
    assert_same(other.get_weights(), model.get_weights())
    fit(other, ks.UpdateMasks())
    assert_sparse(other, count=48)


def test_masks_of_another_model_are_refused():
    one = built()
    store = {}
    one.optimizer.save_own_variables(store)
    other = compiled(model=toy_model(outputs=5))
    other.optimizer.build(other)
    with pytest.raises(
        ValueError,
        match=r"masks are of another model: no mask fits 'toy/head/kernel' of shape \(16, 5\).*"
        r"mask_2 of shape \(16, 4\) for 'toy/head/kernel'; the weights",
    ):
        other.optimizer.load_own_variables(store)


@backend
def test_a_checkpoint_says_which_weights_are_masked(tmp_path):
    one = trained(built(dense="head"))
    one.save_weights(tmp_path / "one.weights.h5")
    model = built()
    model.load_weights(tmp_path / "one.weights.h5")
    assert list(model.optimizer.masks) == [HIDDEN]
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=32)


@backend
def test_compiling_again_with_the_same_optimizer_keeps_the_masks():
    model = trained()
    before = model.optimizer.masks
    model.compile(model.optimizer, "mae")
    assert_same(list(model.optimizer.masks.values()), list(before.values()))
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


def test_weights_that_are_not_of_this_run_are_refused():
    model = trained()
    model.set_weights(toy_model().get_weights())
    with pytest.raises(
        ValueError,
        match="not those of this sparse run: 192 of them are not zero and the masks have 48 active",
    ):
        fit(model, ks.UpdateMasks())


@backend
def test_set_weights_sets_what_is_delegated_too():
    model, other = trained(), compiled()
    values = arrays(model.optimizer.variables)
    other.optimizer.build(other)
    other.optimizer.set_weights(values)
    assert_same(arrays(other.optimizer.variables), values)
    with pytest.raises(
        ValueError,
        match=rf"one array for each of the {len(values)} variables. "
        rf"Received: {len(values) - 1} arrays",
    ):
        other.optimizer.set_weights(values[1:])


@backend
def test_weights_of_one_path_keep_masks_of_their_own(tmp_path):
    """Loading drops names of nested Sequentials: a/d/kernel and b/d/kernel become d/kernel."""

    def part(name):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="d")], name=name)

    inputs = keras.Input((8,))
    model = trained(compiled(model=keras.Model(inputs, part("b")(part("a")(inputs)))))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    callback = ks.UpdateMasks()
    fit(loaded, callback, data=toy_data(outputs=8))
    assert_sparse(loaded, count=32)
    assert len(callback.history) == 4  # "step", "exploration_rate" and two masks


# --- files of the first version, without paths


def masks_without_paths(*shapes):
    masks = [SavedMask(i, None, np.ones(shape, bool)) for i, shape in enumerate(shapes)]
    return SavedState(masks, {}, None)


def test_a_shape_that_one_weight_has_tells_its_mask():
    state = masks_without_paths((2, 3))
    weights = [keras.Variable("zeros", shape) for shape in ((4, 4), (2, 3))]
    found = state.masks_for(weights, chosen=[1])
    assert found == {1: state.masks[0]}


def test_a_shape_that_two_weights_have_tells_nothing():
    weights = [keras.Variable("zeros", shape) for shape in ((4, 4), (2, 3), (2, 3))]
    with pytest.raises(ValueError, match=r"no mask fits.*mask_0 of shape \(2, 3\); the weights"):
        masks_without_paths((2, 3)).masks_for(weights, chosen=[1])


def test_a_weight_of_a_masked_path_and_another_shape_was_not_dense():
    masks = [SavedMask(0, "a", np.ones((4, 4), bool)), SavedMask(2, "b", np.ones((2, 2), bool))]
    trainable = [("a", (4, 4)), ("a", (3, 3)), ("b", (2, 2)), ("c", (5, 5))]
    state = SavedState(masks, {}, trainable)

    def variables(*paths_and_shapes):
        return [types.SimpleNamespace(path=path, shape=shape) for path, shape in paths_and_shapes]

    with pytest.raises(ValueError, match=r"no mask fits 'a' of shape \(3, 3\)"):
        state.masks_for(variables(("a", (3, 3))), [0])
    assert state.masks_for(variables(("c", (5, 5)), ("b", (2, 2))), [0, 1]) == {1: masks[1]}


def test_a_mask_of_a_weight_that_is_no_more_is_not_of_this_list():
    of_two = [types.SimpleNamespace(shape=(4, 4))] * 2
    masks = [SavedMask(index, None, np.ones((4, 4), bool)) for index in (1, 2)]
    assert SavedState(masks[:1], {}).is_list_of(of_two)
    assert not SavedState(masks, {}).is_list_of(of_two)


def test_the_same_path_wins_over_one_that_ends_like_it():
    shape = (2, 2)
    masks = [SavedMask(i, path, np.ones(shape, bool)) for i, path in enumerate(("a/k", "b/a/k"))]
    state = SavedState(masks, {}, [("a/k", shape), ("b/a/k", shape), ("c", (3,))])
    variables = [types.SimpleNamespace(path="a/k", shape=shape)]
    assert state.masks_for(variables, [0]) == {0: masks[0]}


@pytest.mark.parametrize(
    ("explored", "names"),
    [(None, set()), ([True, False, False], set()), ([True, False, True], {"explored_0"})],
)
def test_what_was_explored_is_written_where_it_is_more_than_the_mask(explored, names):
    store, mask = {}, np.array([True, False, False])
    bits = None if explored is None else np.packbits(explored)
    SavedState([SavedMask(0, "a", mask, bits)], {}, []).write(store)
    assert set(store) == {"record", "mask_0"} | names
