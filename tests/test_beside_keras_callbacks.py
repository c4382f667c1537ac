"""UpdateMasks beside Keras' own callbacks, and what is logged."""

import csv
import functools

import keras
import numpy as np
import pytest
from helpers import (
    Interrupt,
    array,
    arrays,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    sparse,
    toy_data,
    toy_model,
)
from steps_by_hand import state_of

import keras_sparse as ks

backend = pytest.mark.backend


# --- what is logged


@backend
def test_density_is_in_the_history():
    model, callback = compiled(), ks.UpdateMasks()
    history = fit(model, callback, epochs=3)
    assert history.history["density"] == [0.25, 0.25, 0.25]
    assert callback.history["step"] == [4, 8, 12]
    paths = {"toy/hidden/kernel", "toy/head/kernel"}
    assert set(callback.history) == {"step", "exploration_rate", *paths}
    assert (
        callback.history["toy/head/kernel"][-1] == model.optimizer.masks["toy/head/kernel"].mean()
    )


@pytest.mark.parametrize("ours_first", [True, False])
def test_density_is_in_the_csv_file_and_the_progress_line(tmp_path, capsys, ours_first):
    callbacks = [ks.UpdateMasks(), keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))]
    fit(compiled(), *(callbacks if ours_first else reversed(callbacks)), verbose=2, epochs=2)
    with open(tmp_path / "log.csv") as file:
        assert [row["density"] for row in csv.DictReader(file)] == ["0.25", "0.25"]
    assert capsys.readouterr().out.count("density: 0.25") == 2


def test_density_is_in_the_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    import tensorflow as tf

    fit(compiled(), keras.callbacks.TensorBoard(str(tmp_path)), ks.UpdateMasks(), epochs=2)
    files = [str(path) for path in tmp_path.glob("train/events*")]
    values = [
        (event.step, v)
        for path in files
        for event in tf.compat.v1.train.summary_iterator(path)
        for v in event.summary.value
    ]
    assert [
        (step, float(tf.make_ndarray(v.tensor))) for step, v in values if v.tag == "epoch_density"
    ] == [(0, 0.25), (1, 0.25)]


@backend
def test_callbacks_listed_before_ours_see_the_density(tmp_path):
    model, seen = compiled(ks.GradualPruning(sgd(), 0.25)), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["density"])
    )
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}-{density:.2f}.keras"),
        monitor="density",
        save_best_only=True,
        mode="min",
    )
    fit(model, watch, best, ks.UpdateMasks("epoch"), epochs=4)
    np.testing.assert_allclose(seen, [1.0, 0.472, 0.278, 0.25], atol=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1-1.00.keras",
        "2-0.47.keras",
        "3-0.28.keras",
        "4-0.25.keras",
    ]


@backend
def test_a_csv_file_that_is_gone_on_with_has_one_header(tmp_path):
    model = compiled()
    for _ in range(2):
        log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"), append=True)
        fit(model, log, ks.UpdateMasks(), epochs=2)
    with open(tmp_path / "log.csv") as file:
        assert [row["density"] for row in csv.DictReader(file)] == ["0.25"] * 4


@backend
def test_layers_are_logged_on_request():
    callback = ks.UpdateMasks(log_layers=True)
    logs = fit(compiled(), callback, epochs=2).history
    layers = {"density/toy/hidden/kernel", "density/toy/head/kernel"}
    assert set(logs) == {"loss", "density", "exploration_rate", *layers}
    assert logs["density/toy/head/kernel"] == callback.history["toy/head/kernel"]


@backend
def test_a_metric_called_density_stays_and_it_is_told_once():
    model = compiled(metrics=[keras.metrics.MeanSquaredError(name="density")])
    with pytest.warns(
        UserWarning, match='metric called "density".*logged as "mask_density"'
    ) as caught:
        logs = fit(model, ks.UpdateMasks(), epochs=2).history
    assert len(caught) == 1
    np.testing.assert_allclose(logs["density"], logs["loss"], rtol=1e-4)
    assert logs["mask_density"] == [0.25, 0.25]


@backend
def test_one_callback_for_two_models_and_two_trainings(updates):
    callback = ks.UpdateMasks(density=0.25)
    one, other = (
        compiled(sgd()),
        compiled(
            sgd(), keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="single")])
        ),
    )
    for _ in range(2):  # as Keras' History: further trainings are appended
        fit(one, callback, epochs=2)
    assert callback.history["step"] == [4, 8, 12, 16]
    fit(other, callback, epochs=3)
    assert callback.history["step"] == [4, 8, 12]
    assert updates == [4, 8, 12, 4, 8]
    assert set(callback.history) == {"step", "exploration_rate", "sequential/single/kernel"}
    assert_sparse(one, count=48)
    assert_sparse(other, count=8)


# --- beside Keras' own callbacks


def stopped(ours_first):
    """A model of sparse layers with the weights of the first of its epochs; its masks, outputs."""
    keras.utils.set_random_seed(0)
    model, seen = compiled(sparse(growth_window=None), ks.sparsify(toy_model())), []
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=2, mode="max", restore_best_weights=True
    )  # "max": the first epoch is the best

    def note(epoch, logs):
        masks = [weight != 0 for weight in arrays(model.optimizer.masked_variables)]
        seen.append((masks, array(model(toy_data()[0]))))

    callbacks = [ks.UpdateMasks(), stopping] if ours_first else [stopping, ks.UpdateMasks()]
    fit(model, *callbacks, keras.callbacks.LambdaCallback(on_epoch_end=note), epochs=8)
    assert len(seen) > 2
    return model, *seen[0]


@backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_early_stopping_puts_back_weights_of_other_masks(ours_first):
    model, first, outputs = stopped(ours_first)
    assert_same([weight != 0 for weight in arrays(model.optimizer.masked_variables)], first)
    assert ks.summary(model, "dict")["total"]["active"] == 48
    assert_same(list(model.optimizer.masks.values()), first)
    # sparse layers compute with the masks of these weights
    np.testing.assert_allclose(array(model(toy_data()[0])), outputs, rtol=1e-5, atol=1e-6)
    masks = []
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: masks.extend(model.optimizer.masks.values())
    )
    fit(model, ks.UpdateMasks(), note, epochs=2)
    assert_same(masks, first)  # no weight that came back was lost


@backend
def test_learning_rate_callbacks():
    model, seen = compiled(), []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(logs["learning_rate"]))
    )
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 / 2**epoch)
    fit(model, ks.UpdateMasks(), schedule, watch)
    np.testing.assert_allclose(seen, [0.05, 0.025, 0.0125])
    np.testing.assert_allclose(float(array(model.optimizer.inner_optimizer.learning_rate)), 0.0125)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max")
    fit(model, ks.UpdateMasks(), plateau, epochs=3)
    np.testing.assert_allclose(float(array(model.optimizer.learning_rate)), 0.0125 / 4)


@pytest.fixture(scope="module")
def five_epochs(tmp_path_factory):
    """A training with a file of each kind after each epoch: its start, its end, its folder."""

    @functools.cache
    def trained():
        keras.utils.set_random_seed(0)
        model, folder = compiled(), tmp_path_factory.mktemp("epochs")
        start = [weight.copy() for weight in model.get_weights()]
        files = [(folder / "{epoch}.weights.h5", True), (folder / "{epoch}.keras", False)]
        savers = [
            keras.callbacks.ModelCheckpoint(str(path), save_weights_only=alone)
            for path, alone in files
        ]
        fit(model, ks.UpdateMasks(), *savers, epochs=5)
        return start, state_of(model), folder

    return trained


@backend
@pytest.mark.parametrize("weights_only", [True, False])
def test_resume_from_model_checkpoint(five_epochs, weights_only):
    start, end, folder = five_epochs()
    if weights_only:
        resumed = compiled()
        resumed.set_weights(start)
        resumed.optimizer.build(resumed)
        resumed.load_weights(folder / "2.weights.h5")
    else:
        resumed = keras.models.load_model(folder / "2.keras")
    fit(resumed, ks.UpdateMasks(), initial_epoch=2, epochs=5)
    assert_same(state_of(resumed), end)


@functools.cache
def undisturbed(every):
    """The state after five epochs without a backup."""
    keras.utils.set_random_seed(1)
    model = compiled()
    fit(model, ks.UpdateMasks(every), epochs=5)
    return state_of(model)


@pytest.mark.parametrize(
    ("ours_first", "every", "alone"),  # each pair of settings
    [
        pytest.param(True, None, True, marks=backend),
        pytest.param(False, 3, True, marks=backend),
        (True, 3, False),
        (False, None, False),
    ],
)
def test_backup_and_restore_goes_on_as_if_undisturbed(tmp_path, ours_first, every, alone):
    def run(*further):
        model = compiled(sgd() if alone else None)
        ours, backup = (
            ks.UpdateMasks(every, **({"density": 0.25, "seed": 0} if alone else {})),
            keras.callbacks.BackupAndRestore(str(tmp_path)),
        )
        callbacks = [ours, backup] if ours_first else [backup, ours]
        fit(model, *callbacks, *further, epochs=5)
        return state_of(model)

    expected = undisturbed(every)
    keras.utils.set_random_seed(1)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupt(3, 1))
    keras.utils.set_random_seed(1)
    assert_same(run(), expected)


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
    assert updates == [
        4,
        11,
    ]  # the second epoch begins at step 4, is resumed at 7, and made again from its first batch
    assert_sparse(model, count=48)
