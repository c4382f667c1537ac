"""A file of a run under loss scaling loads in a process whose dtype policy adds none."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, assert_sparse, built, compiled, fit, sgd, sparse, toy_model
from steps_by_hand import go_on

import keras_sparse as ks
from keras_sparse.training.loss_scale_files import advice, values_inside

WITHOUT = pytest.mark.filterwarnings("ignore:The file is of a training with loss scaling")
OPTIMIZERS = {
    "SGD": lambda: sparse(),
    "AdamW with averages": lambda: sparse(inner=keras.optimizers.AdamW(0.01, use_ema=True)),
    "Adagrad": lambda: sparse(inner=keras.optimizers.Adagrad(0.01), gradient_momentum=0.9),
    "no seed": lambda: sparse(grow="random", seed=None),
}
MODELS = {"dense": toy_model, "sparse": lambda: ks.sparsify(toy_model(), verbose=False)}


def trained(policy, optimizer=None, model=toy_model):
    """It has made a few steps and an update of its masks."""
    model = untrained(policy, optimizer, model)
    ks.sparse_optimizer(model).build(model)
    model.optimizer.build(model.trainable_variables)
    go_on(model)
    return model


def untrained(policy, optimizer=None, model=toy_model):
    """A model of float16 layers whose optimizer Keras has put into a LossScaleOptimizer."""
    policy("mixed_float16")
    model = compiled(optimizer or sparse(), model())
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    return model


def saved_and_loaded(model, policy, path, name="float32"):
    model.save(path)
    policy(name)
    return keras.saving.load_model(path)


def assert_same_maps(one, other):
    assert_same(list(one.values()), list(other.values()))  # loaded paths lack the model's name


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_masks_momenta_and_steps_are_the_files(policy, tmp_path, name, model):
    before = trained(policy, OPTIMIZERS[name](), MODELS[model])
    with pytest.warns(UserWarning, match="training goes on without loss scaling") as warned:
        after = saved_and_loaded(before, policy, tmp_path / "model.keras")
    assert [one.category for one in warned].count(UserWarning) == 1  # Keras skips nothing
    old, new = ks.sparse_optimizer(before), after.optimizer
    assert type(new) is ks.SparseMomentum
    assert_same_maps(new.masks, old.masks)
    assert_same_maps(new.explored, old.explored)
    assert (new.step(), new.seed) == (3, old.seed)
    for one, other in zip(new.variables, old.variables, strict=True):
        np.testing.assert_array_equal(array(one), array(other), one.path)
    x = np.ones((2, 8), "float32")
    np.testing.assert_array_equal(array(after(x)), array(before(x)))


@WITHOUT
def test_it_trains_on_with_masks(policy, tmp_path):
    after = saved_and_loaded(trained(policy), policy, tmp_path / "model.keras")
    masks = after.optimizer.masks
    fit(after, ks.UpdateMasks(), epochs=4, initial_epoch=2)
    assert_sparse(after, count=48)
    assert after.optimizer.step() == 3 + 8
    assert any((masks[name] != mask).any() for name, mask in after.optimizer.masks.items())


@WITHOUT
@pytest.mark.parametrize("snip", [False, True])
def test_a_model_that_was_saved_before_it_trained_begins(policy, tmp_path, snip):
    kind = {"initial_masks": "snip"} if snip else {}
    before = untrained(policy, sparse(**kind))
    after = saved_and_loaded(before, policy, tmp_path / "model.keras")
    fit(after, ks.UpdateMasks(), epochs=2)
    assert_sparse(after, count=48)
    assert after.optimizer.step() == 8


@WITHOUT
def test_masks_of_snip_come_from_the_file(policy, tmp_path):
    before = untrained(policy, sparse(initial_masks="snip"))
    fit(before, ks.UpdateMasks(), epochs=2)
    after = saved_and_loaded(before, policy, tmp_path / "model.keras")
    assert_same_maps(after.optimizer.masks, ks.sparse_optimizer(before).masks)


@WITHOUT
def test_an_optimizer_that_is_not_built_takes_them_when_it_is(policy, tmp_path):
    before = trained(policy)
    before.save_weights(tmp_path / "run.weights.h5")
    policy("float32")
    after = compiled()
    after.load_weights(tmp_path / "run.weights.h5")
    after.optimizer.build(after)
    assert_same_maps(after.optimizer.masks, ks.sparse_optimizer(before).masks)
    assert after.optimizer.step() == 3


def test_a_file_loads_under_its_own_policy_with_its_loss_scale(policy, tmp_path):
    before = trained(policy)
    after = saved_and_loaded(before, policy, tmp_path / "model.keras", "mixed_float16")
    for one, other in zip(after.optimizer.variables, before.optimizer.variables, strict=True):
        np.testing.assert_array_equal(array(one), array(other), one.path)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")  # Keras' own
def test_a_run_without_loss_scaling_says_why_it_does_not_load_with_it(policy, tmp_path):
    model = built()
    go_on(model)
    with pytest.raises(ValueError, match="must be loaded under that run's dtype policy"):
        saved_and_loaded(model, policy, tmp_path / "model.keras", "mixed_float16")


# --- by hand

SCALE = [np.int32(8), np.float32(0.1), np.int32(3), np.float32(1024.0)]  # Keras' own four values
MOMENTUM = np.ones((2, 3), "float32")


def store_of(*values):
    return {str(i): np.asarray(value) for i, value in enumerate(values)}


@pytest.mark.parametrize(
    "store",
    [
        {"record": np.ones(3), "mask_0": np.ones(3), "a": 1, "b": 2, "c": 3},
        store_of(*SCALE),
        {**store_of(*SCALE, MOMENTUM), "seed": np.int32(1)},
        store_of(SCALE[1], *SCALE[1:], MOMENTUM),
        store_of(*SCALE[:3], SCALE[0], MOMENTUM),
        store_of(np.ones(2, "int32"), *SCALE[1:], MOMENTUM),
    ],
)
def test_other_stores_are_not_of_a_loss_scale_optimizer(store):
    assert values_inside(store, []) is None  # and nothing is warned of


@WITHOUT
def test_what_comes_after_its_own_values_is_of_the_optimizer_inside():
    found = values_inside(store_of(*SCALE, MOMENTUM, np.int32(5)), [None])
    assert [value.tolist() for value in found] == [MOMENTUM.tolist(), 5]
    assert values_inside(store_of(*SCALE, np.int32(5), np.float32(0.1)), [None]) == []


@WITHOUT
def test_the_optimizers_inside_load_what_is_at_their_place_if_there_is_something():
    inner = sgd()
    inner.build([keras.Variable(np.zeros((2, 3)))])
    values_inside(store_of(*SCALE, MOMENTUM), [None, inner])
    inner.load_own_variables({"mask_0": MOMENTUM})
    assert not array(inner.momentums[0]).any()
    inner.load_own_variables(store_of(np.int32(5), np.float32(0.25), MOMENTUM))
    assert (int(array(inner.iterations)), float(array(inner.learning_rate))) == (5, 0.25)
    np.testing.assert_array_equal(array(inner.momentums[0]), MOMENTUM)


def test_only_under_loss_scaling_a_file_without_masks_may_have_them_elsewhere(policy):
    assert advice() == ""
    policy("mixed_float16")
    assert "must be loaded under that run's dtype policy" in advice()
