"""The presets whose density moves, trained: their counts, and that nothing disturbs them."""

import itertools

import keras
import numpy as np
import pytest
from backends import each
from helpers import (
    Interrupt,
    array,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    toy_model,
)
from test_custom_loops import custom_loop

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


def numbered():
    """Weights of the hidden layer are 1 ... 128, those of the head 1001 ... 1064."""
    model = toy_model()
    model.get_layer("hidden").kernel.assign(np.arange(1.0, 129).reshape(8, 16))
    model.get_layer("head").kernel.assign(-np.arange(1001.0, 1065).reshape(16, 4))
    return model


@backend
def test_initial_masks_by_magnitude_of_all_layers():
    model = compiled(
        ks.StaticSparsity(sgd(), 0.375, initial_masks="magnitude", scope="global"),
        numbered(),
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


def test_blocks_compete_as_a_whole():
    model, _ = recorded(MAKE["global"](block_shape=(4, 4)), every=1)
    for mask in model.optimizer.masks.values():
        ks.Blocks(4, 4).check_whole("mask", mask)
    assert_sparse(model, count=48)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ks.RigL("sgd", 0.1, scope="all"), "`scope` must be one of .*scope='all'"),
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
        return compiled(MAKE[name](), ks.sparsify(toy_model()))

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
    for epoch in range(4):
        if epoch:
            optimizer.update_masks()
        custom_loop(models[1], 4)
    assert_same(models[1].get_weights(), models[0].get_weights())


@backend
@each_preset
def test_blocks_in_sparse_layers_and_long_executions(name):
    optimizer = MAKE[name](block_shape=(4, 4))
    model, _ = recorded(optimizer, model=ks.sparsify(toy_model()), epochs=6, steps_per_execution=2)
    assert_sparse(model, count=48)
    for mask in optimizer.masks.values():
        ks.Blocks(4, 4).check_whole("mask", mask)


# --- AC/DC


DENSE, SPARSE = 192, 48


@backend
@pytest.mark.parametrize("convert", [lambda model: model, ks.sparsify], ids=["keras", "sparse"])
def test_dense_and_sparse_phases_alternate_and_masks_stay_within_a_phase(convert):
    optimizer = ks.ACDC(keras.optimizers.SGD(0.3, momentum=0.9), 0.25, borders=BORDERS)
    model, recorder = recorded(optimizer, epochs=6, model=convert(toy_model()))
    phases = [DENSE] * 4 + [SPARSE] * 4 + [DENSE] * 10 + [SPARSE] * 6
    assert recorder.counts() == phases
    for phase in (slice(4, 8), slice(18, 24)):
        masks = recorder.masks[phase]
        assert all(grown(masks[0], mask) == 0 for mask in masks)
    assert grown(recorder.masks[7], recorder.masks[18]) > 0  # the second choice is another
    assert_sparse(model, count=SPARSE)


@backend
def test_a_sparse_phase_begins_with_the_largest_weights_of_all_layers():
    model = compiled(MAKE["ACDC"](), numbered())
    optimizer = model.optimizer
    optimizer.build(model)
    optimizer.start_training(12)
    optimizer.iterations.assign(2)
    optimizer.update_masks()
    wanted = ks.prune(numbered(), 0.25, scope="global")
    assert_same(list(optimizer.masks.values()), list(wanted.values()))
    np.testing.assert_array_equal(array(model.get_layer("head").kernel) != 0, wanted[HEAD])
    optimizer.iterations.assign(3)
    optimizer.update_masks()  # in the middle of the phase
    assert_same(list(optimizer.masks.values()), list(wanted.values()))


OPTIMIZERS = {
    "SGD": sgd,
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.9),
    "Lion": lambda: keras.optimizers.Lion(0.001),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
    "Muon": lambda: keras.optimizers.Muon(0.01),
}


@each("name", OPTIMIZERS, on_jax=["SGD", "Adam", "Muon"])
def test_a_dense_phase_begins_with_zeros_and_without_momenta(name):
    model = compiled(ks.ACDC(OPTIMIZERS[name](), 0.25, borders=BORDERS, seed=0))
    optimizer = model.optimizer
    optimizer.build(model)
    fit(model, ks.UpdateMasks(10**6), epochs=1)
    optimizer.start_training(24, begun_at=0)
    optimizer.update_masks()  # step 4: sparse
    assert_sparse(model, count=SPARSE)
    assert any(ks.momentum_of(optimizer.inner_optimizer, i).any() for i in range(4))
    optimizer.iterations.assign(8)
    weights = model.get_weights()
    optimizer.update_masks()
    assert optimizer.total_density() == 1.0
    assert_same(model.get_weights(), weights)
    assert not any(ks.momentum_of(optimizer.inner_optimizer, i).any() for i in range(4))


@pytest.mark.parametrize(
    ("inner", "steps"),
    [(sgd, 0), (lambda: keras.optimizers.Adam(), np.inf), (lambda: keras.optimizers.Lion(), 0)],
)
def test_missing_weights_need_gradients_only_for_a_second_moment(inner, steps):
    assert ks.ACDC(inner(), 0.1).growth_window_steps() == steps


def test_each_fit_is_a_training_that_begins_dense():
    model, recorder = recorded(MAKE["ACDC"](), epochs=2)
    fit(model, ks.UpdateMasks(), recorder, epochs=3)
    assert recorder.counts() == [DENSE] * 2 + [SPARSE] * 2 + [DENSE] * 5 + [SPARSE] * 3


def test_phases_shorter_than_an_execution_end_at_the_density():
    model, recorder = recorded(MAKE["ACDC"](), epochs=2, steps_per_execution=4)
    assert recorder.counts() == [DENSE, SPARSE]  # at the ends of executions
    assert_sparse(model, count=SPARSE)


def test_weights_of_a_sparse_phase_that_are_put_back_bring_their_masks():
    """The best epoch is the second, which is sparse; the fourth, dense, is the last."""
    stopping = keras.callbacks.EarlyStopping(
        "score",
        patience=2,
        mode="max",
        restore_best_weights=True,
    )
    model = compiled(MAKE["ACDC"]())
    fit(model, ks.UpdateMasks(), Scores([1, 2, 0, 0]), stopping, epochs=6)
    assert model.optimizer.step() == 16
    assert_sparse(model, count=SPARSE)


class Scores(keras.callbacks.Callback):
    """Logs a score for each epoch."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.scores[epoch]


def test_a_training_stopped_in_a_dense_phase_is_told():
    model = compiled(MAKE["ACDC"]())
    with pytest.warns(UserWarning, match="a density of 1 where 0.25 was asked for.*12 of"):
        fit(model, ks.UpdateMasks(), Stop(), epochs=6)


class Stop(keras.callbacks.Callback):
    """Ends the training after its third epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 2


@pytest.mark.parametrize(
    "borders",
    [(), (0.1, 0.2), (0.2, 0.1, 0.3), (0.1, 0.1, 0.2), (0.1, 0.2, 1.0), (-0.1,), 0.5],
)
def test_borders_that_cannot_be(borders):
    with pytest.raises(ValueError, match="`borders` must be an odd number of ascending values"):
        ks.ACDC("sgd", 0.1, borders=borders)


def test_a_schedule_of_phases_is_taken_as_it_is():
    schedule = ks.AlternatingOverTraining(0.1, (0.5,))
    assert ks.ACDC("sgd", schedule).density is schedule
    with pytest.raises(ValueError, match="The schedule has borders of its own"):
        ks.ACDC("sgd", schedule, borders=(0.1,))
    with pytest.raises(ValueError, match="or an AlternatingOverTraining: others never rise"):
        ks.ACDC("sgd", ks.CubicOverTraining(0.1))


def test_the_phases_of_the_papers():
    first_epochs = ks.ACDC("sgd", 0.1).density.first_steps(0, 100)
    assert first_epochs == [0, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 85]


def test_a_step_is_in_the_phase_that_begins_with_it():
    for steps in range(1, 200):
        schedule = ks.AlternatingOverTraining(0.1)
        first = schedule.first_steps(7, 7 + steps)
        for step in range(steps):
            begun = sum(7 + step >= border for border in first)  # the first is the start
            assert schedule(step / steps) == (1.0 if begun % 2 else 0.1)
