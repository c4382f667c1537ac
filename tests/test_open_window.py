"""When the growth window is open: before an update in `fit`, else until you close it."""

import keras
import numpy as np
import pytest
from helpers import STEPS, Interrupt, array, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training import open_window

backend = pytest.mark.backend


def sparse_toy(optimizer=None, **arguments):
    """A toy model of sparse layers, and its optimizer."""
    return compiled(optimizer or sparse(), ks.sparsify(toy_model()), **arguments)


class Flags(keras.callbacks.Callback):
    """Records the steps in which missing weights got gradients; list it after UpdateMasks."""

    def __init__(self):
        super().__init__()
        self.open = []

    def on_train_batch_begin(self, batch, logs=None):
        flags = {bool(array(layer.dense_weight_gradient)) for layer in self.model.layers}
        optimizer = ks.training.find_optimizer.sparse_momentum_of(self.model)
        assert (
            flags
            == {bool(array(optimizer.growth_window_open))}
            == {optimizer.counter("window_opened") >= 0}
        )
        if flags == {True}:
            self.open.append(optimizer.step())


def open_steps(optimizer, *callbacks, every=None, epochs=3, execution=1):
    flags = Flags()
    fit(
        sparse_toy(optimizer, steps_per_execution=execution),
        ks.UpdateMasks(every=every),
        *callbacks,
        flags,
        epochs=epochs,
    )
    return flags.open


# --- when the layers' flags are open, in `fit`


@backend
@pytest.mark.parametrize(
    ("settings", "every", "execution", "expected"),
    [
        (
            {"growth_window": 2},
            None,
            1,
            [2, 3, 6, 7, 10, 11],
        ),  # the next `fit` begins with an update
        ({"growth_window": 2}, 5, 1, [3, 4, 8, 9]),
        ({"growth_window": 2}, 6, 1, [4, 5, 10, 11]),
        ({"growth_window": 2}, None, 2, [2, 6, 10]),  # first steps of executions
        ({"growth_window": 3}, None, 2, [0, 2, 4, 6, 8, 10]),
        ({"growth_window": None}, None, 1, list(range(12))),
        ({}, None, 1, list(range(12))),  # 50 steps are more than an epoch
        ({"grow": "gradient", "redistribute": None}, None, 1, [3, 7, 11]),
        ({"grow": "random", "redistribute": None}, None, 1, []),
        ({"grow": "random", "redistribute": None}, 3, 1, []),
    ],
)
def test_open_before_an_update_and_closed_after(settings, every, execution, expected):
    assert open_steps(sparse(**settings), every=every, execution=execution) == expected


def test_accumulated_gradients_count_once():
    inner = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    assert sorted(set(open_steps(sparse(inner=inner, growth_window=1), epochs=4))) == [1, 3, 5, 7]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_an_epoch_of_unknown_length_is_open():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    flags, model = Flags(), sparse_toy(sparse(growth_window=1))
    model.fit(data, epochs=3, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(), flags])
    assert set(flags.open) == set(range(15))  # it may end with any step


@backend
def test_early_stopping_leaves_masks_that_fit_and_the_next_training_goes_on(updates):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = sparse_toy(sparse(growth_window=2))
    fit(model, ks.UpdateMasks(), Stop(), epochs=5)
    assert updates == [4]
    fit(
        model, ks.UpdateMasks(), epochs=2
    )  # the window was open when the first one stopped: it updates at once
    assert updates == [4, 8, 12]


@backend
def test_a_second_training_begins_with_an_update(updates):
    model = sparse_toy()
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=3)
    assert updates == [4, 8, 12, 16]


@backend
@pytest.mark.parametrize("initial_epoch", [False, True])
def test_trainings_of_one_epoch_in_a_loop_update_the_masks(updates, initial_epoch):
    model, flags, callback = sparse_toy(sparse(growth_window=1)), Flags(), ks.UpdateMasks("epoch")
    with pytest.warns(
        UserWarning, match="will not be updated in this training"
    ):  # true of the first
        fit(model, callback, flags, epochs=1)
    for epoch in (1, 2):
        span = {"initial_epoch": epoch, "epochs": epoch + 1} if initial_epoch else {"epochs": 1}
        fit(model, callback, flags, **span)
    assert updates == [4, 8]
    assert flags.open == [3, 7, 11]  # a window a `fit`
    assert callback.history["step"] == [4, 8, 12]


@backend
def test_a_window_that_was_closed_when_an_update_was_due_opens_and_the_update_follows(updates):
    model, flags = sparse_toy(sparse(growth_window=2)), Flags()
    fit(model, ks.UpdateMasks(), epochs=2)
    model.optimizer.open_growth_window(
        False
    )  # as files of trainings that ended without one have it
    fit(model, ks.UpdateMasks(), flags, epochs=2)
    assert updates == [4, 10, 12]
    assert flags.open == [8, 9, 10, 11, 14, 15]


@backend
def test_without_sparse_layers_every_gradient_is_dense_and_nothing_changes(updates):
    model = compiled(sparse(growth_window=1))
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=2)
    assert updates == [4, 8, 12]


@backend
@pytest.mark.parametrize("growth_window", [2, "auto"])
def test_a_resumed_training_is_the_undisturbed_one(tmp_path, growth_window):
    def train(*callbacks):
        keras.utils.set_random_seed(0)
        model = sparse_toy(sparse(growth_window=growth_window))
        fit(model, ks.UpdateMasks(), *callbacks, epochs=4)
        return model

    undisturbed = train()
    with pytest.raises(KeyboardInterrupt):
        train(
            keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
            Interrupt(2, 1),
        )
    resumed = train(keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    for one, other in zip(resumed.get_weights(), undisturbed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed.optimizer.counter("last_update") == 3 * STEPS


# --- in a loop of your own


@backend
def test_in_a_loop_it_is_open_until_you_close_it():
    model = sparse_toy()
    optimizer = model.optimizer
    optimizer.build(model)
    flags = [layer.dense_weight_gradient for layer in model.layers]
    assert all(map(array, flags))
    optimizer.open_growth_window(False)
    assert not any(map(array, flags))
    with pytest.raises(
        ValueError,
        match=r"The growth window is closed.*"
        r"`optimizer.open_growth_window\(True\)` 50 steps before",
    ):
        optimizer.update_masks()
    optimizer.open_growth_window(True)
    assert all(map(array, flags))


@backend
def test_a_closed_window_is_saved(tmp_path):
    model = sparse_toy()
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)
    model.save_weights(tmp_path / "m.weights.h5")
    other = sparse_toy()
    other.optimizer.build(other)
    other.load_weights(tmp_path / "m.weights.h5")
    assert not array(other.optimizer.growth_window_open)
    assert not any(array(layer.dense_weight_gradient) for layer in other.layers)


# --- the optimizer without a training


def test_a_closed_window_of_sparse_layers_forbids_updates():
    model = sparse_toy()
    optimizer = model.optimizer
    optimizer.build(model)
    assert optimizer.window_opened() == 0
    optimizer.iterations.assign(3)
    optimizer.open_growth_window(True)
    assert optimizer.window_opened() == 0  # it was open before
    optimizer.iterations.assign(0)
    optimizer.open_growth_window(False)
    assert (optimizer.window_opened(), optimizer.can_grow()) == (-1, False)
    with pytest.raises(ValueError, match="The growth window is closed.*at step 0"):
        optimizer.update_masks()


@pytest.mark.parametrize(("make", "convert"), [(ks.SET, ks.sparsify), (ks.SparseMomentum, None)])
def test_random_growth_and_dense_layers_need_no_window(make, convert):
    model = toy_model() if convert is None else convert(toy_model())
    optimizer = compiled(make(sgd(), 0.25), model).optimizer
    optimizer.build(model)
    optimizer.open_growth_window(False)
    assert (optimizer.window_opened(), optimizer.can_grow()) == (0, True)


@pytest.mark.parametrize(("make", "is_open"), [(ks.SET, False), (ks.RigL, True)])
def test_a_run_begins_with_a_window_that_is_open_if_something_grows_by_gradients(make, is_open):
    model = sparse_toy(make(sgd(), 0.25))
    model.optimizer.build(model)
    assert bool(array(model.optimizer.growth_window_open)) is is_open
    assert {bool(array(layer.dense_weight_gradient)) for layer in model.layers} == {is_open}


def test_a_window_that_closes_gives_the_memory_of_dense_gradients_back(monkeypatch):
    model, released = sparse_toy(), []
    model.optimizer.build(model)
    monkeypatch.setattr(open_window, "release_memory", released.append)
    for is_open in (True, False, False, True):
        model.optimizer.open_growth_window(is_open)
    assert released == [4 * 192]  # bytes of the masked weights
