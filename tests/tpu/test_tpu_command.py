"""``python -m keras_sparse tpu-check``: its table, exit codes and errors."""

import argparse
import json
import os
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf
from forked import Program
from on_tpu import CACHE, ROOT, needs_compiler

from keras_sparse.__main__ import main
from keras_sparse.commands.named_function import function_named
from keras_sparse.tpu_check import batch_of
from keras_sparse.tpu_check import command as tpu_command
from keras_sparse.tpu_check.batch import resized
from keras_sparse.tpu_check.compile import _read, compile_for

MODULE = """
import keras, keras_sparse as ks, tensorflow as tf

def good():
    layers = [keras.layers.Dense(64), keras.layers.Dense(4)]
    model = ks.sparsify(keras.Sequential([keras.Input((32,)), *layers]))
    model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.1), "mse")
    return model, (tf.TensorSpec((None, 32)), tf.TensorSpec((None, 4)))

def bad():
    def in_python(x):
        return tf.ensure_shape(tf.py_function(lambda y: y, [x], x.dtype), x.shape)

    model = keras.Sequential([keras.Input((32,)), keras.layers.Lambda(in_python)])
    model.add(keras.layers.Dense(4))
    model.compile("sgd", "mse")
    return model

def nothing():
    return "a model"
"""

COMMAND = """
import os, runpy
os.environ.pop("TPU_LIBRARY_PATH", None)  # jax puts it there where it finds libtpu
runpy.run_module("keras_sparse", run_name="__main__", alter_sys=True)
"""


def command(tmp_path, *arguments):
    """(exit code, what it prints) of the command, without libtpu."""
    (tmp_path / "models.py").write_text(MODULE)
    (tmp_path / "libtpu.py").write_text(
        "raise ImportError('this libtpu is broken')"
    )  # also where there is one
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {
        "PYTHONPATH": paths,
        "XDG_CACHE_HOME": str(CACHE),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "150",
    }
    ended = Program(COMMAND, "tpu-check", *arguments, **environment).wait(timeout=600)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.slow
@needs_compiler
def test_without_libtpu_the_answer_is_that_it_cannot_run(tmp_path):
    code, said = command(tmp_path, "models:good", "--replicas", "2")
    assert code == 2, said
    for answer in (
        "2 x v5e:2x2",
        "yes, Keras' own step",
        "in one, none on the host",
        "bytes of HLO",
        "cannot run: ",
    ):
        assert answer in said, said


@pytest.mark.slow
@needs_compiler
def test_a_step_that_tpus_refuse(tmp_path):
    code, said = command(tmp_path, "models:bad", "--replicas", "1")
    assert code == 1, said
    assert "no: TPUs do not have these ops: EagerPyFunc" in said
    assert "not tried" in said


@pytest.mark.slow
@needs_compiler
def test_a_function_that_returns_no_model(tmp_path):
    code, said = command(tmp_path, "models:nothing")
    assert code == 2
    assert (
        "must return a compiled Keras model, or (model, (inputs, targets)). Received: 'a model'"
        in said
    )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (
            "train",
            (
                '`function` must have the form "module:function", e.g. "train:make_model". '
                "Received: function='train'"
            ),
        ),
        (":f", '`function` must have the form "module:function"'),
        (
            "no_such_module:f",
            (
                "`function` must name a module that can be imported; "
                "'no_such_module' was not found. "
                "Start the command in its folder. Received: function='no_such_module:f'"
            ),
        ),
        (
            "json:no_such_function",
            (
                "`function` must name a function of 'json', which has no 'no_such_function'. "
                "Received: function='json:no_such_function'"
            ),
        ),
        ("json:__doc__", "`function` must name a function of 'json', which has no '__doc__'"),
    ],
)
def test_names_of_functions(name, error):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (the whole message is compared)
        function_named(name)
    assert str(raised.value).startswith(error)
    assert function_named("json:dumps") is json.dumps


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "the following arguments are required: command" in capsys.readouterr().err


# --- batches


def model_of(*outputs, loss="mse", shape=(8, 3)):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, [keras.layers.Dense(units)(inputs) for units in outputs])
    model.compile("sgd", loss)
    return model


def test_targets_are_what_the_loss_takes():
    images = tf.TensorSpec((16, 8, 3))
    assert batch_of(model_of(4), 16) == (images, tf.TensorSpec((16, 8, 4)))
    classes = tf.TensorSpec((16, 8), tf.int32)
    for loss in (
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.sparse_categorical_crossentropy,
    ):
        assert batch_of(model_of(4, loss=loss), 16) == (images, classes)


def test_what_a_batch_is_cannot_always_be_known():
    with pytest.raises(
        ValueError,
        match=r"`model` must know its input shape. Return `\(model, \(inputs, targets\)\)` instead",
    ):
        batch_of(model_of(4, shape=(None, 3)), 16)
    with pytest.raises(ValueError, match="`model` must have one output"):
        batch_of(model_of(4, 2), 16)


def test_specs_get_the_size_that_is_asked_for():
    assert resized((tf.TensorSpec((None, 8)), {"a": tf.TensorSpec((3,), tf.int32)}), 16) == (
        tf.TensorSpec((16, 8)),
        {"a": tf.TensorSpec((16,), tf.int32)},
    )


# --- what libtpu's process says


def ended(code, output="", errors=""):
    return _read(SimpleNamespace(returncode=code, stdout=output, stderr=errors))


def test_three_outcomes_of_libtpu():
    figures = {"seconds": 2.0, "flops": 5.0, "all_reduces": 1, "conditionals": 0}
    sizes = {"argument": 10, "output": 7, "alias": 6, "temp": 100, "generated_code": 1000}
    compiled = ended(0, "talk\n" + json.dumps({**figures, "bytes": sizes}))
    assert (compiled.outcome, compiled.code, compiled.memory, compiled.temporary) == (
        "compiles",
        0,
        1111,
        100,
    )
    assert ended(1, '{"why": "INVALID_ARGUMENT"}').code == 1
    assert ended(2, '{"why": "no such topology"}').code == 2


@pytest.mark.parametrize(
    ("code", "output"),
    [(-6, ""), (-11, "talk"), (0, ""), (0, "not json"), (1, ""), (3, "{}"), (1, "Traceback")],
)
def test_a_process_that_says_nothing_is_no_pass(code, output):
    assert ended(code, output, "why").outcome == "cannot run"


def test_a_crash_is_named():
    assert ended(-6, "", "bad").why == "libtpu's process ended with SIGABRT: bad"


def test_no_hlo_cannot_run_and_neither_can_what_takes_too_long():
    assert compile_for(b"this is no HLO", "v5e:2x2", 1).outcome == "cannot run"
    assert (
        compile_for(b"", "v5e:2x2", 1, timeout=0.01).why == "libtpu was not done after 0.01 seconds"
    )


def test_wrong_words_fail_before_a_library_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(tpu_command, "load", lambda: pytest.fail("something was loaded"))
    arguments = argparse.Namespace(function="x", replicas=1, batch=8, topology="v5e:2x2")
    with pytest.raises(ValueError, match='must have the form "module:function"'):
        tpu_command.run(arguments)
