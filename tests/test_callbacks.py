"""UpdateMasks: when masks change in ``fit``, with which settings, and what is logged."""

import csv

import keras
import numpy as np
import pytest
from helpers import STEPS, Recorder, active, array, arrays, assert_same, assert_sparse, compiled, fit, sgd, toy_data

import keras_sparse as ks

backend = pytest.mark.backend
STEADY = {"prune_rate": 0.5}


def sparse(**settings):
    return ks.SparseMomentum(settings.pop("inner", None) or sgd(), settings.pop("density", 0.25), **{**STEADY, **settings})


# --- when


@backend
def test_by_default_every_epoch_but_the_first(updates):
    fit(compiled(), ks.UpdateMasks(), epochs=4)
    assert updates == [STEPS, 2 * STEPS, 3 * STEPS]


@backend
def test_masks_change_only_where_an_epoch_begins():
    recorder = Recorder()
    fit(compiled(sparse()), ks.UpdateMasks(), recorder, epochs=3)
    assert recorder.changes() == [("epoch begin", STEPS), ("epoch begin", 2 * STEPS)]


@backend
@pytest.mark.parametrize(
    ("every", "execution", "expected"),
    [
        (4, 1, [4, 8, 12]),
        (3, 1, [3, 6, 9, 12, 15]),
        (1, 1, list(range(1, 16))),
        (3, 2, [4, 6, 10, 12]),
        (3, 4, [4, 8, 12]),
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
        with pytest.warns(UserWarning, match="will not be updated in this training.*every=100, epochs=4, steps=4"):
            fit(model, callback, epochs=4)
    assert updates == expected  # of 16 steps; what falls inside an execution is made up for at its end


def test_steps_per_execution_that_do_not_divide_the_epoch(updates):
    fit(compiled(sparse(), steps_per_execution=3), ks.UpdateMasks(every=2), epochs=3)  # executions of 3 and 1 steps
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
        (None, 1, [2, 3, 6, 7]),  # no update after the last epoch: its window stays closed
        (5, 1, [3, 4, 8, 9]),
        (None, 2, [2, 6]),  # first steps of executions
        (6, 4, [4, 8]),
    ],
)
def test_growth_window_opens_before_an_update_and_closes_after(every, execution, expected):
    recorder = Recorder()
    fit(compiled(sparse(growth_window=2), steps_per_execution=execution), ks.UpdateMasks(every=every), recorder, epochs=3)
    assert recorder.open_steps() == expected


@backend
def test_without_a_growth_window_it_is_always_open():
    recorder = Recorder()
    fit(compiled(sparse()), ks.UpdateMasks(), recorder, epochs=2)
    assert recorder.open_steps() == list(range(2 * STEPS))


@pytest.mark.parametrize("accumulation", [2, 3])
def test_growth_window_counts_optimizer_steps(accumulation):
    recorder = Recorder()
    optimizer = sparse(inner=keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=accumulation), growth_window=1)
    fit(compiled(optimizer), ks.UpdateMasks(every=2), recorder, epochs=6)
    assert set(recorder.open_steps()) == {step for step in range(6 * STEPS // accumulation) if step % 2 == 1}


ran_out = pytest.mark.filterwarnings("ignore:Your input ran out of data")  # how Keras finds out how long it is


@ran_out
def test_data_of_unknown_length(updates):
    def batches():
        x, y = toy_data()
        for i in range(0, 32, 8):
            yield x[i : i + 8], y[i : i + 8]

    import tensorflow as tf

    spec = (tf.TensorSpec((None, 8)), tf.TensorSpec((None, 4)))
    model = compiled()
    model.fit(tf.data.Dataset.from_generator(batches, output_signature=spec), epochs=4, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks()])
    steps = model.optimizer.step() // 4  # 5, not 4: Keras counts the attempt that finds no data, too
    assert updates == [steps, 2 * steps, 3 * steps]
    assert model.optimizer.counter("training_stop") == 4 * steps  # known from the first epoch on
    assert_sparse(model, count=48)


@ran_out
def test_steps_of_an_unknown_length_need_a_schedule_that_needs_none():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="`prune_rate` follows the training.*steps_per_epoch"):
        compiled().fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(every=2)])
    model = compiled(sparse())
    model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(every=2)])
    assert_sparse(model, count=48)


# --- the schedule follows the training


@backend
@pytest.mark.parametrize("every", [None, 3])
def test_prune_rate_follows_the_training(every):
    optimizer = sparse(prune_rate=ks.CosineOverTraining(0.5, 0.0))
    fit(compiled(optimizer), ks.UpdateMasks(every=every), epochs=4)
    assert (optimizer.counter("training_start"), optimizer.counter("training_stop"), optimizer.counter("epoch")) == (0, 16, 0)


@backend
def test_a_second_fit_is_a_training_of_its_own(updates):
    model = compiled()
    fit(model, ks.UpdateMasks(), epochs=2)
    fit(model, ks.UpdateMasks(), epochs=3)
    assert (model.optimizer.counter("training_start"), model.optimizer.counter("training_stop")) == (8, 20)
    assert updates == [4, 8, 12, 16]  # at its beginning, too: 4 steps went by since the last
    assert_sparse(model, count=48)


class Interrupt(keras.callbacks.Callback):
    """Fails at the beginning of an epoch, or after a batch of it."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.now = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
        if self.at == (epoch, None):
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.at == (self.now, batch):
            raise KeyboardInterrupt


@backend
def test_a_fit_after_an_interrupted_one_starts_over():
    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        fit(model, ks.UpdateMasks(), Interrupt(2, 1), epochs=4)
    steps = model.optimizer.step()
    fit(model, ks.UpdateMasks(), epochs=4)
    assert (model.optimizer.counter("training_start"), model.optimizer.counter("training_stop")) == (steps, steps + 16)
    assert_sparse(model, count=48)


# --- whose settings


@backend
def test_callback_alone_wraps_the_optimizer(updates):
    model = compiled(sgd())
    callback = ks.UpdateMasks(density=0.25, prune_rate=0.5)
    fit(model, callback)
    assert type(model.optimizer) is ks.SparseMomentum
    assert_sparse(model, count=48)
    fit(model, callback)
    assert updates == [4, 8, 12, 16, 20]
    assert_sparse(model, count=48)


def test_callback_alone_is_the_same_as_the_wrapper():
    models = compiled(sgd()), compiled(sparse())
    models[1].set_weights(models[0].get_weights())
    fit(models[0], ks.UpdateMasks(density=0.25, **STEADY))
    fit(models[1], ks.UpdateMasks())
    assert_same(models[0].get_weights(), models[1].get_weights())


@backend
def test_callback_alone_under_loss_scaling(policy):
    policy("mixed_float16")
    model = compiled(sgd())
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    fit(model, ks.UpdateMasks(density=0.25))
    assert type(model.optimizer.inner_optimizer) is ks.SparseMomentum
    assert_sparse(model, count=48)


def test_callback_alone_saves_and_loads(tmp_path):
    model = compiled(sgd())
    fit(model, ks.UpdateMasks(density=0.25))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_settings_in_two_places():
    with pytest.raises(ValueError, match="give them to one of the two.*'density'"):
        fit(compiled(), ks.UpdateMasks(density=0.5))
    with pytest.raises(ValueError, match=r"UpdateMasks\(density=...\).*Received: optimizer=SGD"):
        fit(compiled(sgd()), ks.UpdateMasks())


@pytest.mark.parametrize("every", [0, -1, 2.5, "batch", True])
def test_every_must_be_an_epoch_or_a_number(every):
    with pytest.raises(ValueError, match="`every` must be a positive integer. Received: every="):
        ks.UpdateMasks(every=every)


def test_bad_settings_fail_before_fit():
    with pytest.raises(ValueError, match="Received: density=2.0"):
        ks.UpdateMasks(density=2.0)
    with pytest.raises(TypeError, match="sparsity"):
        ks.UpdateMasks(sparsity=0.9)


# --- nothing is forgotten silently


@backend
def test_fit_without_the_callback_warns():
    model = compiled()
    with pytest.warns(UserWarning, match="`fit` has no UpdateMasks callback"):
        fit(model)
    assert_sparse(model, count=48)


@backend
@pytest.mark.parametrize("callbacks", [[], [ks.UpdateMasks()]])
def test_static_masks_warn_of_nothing(callbacks):
    model = compiled(ks.StaticSparsity(sgd(), 0.25))
    model.optimizer.build(model)
    before = list(model.optimizer.masks.values())
    fit(model, *callbacks, epochs=2)
    assert_same(list(model.optimizer.masks.values()), before)
    assert_sparse(model, count=48)


@pytest.mark.parametrize(("every", "epochs"), [(None, 1), ("epoch", 1), (4, 1), (100, 3)])
def test_a_training_too_short_for_an_update_warns(every, epochs):
    with pytest.warns(UserWarning, match=f"ends before the first update is due.*epochs={epochs}, steps=4"):
        fit(compiled(), ks.UpdateMasks(every=every), epochs=epochs)


def test_nan_in_momentum_names_the_layer_and_keeps_the_masks():
    model = compiled()
    fit(model, ks.UpdateMasks())
    model.optimizer.inner_optimizer.momentums[2].assign(np.full((16, 4), np.nan))
    before = model.optimizer.masks
    model.optimizer.start_training(10)
    with pytest.raises(ValueError, match="head/kernel.*NaN|NaN.*head/kernel.*masks were not changed"):
        model.optimizer.update_masks()
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


def test_nan_in_fit_says_so_at_the_next_update():
    x, y = toy_data()
    with pytest.raises(ValueError, match="toy/hidden/kernel.*masks were not changed"):
        fit(compiled(), ks.UpdateMasks(), data=(x * np.nan, y))


def test_terminate_on_nan_ends_quietly():
    x, y = toy_data()
    model = compiled()
    history = fit(model, ks.UpdateMasks(), keras.callbacks.TerminateOnNaN(), data=(x * np.nan, y))
    assert len(history.epoch) == 1
    assert active(model.optimizer) == 48


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
    model = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.EinsumDense("ab,bc->ac", 4)])
    model.compile(sparse(dense=keras.layers.EinsumDense), "mse")
    fit(model, ks.UpdateMasks())
    assert len(model.optimizer.masks) == 1
    assert_sparse(model, count=32)


# --- custom training loops


def custom_loop(model, steps):
    import tensorflow as tf

    x, y = toy_data()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)

    for i in range(steps):
        j = i % STEPS * 8
        step(x[j : j + 8], y[j : j + 8])


def test_a_loop_of_your_own_equals_fit():
    keras.utils.set_random_seed(0)
    models = compiled(), compiled()
    models[1].set_weights(models[0].get_weights())
    fit(models[0], ks.UpdateMasks(), epochs=2)
    optimizer = models[1].optimizer
    optimizer.build(models[1])
    optimizer.start_training(8)
    custom_loop(models[1], 4)
    optimizer.update_masks()
    custom_loop(models[1], 4)
    assert_same(models[1].get_weights(), models[0].get_weights())


def test_a_loop_must_say_how_long_it_is():
    model = compiled()
    custom_loop(model, 4)
    with pytest.raises(ValueError, match=r"call `optimizer.start_training\(steps\)`"):
        model.optimizer.update_masks()
    model.optimizer.start_training(4)
    model.optimizer.update_masks()
    custom_loop(model, 4)
    assert_sparse(model, count=48)


# --- what is logged


@backend
def test_density_is_in_the_history():
    model, callback = compiled(), ks.UpdateMasks()
    history = fit(model, callback, epochs=3)
    assert history.history["density"] == [0.25, 0.25, 0.25]
    assert callback.history["step"] == [4, 8, 12]
    assert set(callback.history) == {"step", "toy/hidden/kernel", "toy/head/kernel"}
    assert callback.history["toy/head/kernel"][-1] == model.optimizer.masks["toy/head/kernel"].mean()


def test_density_is_in_the_csv_file_and_the_progress_line(tmp_path, capsys):
    fit(compiled(), ks.UpdateMasks(), keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), verbose=2, epochs=2)
    with open(tmp_path / "log.csv") as file:
        assert [row["density"] for row in csv.DictReader(file)] == ["0.25", "0.25"]
    assert capsys.readouterr().out.count("density: 0.25") == 2


def test_density_is_in_the_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    import tensorflow as tf

    fit(compiled(), ks.UpdateMasks(), keras.callbacks.TensorBoard(str(tmp_path)), epochs=2)
    files = [str(path) for path in tmp_path.glob("train/events*")]
    values = [(event.step, v) for path in files for event in tf.compat.v1.train.summary_iterator(path) for v in event.summary.value]
    assert [(step, float(tf.make_ndarray(v.tensor))) for step, v in values if v.tag == "epoch_density"] == [(0, 0.25), (1, 0.25)]


# --- beside Keras' own callbacks


@backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_early_stopping_puts_back_weights_of_other_masks(ours_first):
    model, first = compiled(sparse()), []
    stopping = keras.callbacks.EarlyStopping("loss", patience=2, mode="max", restore_best_weights=True)  # "max": the first epoch is the best
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: first.append([weight != 0 for weight in arrays(model.optimizer.masked_variables)]))
    callbacks = [ks.UpdateMasks(), stopping] if ours_first else [stopping, ks.UpdateMasks()]
    fit(model, *callbacks, note, epochs=8)
    assert_same([weight != 0 for weight in arrays(model.optimizer.masked_variables)], first[0])
    assert ks.summary(model, "dict")["total"]["active"] == 48
    masks = []
    fit(model, ks.UpdateMasks(), keras.callbacks.LambdaCallback(on_train_begin=lambda logs: masks.extend(model.optimizer.masks.values())), epochs=2)
    assert_same(masks, first[0])  # no weight that came back was lost
    assert_sparse(model, count=48)


@backend
def test_learning_rate_callbacks():
    model = compiled()
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(float(logs["learning_rate"])))
    fit(model, ks.UpdateMasks(), keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 / 2**epoch), watch)
    np.testing.assert_allclose(seen, [0.05, 0.025, 0.0125])
    np.testing.assert_allclose(float(array(model.optimizer.inner_optimizer.learning_rate)), 0.0125)


@backend
def test_reduce_on_plateau():
    model = compiled()
    fit(model, ks.UpdateMasks(), keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max"), epochs=3)
    np.testing.assert_allclose(float(array(model.optimizer.learning_rate)), 0.0125)


@backend
@pytest.mark.parametrize("weights_only", [True, False])
def test_resume_from_model_checkpoint(tmp_path, weights_only):
    path = str(tmp_path / "{epoch}") + (".weights.h5" if weights_only else ".keras")
    model = compiled()
    start = model.get_weights()
    fit(model, ks.UpdateMasks(), keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_only), epochs=5)
    if weights_only:
        resumed = compiled()
        resumed.set_weights(start)
        resumed.optimizer.build(resumed)
        resumed.load_weights(path.format(epoch=2))
    else:
        resumed = keras.models.load_model(path.format(epoch=2))
    fit(resumed, ks.UpdateMasks(), initial_epoch=2, epochs=5)
    assert_same(resumed.get_weights(), model.get_weights())
    assert_same(list(resumed.optimizer.masks.values()), list(model.optimizer.masks.values()))


@backend
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("ours_first", [True, False])
def test_backup_and_restore_goes_on_as_if_undisturbed(tmp_path, ours_first, every, alone):
    def run(*further):
        keras.utils.set_random_seed(1)
        model = compiled(sgd() if alone else None)
        ours, backup = ks.UpdateMasks(every, **({"density": 0.25} if alone else {})), keras.callbacks.BackupAndRestore(str(tmp_path))
        callbacks = [ours, backup] if ours_first else [backup, ours]
        try:
            fit(model, *callbacks, *further, epochs=5)
        except KeyboardInterrupt:
            return None
        return arrays(model.optimizer.variables) + model.get_weights()

    undisturbed = run()
    assert run(Interrupt(3, 1)) is None
    assert_same(run(), undisturbed)


@backend
def test_backup_in_the_midst_of_an_epoch_does_not_update_twice(tmp_path, updates):
    for interruption in (Interrupt(1, 2), None):
        keras.utils.set_random_seed(1)
        model = compiled()
        backup = keras.callbacks.BackupAndRestore(str(tmp_path), save_freq=1)
        callbacks = [ks.UpdateMasks(), backup, *([interruption] if interruption else [])]
        if interruption:
            with pytest.raises(KeyboardInterrupt):
                fit(model, *callbacks)
        else:
            fit(model, *callbacks)
    assert updates == [4, 11]  # the second epoch begins at step 4, is resumed at 7, and made again from its first batch
    assert_sparse(model, count=48)
