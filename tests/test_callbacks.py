"""UpdateMasks: when masks change in ``fit``."""

import keras
import pytest
from helpers import (
    STEPS,
    Interrupt,
    Recorder,
    assert_sparse,
    built,
    compiled,
    fit,
    sparse,
    toy_data,
)

import keras_sparse as ks
from keras_sparse.training import sensitivities

backend = pytest.mark.backend


# --- when


@backend
def test_by_default_masks_change_where_every_epoch_but_the_first_begins(updates):
    recorder = Recorder()
    fit(compiled(sparse()), ks.UpdateMasks(), recorder, epochs=4)
    assert updates == [STEPS, 2 * STEPS, 3 * STEPS]
    assert recorder.changes() == [("epoch begin", step) for step in updates]


@backend
@pytest.mark.parametrize(
    ("every", "execution", "expected"),
    [
        (3, 1, [3, 6, 9, 12, 15]),
        (3, 2, [4, 6, 10, 12]),
        (5, 4, [8, 12]),
        (100, 1, []),
    ],
)
def test_every_so_many_steps(updates, every, execution, expected):
    callback = ks.UpdateMasks(every=every)
    model = compiled(sparse(), steps_per_execution=execution)
    if expected:
        fit(model, callback, epochs=4)
    else:
        with pytest.warns(
            UserWarning, match="will not be updated in this training.*every=100, epochs=4, steps=4"
        ):
            fit(model, callback, epochs=4)
    assert (
        updates == expected
    )  # of 16 steps; what falls inside an execution is made up for at its end


def test_steps_per_execution_that_do_not_divide_the_epoch(updates):
    fit(
        compiled(sparse(), steps_per_execution=3), ks.UpdateMasks(every=2), epochs=3
    )  # executions of 3 and 1 steps
    assert updates == [3, 4, 7, 8, 11]


@backend
def test_masks_change_only_where_a_batch_begins():
    recorder = Recorder()
    fit(compiled(sparse()), ks.UpdateMasks(every=3), recorder, epochs=2)
    assert recorder.changes() == [("batch begin", 3), ("batch begin", 6)]


@pytest.mark.parametrize(("every", "expected"), [(None, [2, 4, 6]), (3, [3, 6])])
def test_accumulated_gradients_count_once(updates, every, expected):
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    model = compiled(ks.SparseMomentum(optimizer, 0.25))
    fit(model, ks.UpdateMasks(every=every), epochs=4)
    assert updates == expected
    assert model.optimizer.counter("training_stop") == 8


@backend
@pytest.mark.parametrize(
    ("every", "execution", "expected"),
    [
        (
            None,
            1,
            [2, 3, 6, 7, 10, 11],
        ),  # in the last epoch, too: the next `fit` begins with an update
        (5, 1, [3, 4, 8, 9]),
        (6, 4, [4, 8]),  # first steps of executions
    ],
)
def test_growth_window_opens_before_an_update_and_closes_after(every, execution, expected):
    recorder = Recorder()
    fit(
        compiled(sparse(growth_window=2), steps_per_execution=execution),
        ks.UpdateMasks(every=every),
        recorder,
        epochs=3,
    )
    assert recorder.open_steps() == expected


@backend
def test_without_a_growth_window_it_is_always_open():
    recorder = Recorder()
    fit(compiled(sparse(growth_window=None)), ks.UpdateMasks(), recorder, epochs=2)
    assert recorder.open_steps() == list(range(2 * STEPS))


def test_growth_window_counts_optimizer_steps():
    recorder, accumulation = Recorder(), 3
    optimizer = sparse(
        inner=keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=accumulation),
        growth_window=1,
    )
    fit(compiled(optimizer), ks.UpdateMasks(every=2), recorder, epochs=6)
    assert set(recorder.open_steps()) == set(range(1, 6 * STEPS // accumulation, 2))


ran_out = pytest.mark.filterwarnings(
    "ignore:Your input ran out of data"
)  # how Keras finds out how long it is


@ran_out
def test_data_of_unknown_length(updates):
    def batches():
        x, y = toy_data()
        for i in range(0, 32, 8):
            yield x[i : i + 8], y[i : i + 8]

    import tensorflow as tf

    spec = (tf.TensorSpec((None, 8)), tf.TensorSpec((None, 4)))
    model = compiled()
    model.fit(
        tf.data.Dataset.from_generator(batches, output_signature=spec),
        epochs=4,
        verbose=0,
        shuffle=False,
        callbacks=[ks.UpdateMasks()],
    )
    steps = (
        model.optimizer.step() // 4
    )  # 5, not 4: Keras counts the attempt that finds no data, too
    assert updates == [steps, 2 * steps, 3 * steps]
    assert model.optimizer.counter("training_stop") == 4 * steps  # known from the first epoch on
    assert_sparse(model, count=48)


@ran_out
def test_steps_of_an_unknown_length_need_a_schedule_that_needs_none():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="`prune_rate` follows the training.*steps_per_epoch"):
        compiled().fit(
            data, epochs=2, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(every=2)]
        )
    model = compiled(sparse())
    model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(every=2)])
    assert_sparse(model, count=48)


# --- the schedule follows the training


@backend
def test_prune_rate_follows_the_training():
    optimizer = sparse(prune_rate=ks.CosineOverTraining(0.5, 0.0))
    fit(compiled(optimizer), ks.UpdateMasks(every=3), epochs=4)
    assert (
        optimizer.counter("training_start"),
        optimizer.counter("training_stop"),
        optimizer.counter("epoch"),
    ) == (0, 16, 0)


@backend
def test_a_second_fit_is_a_training_of_its_own(updates):
    model = compiled()
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=3)
    assert (
        model.optimizer.counter("training_start"),
        model.optimizer.counter("training_stop"),
    ) == (8, 20)
    assert updates == [4, 8, 12, 16]  # at its beginning, too: 4 steps went by since the last
    assert_sparse(model, count=48)


@backend
def test_a_fit_after_an_interrupted_one_starts_over():
    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        fit(model, ks.UpdateMasks(), Interrupt(2, 1), epochs=4)
    steps = model.optimizer.step()
    fit(model, ks.UpdateMasks(), epochs=4)
    assert (
        model.optimizer.counter("training_start"),
        model.optimizer.counter("training_stop"),
    ) == (steps, steps + 16)
    assert_sparse(model, count=48)


# --- models that Keras builds while it trains


@pytest.mark.parametrize("every", [None, 3])
def test_a_model_without_input_shape(updates, every):
    model = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)])
    model.compile(sparse(), "mse")
    callback = ks.UpdateMasks(every=every)
    fit(model, callback)
    assert updates == ([4, 8] if every is None else [3, 6, 9])
    assert_sparse(model, count=48)
    assert model.optimizer.counter("training_stop") == 12
    assert callback.history["step"] == [4, 8, 12]


@backend
def test_layer_types_in_a_model_without_input_shape():
    model = keras.Sequential(
        [keras.layers.Dense(16, "tanh"), keras.layers.EinsumDense("ab,bc->ac", 4)]
    )
    model.compile(sparse(dense=keras.layers.EinsumDense), "mse")
    fit(model, ks.UpdateMasks())
    assert len(model.optimizer.masks) == 1
    assert_sparse(model, count=32)


def test_an_epoch_of_the_same_number_is_logged_again():
    model, callback = compiled(), ks.UpdateMasks()
    model.optimizer.build(model)
    callback.set_model(model)
    for _ in range(2):
        logs = {}
        callback.on_epoch_end(0, logs)
        assert logs["density"] == 0.25


def test_where_no_masks_wait_for_a_batch_none_is_looked_for(monkeypatch):
    callback, looked = ks.UpdateMasks(), []
    monkeypatch.setattr(sensitivities, "batch_of_running_fit", lambda: looked.append("for a batch"))
    callback.set_model(built())
    callback.set_params({"verbose": 0})
    callback.on_train_begin()
    assert not looked


def test_keras_on_jax_need_not_wait_for_the_loss_of_each_batch():
    of_keras = keras.callbacks.Callback
    assert ks.UpdateMasks.on_train_batch_end is of_keras.on_train_batch_end
    assert ks.UpdateMasks.on_batch_end is of_keras.on_batch_end
