"""Arguments that Python takes for true, and that nobody meant: "no", "yes", a misspelt name."""

import keras
import numpy as np
import pytest

import keras_sparse as ks

pytestmark = [pytest.mark.backend]


def network():
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(ks.SparseMomentum(sgd, 0.25), "mse")
    return model


CALLS = {
    "log_layers": lambda path, flag: ks.UpdateMasks(log_layers=flag),
    "check_agreement": lambda path, flag: ks.UpdateMasks(check_agreement=flag),
    "double_checkpoint": lambda path, flag: ks.BackupAndRestore(path, double_checkpoint=flag),
    "delete_checkpoint": lambda path, flag: ks.BackupAndRestore(path, delete_checkpoint=flag),
    "custom_ops": lambda path, flag: ks.export(network(), path, custom_ops=flag),
    "overwrite": lambda path, flag: ks.export(network(), path, overwrite=flag),
    "compare_dense": lambda path, flag: ks.export(network(), path, compare_dense=flag),
    "optimizer": lambda path, flag: ks.save_compressed(network(), path, optimizer=flag),
    "compile": lambda path, flag: ks.load_compressed(path, compile=flag),
    "safe_mode": lambda path, flag: ks.load_compressed(path, safe_mode=flag),
    "verbose": lambda path, flag: ks.prune(network(), 0.5, verbose=flag),
    "measure": lambda path, flag: ks.report(network(), path, measure=flag),
    "time_step": lambda path, flag: ks.summary(network(), batch=8, time_step=flag),
    "training": lambda path, flag: ks.layers.SparseDense(8).why_stock(training=flag),
}


@pytest.mark.parametrize("flag", ["no", None, 2, np.array([True])], ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_a_flag_is_true_or_false(tmp_path, name, flag):
    with pytest.raises(ValueError, match=f"`{name}` must be True or False. Received: {name}="):
        CALLS[name](tmp_path / "file.html", flag)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["no", 2], ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda path, flag: ks.export(network(), path, verbose=flag),
        lambda path, flag: ks.save_compressed(network(), path, verbose=flag),
        lambda path, flag: ks.load_compressed(path, verbose=flag),
        lambda path, flag: ks.sparsify(network(), verbose=flag),
        lambda path, flag: ks.compact(network(), verbose=flag),
    ],
)
def test_what_is_printed_is_asked_for_in_words_that_mean_something(tmp_path, call, flag):
    with pytest.raises(ValueError, match=f"`verbose` must be True.* Received: verbose={flag!r}"):
        call(tmp_path / "file", flag)
    assert not list(tmp_path.iterdir())


def test_numbers_and_numpys_bools_are_flags():
    callback = ks.UpdateMasks(log_layers=1, check_agreement=np.False_)
    assert callback.log_layers
    assert not callback.check_agreement


@pytest.mark.parametrize("name", ["formats", "opset_version"])
@pytest.mark.parametrize("format_name", ["saved_model", "keras"])
def test_an_export_takes_no_argument_that_its_format_ignores(tmp_path, format_name, name):
    path = tmp_path / ("model.keras" if format_name == "keras" else "model")
    with pytest.raises(TypeError, match=rf"no argument `{name}` for the format '{format_name}'"):
        ks.export(network(), path, format_name, verbose=False, **{name: 13})
    assert not path.exists()


@pytest.mark.parametrize("shape", ["x", 8, (8,), (0, 16), (8, -1), (8, "16"), (8.0, 16)], ids=repr)
def test_what_runs_is_asked_for_a_shape(shape):
    layer = ks.layers.SparseDense(8)
    layer.build((None, 16))
    with pytest.raises(ValueError, match="`input_shape` must be a tensor, or the shape of"):
        layer.runs_as(shape)
    assert isinstance(layer.runs_as((None, 16)), str)
    assert isinstance(layer.runs_as(np.zeros((8, 16), "f")), str)
