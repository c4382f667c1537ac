"""The presets whose density moves, trained: their counts, and that nothing disturbs them."""

import itertools

import keras
import numpy as np
import pytest
from helpers import (
    Interrupt,
    array,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    numbered,
    sgd,
    toy_data,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"
BORDERS = (1 / 6, 1 / 3, 3 / 4)
MAKE = {
    "GraNet": lambda **settings: ks.GraNet(sgd(), 0.25, seed=0, **settings),
    "ACDC": lambda **settings: ks.ACDC(sgd(), 0.25, borders=BORDERS, seed=0, **settings),
    "global": lambda **settings: ks.GradualPruning(sgd(), 0.25, scope="global", seed=0, **settings),
}
each_preset = pytest.mark.parametrize("name", list(MAKE))


class MaskRecorder(keras.callbacks.Callback):
    """The masks of every step."""

    def on_train_begin(self, logs=None):
        self.masks = []

    def on_train_batch_end(self, batch, logs=None):
        self.masks.append(self.model.optimizer.masks)

    def counts(self):
        return [sum(int(mask.sum()) for mask in masks.values()) for masks in self.masks]


def recorded(optimizer, every="auto", epochs=4, model=None, **arguments):
    """(model, what was recorded) after 4 steps an epoch."""
    recorder = MaskRecorder()
    model = compiled(optimizer, model, **arguments)
    fit(model, ks.UpdateMasks(every), recorder, epochs=epochs)
    return model, recorder


def grown(before, after):
    return sum(int((after[path] & ~before[path]).sum()) for path in before)


# --- GraNet


@backend
@pytest.mark.parametrize(("scope", "grow"), [("layer", "momentum"), ("global", "gradient")])
def test_granet_follows_the_cubic_exactly_and_grows_in_every_update(scope, grow):
    _, recorder = recorded(MAKE["GraNet"](scope=scope, grow=grow), every=2)
    cubic = [0.25 + 0.25 * max(1 - step / 8, 0) ** 3 for step in range(0, 16, 2)]
    assert recorder.counts()[::2] == [round(192 * density) for density in cubic]
    for before, after in itertools.pairwise(recorder.masks[::2]):
        assert grown(before, after) > 0


def test_granet_starts_from_erk():
    model = compiled(ks.GraNet("sgd", 0.1))
    model.optimizer.build(model)
    counts = [int(mask.sum()) for mask in model.optimizer.masks.values()]
    assert counts == ks.density.erdos_renyi_kernel([(8, 16), (16, 4)], 0.5)


# --- one threshold for all layers


@backend
def test_initial_masks_by_magnitude_of_all_layers():
    model = compiled(
        ks.StaticSparsity(sgd(), 0.375, initial_masks="magnitude", scope="global"), numbered()
    )
    model.optimizer.build(model)
    masks = model.optimizer.masks  # 72 weights: those of the head and the 8 next
    assert masks[HEAD].all()
    np.testing.assert_array_equal(masks[HIDDEN].reshape(-1), np.arange(1, 129) > 120)


@backend
def test_a_falling_density_prunes_the_least_of_all_layers_and_empties_none():
    optimizer = ks.GradualPruning(keras.optimizers.SGD(0.0), 0.25, scope="global")
    _, recorder = recorded(optimizer, every=1, model=numbered())
    assert recorder.counts() == [round(192 * optimizer.density(step / 16)) for step in range(16)]
    masks = optimizer.masks
    assert (int(masks[HIDDEN].sum()), int(masks[HEAD].sum())) == (1, 47)
    assert masks[HIDDEN].reshape(-1)[127]
    assert_same(list(masks.values()), list(ks.prune(numbered(), 0.25, scope="global").values()))


def test_pruning_to_a_density_by_hand_is_global_too():
    model = compiled(ks.GradualPruning(sgd(), 0.1, scope="global"), numbered())
    model.optimizer.build(model)
    model.optimizer.prune_to_density(0.25)
    assert [int(mask.sum()) for mask in model.optimizer.masks.values()] == [1, 47]


def test_frozen_layers_do_not_compete():
    model = numbered()
    compiled(ks.GradualPruning(sgd(), 0.1, scope="global"), model).optimizer.build(model)
    model.get_layer("head").trainable = False
    model.optimizer.prune_to_density(0.25)
    assert [int(mask.sum()) for mask in model.optimizer.masks.values()] == [32, 64]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.RigL("sgd", 0.1, scope="all"), "`scope` must be .layer. or .*scope='all'"),
        (lambda: ks.RigL("sgd", 0.1, scope="global"), "nothing is pruned to one.*density=0.1"),
        (
            lambda: ks.GradualPruning("sgd", 0.1, scope="global", distribution="erk"),
            "leave out `distribution`. Received: distribution='erk'",
        ),
    ],
)
def test_a_scope_that_cannot_work(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_that_are_nan_are_refused_by_name_and_the_masks_stay():
    model = compiled(ks.GradualPruning(sgd(), 0.1, scope="global"))
    model.optimizer.build(model)
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.where(np.arange(16) == 3, np.nan, array(kernel)))
    with pytest.raises(ValueError, match="NaN in .*hidden"):
        model.optimizer.prune_to_density(0.25)
    assert model.optimizer.total_density() == 1.0


# --- nothing disturbs them


@backend
@each_preset
def test_a_training_that_is_resumed_is_the_undisturbed_one(name, tmp_path):
    def model():
        keras.utils.set_random_seed(0)
        return compiled(MAKE[name]())

    whole, resumed = model(), model()
    fit(whole, ks.UpdateMasks(), epochs=6)
    with pytest.raises(KeyboardInterrupt):
        fit(resumed, ks.UpdateMasks(), ks.BackupAndRestore(tmp_path), Interrupt(3), epochs=6)
    resumed = model()
    fit(resumed, ks.UpdateMasks(), ks.BackupAndRestore(tmp_path), epochs=6)
    assert_same(resumed.get_weights(), whole.get_weights())
    assert_same(list(resumed.optimizer.masks.values()), list(whole.optimizer.masks.values()))
    assert_sparse(whole, count=48)


@backend
@each_preset
def test_a_saved_model_knows_its_method(name, tmp_path):
    model = compiled(MAKE[name]())
    fit(model, ks.UpdateMasks(), epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for one in (model, loaded):
        fit(one, ks.UpdateMasks(), epochs=3)
    assert_same(loaded.get_weights(), model.get_weights())


@each_preset
def test_a_loop_of_your_own_equals_fit(name):
    keras.utils.set_random_seed(0)
    models = compiled(MAKE[name]()), compiled(MAKE[name]())
    models[1].set_weights(models[0].get_weights())
    fit(models[0], ks.UpdateMasks("epoch"), epochs=4)
    optimizer = models[1].optimizer
    optimizer.build(models[1])
    optimizer.start_training(16)
    x, y = toy_data()
    for step in range(16):
        if step and step % 4 == 0:
            optimizer.update_masks()
        batch = slice(step % 4 * 8, step % 4 * 8 + 8)
        models[1].train_on_batch(x[batch], y[batch])
        assert_masks_hold(optimizer)
    assert_same(models[1].get_weights(), models[0].get_weights())


@backend
@each_preset
def test_blocks_stay_whole_in_sparse_layers_and_long_executions(name):
    optimizer = MAKE[name](block_shape=(4, 4))
    model, _ = recorded(optimizer, model=ks.sparsify(toy_model()), epochs=6, steps_per_execution=2)
    assert_sparse(model, count=48)
    for mask in optimizer.masks.values():
        ks.Blocks(4, 4).check_whole("mask", mask)
