"""``python -m keras_sparse bench``: what it measures of a model, and what its exit codes say."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sgd
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.__main__ import main
from keras_sparse.commands import bench
from keras_sparse.commands.named_function import function_named
from keras_sparse.compute.library import Availability
from keras_sparse.models import layer_speed, step_speed

pytestmark = needs_ops
layers = keras.layers
SPECS = tf.TensorSpec((None, 32)), tf.TensorSpec((None, 16))


def dense():
    """Two layers whose products are small: stock computes them."""
    return keras.Sequential([keras.Input((32,)), layers.Dense(32), layers.Dense(16)])


def several():
    inputs = keras.Input((4, 32))
    attended = layers.MultiHeadAttention(2, 16)(inputs, inputs)
    cell = layers.RNN(layers.GRUCell(16))(attended)
    return keras.Model(inputs, layers.Dense(16)(layers.LSTM(16)(attended) + cell))


def without_kernels():
    return keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])


def nothing():
    return "a model"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(16)

    def call(self, inputs):
        return self.dense(inputs)


def unbuilt():
    return Subclassed(), SPECS


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    for module in (step_speed, layer_speed):
        monkeypatch.setattr(module, "TURNS", 1)
        monkeypatch.setattr(module, "MIN_SECONDS_OF_TURN", 0.0)


def run(function, *words):
    return main(["bench", f"{__name__}:{function}", "--batch", "8", *words])


@pytest.fixture
def ratios(monkeypatch):
    """Steps with sparse layers take these times, and dense ones 1."""

    def give(closed, is_open):
        seconds = {"dense": [1.0], "closed": [closed], "open": [is_open]}
        monkeypatch.setattr(step_speed, "_take_turns", lambda _: seconds)

    return give


@pytest.mark.parametrize(("closed", "code"), [(0.5, 0), (2.0, 1)])
def test_the_exit_code_says_whether_a_step_is_faster(closed, code, ratios, capsys):
    ratios(closed, 0.8)
    assert run("dense") == code
    printed = " ".join(capsys.readouterr().out.split())
    assert f"A training step takes 1 s dense. At density 0.10 it is {1 / closed:.2f}x" in printed
    assert "and 1.25x while it is open." in printed
    assert "stock: 8 output positions are too few" in printed
    assert "break-even densities: shipped, AMD EPYC (Zen 5)" in printed


def test_json_has_all_figures(ratios, capsys):
    ratios(0.5, 0.8)
    assert run("several", "--json", "--density", "0.25") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["batch"], result["step_speed_up_closed"]) == (8, 2)
    assert result["density"] == pytest.approx(0.25, abs=0.01)
    found = {one["layer"].rpartition("/")[2]: one for one in result["layers"]}
    assert {"query", "key", "value", "attention_output", "lstm_cell", "dense"} <= set(found)
    assert not any(name.startswith("gru_cell") for name in found)  # not timed without its RNN
    assert all(one["dense_seconds"] > 0 < one["speed_up"] for one in found.values())


def test_layers_are_timed_with_the_growth_window_closed(ratios, monkeypatch, capsys):
    ratios(0.5, 0.5)
    switches, speed = [], layer_speed._speed

    def noted(owner, *others):
        switches.extend(float(m.dense_weight_gradient) for m in owner.kernel_masks.values())
        return speed(owner, *others)

    monkeypatch.setattr(layer_speed, "_speed", noted)
    assert run("dense") == 0
    assert switches == [0, 0]


def test_a_measured_step(capsys):
    assert run("dense", "--json") in (0, 1)
    assert json.loads(capsys.readouterr().out)["step_seconds_dense"] > 0


def test_a_model_that_the_specs_build(ratios, capsys):
    ratios(0.5, 0.5)
    assert run("unbuilt", "--json", "--density", "0.5") == 0
    (layer,) = json.loads(capsys.readouterr().out)["layers"]
    assert layer["density"] == 0.5


def test_a_layer_that_has_no_kernel_for_its_product_is_timed_dense_alone():
    model = ks.sparsify(dense())
    model.layers[0].dtype_policy = "float64"
    counted = bench.count_multiply_adds(model, None, 8)
    first, second = layer_speed.layer_speeds(model, counted)
    assert (first.speed_up is None, second.speed_up is None) == (True, False)
    assert first.runs_as == "stock: dtype is float64, not one of float32, bfloat16, float16"
    assert [layer.implementation for layer in model.layers] == ["auto", "auto"]


def test_what_cannot_be_measured(monkeypatch, capsys):
    assert run("nothing") == 2
    assert "must return a Keras model" in capsys.readouterr().err
    assert run("dense", "--density", "2") == 2
    assert "`density`" in capsys.readouterr().err
    assert main(["bench", "no_such_module:f"]) == 2
    assert "'no_such_module' was not found" in capsys.readouterr().err
    monkeypatch.setattr(bench, "available", lambda: Availability("there is no compiler"))
    assert run("dense") == 2
    assert "Cannot run: the compiled ops are not available" in capsys.readouterr().err


def test_threads_are_set_before_tensorflow_starts(capsys):
    tf.constant(1)
    assert run("dense", "--threads", "63") == 2
    assert "`threads` must be set before TensorFlow starts" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*no layer:UserWarning")
def test_a_model_without_kernels_is_not_faster(capsys):
    assert run("without_kernels") == 1
    assert "No layer of the model can be sparse" in capsys.readouterr().err


# --- masks


def density_of(model):
    masks = list(ks.sparse_optimizer(model).masks.values())
    return sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)


def test_masks_are_new_ones_of_the_density_asked_for():
    model = dense()
    before = model.get_weights()
    assert density_of(bench.with_masks(model, None)) == pytest.approx(0.1, abs=0.01)
    assert density_of(bench.with_masks(model, 0.5)) == 0.5
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_masks_of_a_model_with_a_sparse_momentum():
    model = dense()
    model.compile(ks.RigL(sgd(), 0.25), "mse")
    assert density_of(bench.with_masks(model, None)) == pytest.approx(0.25, abs=0.01)
    model.optimizer.build(model.trainable_variables)
    kept = bench.with_masks(model, None)
    masks = model.optimizer.masks.values(), kept.optimizer.masks.values()
    assert all(np.array_equal(*pair) for pair in zip(*masks, strict=True))
    assert kept.optimizer.grow.__name__ == "gradient"
    assert density_of(bench.with_masks(model, 0.5)) == pytest.approx(0.5, abs=0.01)


def test_mixed_precision(policy):
    policy("mixed_float16")
    model = bench.with_masks(dense(), 0.5)
    assert density_of(model) == 0.5


def test_functions_are_named_by_module():
    assert function_named("json:dumps") is json.dumps
