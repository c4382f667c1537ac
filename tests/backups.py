"""Shared by tests of backups: kills before any line, a model that counts its epochs."""

import inspect
import itertools
import os
import shutil
import sys

import keras
import numpy as np
import pytest
from helpers import array

import keras_sparse as ks

STEPS = 4  # batches of an epoch
WEIGHTS, METADATA = "latest.weights.h5", "training_metadata.json"
unclosed = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
KERAS_OWN, OURS = keras.callbacks.BackupAndRestore, ks.BackupAndRestore


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


def counting_model():
    """Its one weight is the number of epochs it was trained, its optimizer's steps belong to it."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train_to(model, epochs):
    model.set_weights([np.full((1, 1), epochs, "float32")])
    model.optimizer.iterations.assign(epochs * STEPS)
    model._initial_epoch = None


def callback_of(model, folder, kind=ks.BackupAndRestore, **arguments):
    callback = kind(str(folder), **arguments)
    callback.set_params({"epochs": 9, "steps": STEPS})
    callback.set_model(model)
    return callback


def back_up(model, folder, epochs, kind=ks.BackupAndRestore, **arguments):
    """One backup; those before it look a minute older than they are."""
    for path in folder.glob("*"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 60 * 10**9))
    train_to(model, epochs)
    callback_of(model, folder, kind, **arguments).on_epoch_end(epochs - 1)


def resume(model, folder, **arguments):
    """(epoch that `fit` would begin with, epochs that the weights were trained)."""
    train_to(model, 0)
    callback_of(model, folder, **arguments).on_train_begin()
    return model._initial_epoch or 0, int(array(model.weights[0]).item())


def killed_before(line, source, action):
    """Runs the action and raises in it before this line of a source file. False: it ended."""
    left, path = line, inspect.getsourcefile(source)

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != path or frame.f_code.co_name in ("_temporary", "read"):
            return None  # neither changes a file
        left -= event == "line"
        if left < 0:
            raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


def tear(folder):
    """What was not flushed is lost: files under temporary names are left in half."""
    for path in folder.glob("new.*"):
        os.truncate(path, path.stat().st_size // 2)


def kills(model, folder, double, kind, action):
    """Kills the action before each of its lines; yields the folder with backups of two epochs."""
    for epoch in (1, 2):
        back_up(model, folder / "before", epoch, kind, double_checkpoint=double)
    for line in itertools.count():
        shutil.copytree(folder / "before", folder / str(line))
        module, here = inspect.getmodule(kind), folder / str(line)
        killed = killed_before(line, module, lambda: action(here))  # noqa: B023
        tear(folder / str(line))
        yield folder / str(line)
        if not killed:
            break
    assert line > 8
