"""UpdateMasks beside Keras' own callbacks, and what is logged."""

import csv

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


@backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_early_stopping_puts_back_weights_of_other_masks(ours_first):
    model, first = compiled(sparse()), []
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=2, mode="max", restore_best_weights=True
    )  # "max": the first epoch is the best
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: first.append(
            [weight != 0 for weight in arrays(model.optimizer.masked_variables)]
        )
    )
    callbacks = [ks.UpdateMasks(), stopping] if ours_first else [stopping, ks.UpdateMasks()]
    fit(model, *callbacks, note, epochs=8)
    assert_same([weight != 0 for weight in arrays(model.optimizer.masked_variables)], first[0])
    assert ks.summary(model, "dict")["total"]["active"] == 48
    assert_same(list(model.optimizer.masks.values()), first[0])
    masks = []
    fit(
        model,
        ks.UpdateMasks(),
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: masks.extend(model.optimizer.masks.values())
        ),
        epochs=2,
    )
    assert_same(masks, first[0])  # no weight that came back was lost


@backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_sparse_layers_compute_with_the_masks_of_the_weights_that_early_stopping_puts_back(
    ours_first,
):
    data = toy_data()
    model, first = compiled(sparse(growth_window=None), ks.sparsify(toy_model())), []
    stopping = keras.callbacks.EarlyStopping(
        "loss", patience=2, mode="max", restore_best_weights=True
    )
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: first.append(model(data[0]))
    )
    fit(
        model,
        *([ks.UpdateMasks(), stopping] if ours_first else [stopping, ks.UpdateMasks()]),
        note,
        epochs=8,
    )
    assert len(first) > 2
    np.testing.assert_allclose(array(model(data[0])), array(first[0]), rtol=1e-5, atol=1e-6)
    assert_sparse(model, count=48)


@backend
def test_learning_rate_callbacks():
    model = compiled()
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(logs["learning_rate"]))
    )
    fit(
        model,
        ks.UpdateMasks(),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.05 / 2**epoch),
        watch,
    )
    np.testing.assert_allclose(seen, [0.05, 0.025, 0.0125])
    np.testing.assert_allclose(float(array(model.optimizer.inner_optimizer.learning_rate)), 0.0125)


@backend
def test_reduce_on_plateau():
    model = compiled()
    fit(
        model,
        ks.UpdateMasks(),
        keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max"),
        epochs=3,
    )
    np.testing.assert_allclose(float(array(model.optimizer.learning_rate)), 0.0125)


@backend
@pytest.mark.parametrize("weights_only", [True, False])
def test_resume_from_model_checkpoint(tmp_path, weights_only):
    path = str(tmp_path / "{epoch}") + (".weights.h5" if weights_only else ".keras")
    model = compiled()
    start = model.get_weights()
    fit(
        model,
        ks.UpdateMasks(),
        keras.callbacks.ModelCheckpoint(path, save_weights_only=weights_only),
        epochs=5,
    )
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
        keras.utils.set_random_seed(1)
        model = compiled(sgd() if alone else None)
        ours, backup = (
            ks.UpdateMasks(every, **({"density": 0.25} if alone else {})),
            keras.callbacks.BackupAndRestore(str(tmp_path)),
        )
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
    assert updates == [
        4,
        11,
    ]  # the second epoch begins at step 4, is resumed at 7, and made again from its first batch
    assert_sparse(model, count=48)
