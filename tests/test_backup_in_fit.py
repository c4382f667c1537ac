"""A training that BackupAndRestore resumes in `fit` is the undisturbed one, dropout included."""

import functools
import shutil

import keras
import numpy as np
import pytest
from helpers import Interrupt, arrays, assert_same, compiled, fit, toy_data

import keras_sparse as ks

WEIGHTS = "latest.weights.h5"


@pytest.mark.backend
@pytest.mark.parametrize("ours_first", [True, False])
def test_a_resumed_training_is_the_undisturbed_one(tmp_path, ours_first):
    def run(*further):
        keras.utils.set_random_seed(1)
        model = compiled()
        callbacks = [ks.UpdateMasks(), ks.BackupAndRestore(tmp_path)]
        try:
            fit(model, *(callbacks if ours_first else callbacks[::-1]), *further, epochs=5)
        except KeyboardInterrupt:
            return None
        return arrays(model.optimizer.variables) + model.get_weights()

    undisturbed = run()
    assert run(Interrupt(1, 1)) is None
    assert run(Interrupt(3, 1)) is None
    assert_same(run(), undisturbed)


@pytest.mark.backend
def test_a_training_killed_twice_within_an_epoch_resumes_that_epoch(tmp_path):
    epochs = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    for interruption in (Interrupt(1, 2), Interrupt(1, 1), note):
        keras.utils.set_random_seed(1)
        model, ours = compiled(), [ks.UpdateMasks(), ks.BackupAndRestore(tmp_path, save_freq=1)]
        if interruption is note:
            fit(model, *ours, note, epochs=3)
        else:
            with pytest.raises(KeyboardInterrupt):
                fit(model, *ours, interruption, epochs=3)
    assert epochs == [1, 2]


def test_a_further_fit_does_not_skip_the_epochs_of_the_one_before(tmp_path):
    for epochs in (2, 3):
        model = compiled()
        fit(
            model,
            ks.UpdateMasks(),
            ks.BackupAndRestore(tmp_path, delete_checkpoint=False),
            epochs=epochs,
        )
    assert len(fit(model, ks.UpdateMasks(), epochs=2).epoch) == 2
    shutil.rmtree(tmp_path)
    assert (
        len(fit(model, keras.callbacks.BackupAndRestore(tmp_path), epochs=1, data=toy_data()).epoch)
        == 1
    )


# --- random generators


def noisy(generators=2):
    """A model whose loss tells what Dropout dropped; it learns nothing."""
    keras.utils.set_random_seed(0)
    dropouts = [keras.layers.Dropout(0.5) for _ in range(generators)]
    nested = keras.Sequential([keras.Input((64,)), *dropouts[1:], keras.layers.Activation("relu")])
    summed = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((64,)), dropouts[0], nested, summed])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def losses(model, epochs, *callbacks):
    x, y = np.ones((8, 64), "float32"), np.zeros((8, 1), "float32")
    history = model.fit(x, y, 4, epochs, verbose=0, shuffle=False, callbacks=callbacks).history
    return [round(loss, 3) for loss in history["loss"]]


@functools.cache
def whole_training():
    """The losses of four epochs that nothing interrupts."""
    return losses(noisy(), 4)


@pytest.mark.backend
def test_dropout_goes_on_where_it_was(tmp_path):
    whole = whole_training()
    assert len(set(whole)) == 4
    keep = {"delete_checkpoint": False}
    first = losses(noisy(), 2, ks.BackupAndRestore(tmp_path, **keep))
    assert first + losses(noisy(), 4, ks.BackupAndRestore(tmp_path, **keep)) == whole


def test_dropout_goes_on_from_the_older_backup(tmp_path):
    whole = whole_training()
    callback = ks.BackupAndRestore(tmp_path, double_checkpoint=True, delete_checkpoint=False)
    losses(noisy(), 3, callback)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.warns(UserWarning, match="Resumed from"):
        assert losses(noisy(), 4, ks.BackupAndRestore(tmp_path)) == whole[2:]


def test_a_backup_of_keras_leaves_random_generators_as_they_start(tmp_path):
    kept = {"delete_checkpoint": False}
    losses(noisy(), 2, keras.callbacks.BackupAndRestore(str(tmp_path), **kept))
    resumed = losses(noisy(), 4, ks.BackupAndRestore(tmp_path, **kept))
    assert resumed == whole_training()[:2]


def test_a_backup_with_other_random_generators_is_refused(tmp_path):
    losses(noisy(), 2, ks.BackupAndRestore(tmp_path, delete_checkpoint=False))
    with pytest.raises(ValueError, match="Received: 2 in .*, 3 in the model"):
        losses(noisy(3), 4, ks.BackupAndRestore(tmp_path))
