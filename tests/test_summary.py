"""The table of layers: counts, multiply-adds and dead channels by hand, and its three forms."""

import json
import re

import keras
import numpy as np
import pytest
from helpers import compiled, fit, sgd, toy_model

import keras_sparse as ks
from keras_sparse.compute import choice, cpu_kernels
from keras_sparse.models import summary_table

pytestmark = pytest.mark.backend
layers = keras.layers


def convolutional():
    shape = (8, 8, 2)
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )


def by_hand():
    """A model whose masks are set: a convolution with 3 of 72 weights and a head with 5 of 144."""
    model = compiled(ks.SparseMomentum(sgd(), 1.0), convolutional())
    model.optimizer.build(model)
    conv, head = np.zeros((3, 3, 2, 4), bool), np.zeros((144, 1), bool)
    conv[0, 0, 0, 0] = conv[0, 1, 0, 0] = conv[2, 2, 0, 3] = True
    head[:5] = True
    model.optimizer.set_masks({"net/conv/kernel": conv, "net/head/kernel": head})
    return model


def test_numbers_by_hand():
    described = ks.summary(by_hand(), "dict")
    assert described["layers"][0] == {
        "weight": "net/conv/kernel",
        "shape": [3, 3, 2, 4],
        "weights": 72,
        "active": 3,
        "density": 3 / 72,
        "multiply_adds_dense": 36 * 72,  # 6 x 6 places
        "multiply_adds_sparse": 36 * 3,
        "dead_inputs": 1,
        "dead_outputs": 2,
        "exploration_rate": 3 / 72,  # no step was made with other masks
    }
    assert described["total"] == {
        "weights": 216,
        "active": 8,
        "density": 8 / 216,
        "multiply_adds_dense": 36 * 72 + 144,
        "multiply_adds_sparse": 36 * 3 + 5,
        "dead_inputs": 1 + 139,
        "dead_outputs": 2,
        "other_weights": 5,  # biases
        "other_multiply_adds": 0,
        "exploration_rate": 8 / 216,
        "multiply_adds_density": (36 * 3 + 5) / (36 * 72 + 144),
        "budget": "weights",
        "has_masks": True,
    }


def test_json_is_the_dict():
    model = by_hand()
    assert json.loads(ks.summary(model, "json")) == ks.summary(model, "dict")


def test_the_table_prints(capsys):
    assert ks.summary(by_hand()) is None
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    row = next(line for line in lines if "conv/kernel" in line)
    assert [cell for cell in row if cell not in "│┃"] == [
        "conv/kernel",
        "3x3x2x4",
        "72",
        "3",
        "0.0417",
        "2,592",
        "108",
        "1",
        "2",
    ]
    assert "Sparsity of 'net'" in text
    assert "5 other weights are dense" in text


def test_without_an_optimizer_zeros_tell():
    sparse, plain = by_hand(), convolutional()
    plain.set_weights(sparse.get_weights())
    expected = ks.summary(sparse, "dict")
    for one in (expected["total"], *expected["layers"]):
        del one["exploration_rate"]  # zeros do not tell what was active before
    del expected["total"]["budget"], expected["total"]["has_masks"]
    assert ks.summary(plain, "dict") == expected


def test_a_dense_model_has_density_1():
    total = ks.summary(toy_model(), "dict")["total"]
    assert (
        total["density"],
        total["active"],
        total["multiply_adds_sparse"],
        total["other_weights"],
    ) == (1.0, 192, 192, 20)


@pytest.mark.parametrize("wrap", [True, False])
def test_after_training(wrap, policy):
    policy("mixed_float16" if wrap else "float32")
    model = compiled()
    fit(model, ks.UpdateMasks())
    described = ks.summary(model, "dict")
    assert described["total"]["active"] == 48
    assert [layer["active"] for layer in described["layers"]] == [
        int(mask.sum())
        for mask in ks.training.find_optimizer.sparse_momentum_of(model).masks.values()
    ]


def test_multiply_adds_that_are_not_known(capsys):
    model = keras.Sequential([keras.Input((None, 8)), layers.Dense(4)])
    total = ks.summary(model, "dict")["total"]
    assert (total["multiply_adds_dense"], total["multiply_adds_sparse"], total["weights"]) == (
        None,
        None,
        32,
    )
    assert total["why_unknown"] == "part of the input shape is unknown: pass `input_shape`"
    assert (
        ks.summary(model, "dict", input_shape=(None, 10, 8))["total"]["multiply_adds_dense"] == 320
    )
    ks.summary(model)
    printed = " ".join(capsys.readouterr().out.split())
    assert " ? " in printed
    assert "pass `input_shape`" in printed


def test_frozen_layers_are_in_the_total_as_they_are():
    model = by_hand()
    model.get_layer("conv").trainable = False
    model.compile(ks.SparseMomentum(sgd(), 0.5, distribution={"head": 5 / 144}), "mse")
    model.optimizer.build(model)
    described = ks.summary(model, "dict")
    assert {row["weight"]: (row["active"], row.get("frozen")) for row in described["layers"]} == {
        "net/head/kernel": (5, None),
        "net/conv/kernel": (3, True),
    }
    assert described["total"]["multiply_adds_sparse"] == 36 * 3 + 5


def test_a_layer_that_is_left_dense_is_in_the_total():
    model = compiled(ks.SparseMomentum(sgd(), 5 / 144, dense="conv"), convolutional())
    model.optimizer.build(model)
    described = ks.summary(model, "dict")
    assert [row["weight"] for row in described["layers"]] == ["net/head/kernel"]
    assert described["total"]["other_multiply_adds"] == 36 * 72
    assert described["total"]["multiply_adds_sparse"] == 36 * 72 + 5


def test_an_embedding_multiplies_nothing():
    model = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(50, 16)])
    model.compile(ks.SparseMomentum("adam", density=0.2, sparse=layers.Embedding), "mse")
    model.optimizer.build(model)
    assert [row["multiply_adds_dense"] for row in ks.summary(model, "dict")["layers"]] == [0]


def test_a_quantized_model_is_described():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("of TensorFlow")
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4, name="hidden")])
    model.get_layer("hidden").quantize("int8")
    total = ks.summary(model, "dict")["total"]
    assert (total["weights"], total["multiply_adds_dense"]) == (32, 32)


@pytest.mark.parametrize("columns", [80, 120])
def test_paths_are_folded_at_a_slash_alone(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    parts = ["encoder_of_images", "stage_3_block_12", "expanded_projection"]
    inner = keras.Sequential(
        [keras.Input((8, 8, 16)), layers.Conv2D(512, 3, name=parts[2])], name=parts[1]
    )
    outer = keras.Sequential([keras.Input((8, 8, 16)), inner], name=parts[0])
    ks.summary(
        keras.Sequential([keras.Input((8, 8, 16)), outer, layers.Conv2D(512, 3)], name="net")
    )
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= columns
    assert all(part in printed for part in (*parts[1:], "kernel"))


def test_every_kind_of_layer_has_numbers():
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.SeparableConv1D(4, 3)(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.Conv1DTranspose(4, 3)(x)))
    total = ks.summary(model, "dict")["total"]
    attention, lstm, separable = 4 * 6 * 64, 2 * 6 * (8 * 16 + 4 * 16), 4 * 8 * 4
    other = (
        2 * (2 * 6 * 6 * 4) + 4 * 3 * 8
    )  # queries by keys, weights by values, the depthwise kernel
    assert total["other_multiply_adds"] == other
    masked = attention + lstm + separable + 4 * 3 * 4 * 4 + 6 * 8
    assert total["multiply_adds_dense"] == masked + other


def test_masks_that_are_not_made_yet_are_told(capsys):
    model = compiled()
    assert ks.summary(model, "dict")["total"]["has_masks"] is False
    ks.summary(model)
    assert "no masks yet: they are made when" in " ".join(capsys.readouterr().out.split())
    model.optimizer.build(model)
    assert ks.summary(model, "dict")["total"]["has_masks"] is True
    ks.summary(model)
    assert "no masks yet" not in " ".join(capsys.readouterr().out.split())


def test_a_long_reason_of_several_rows_stands_once_below_them(capsys, monkeypatch):
    model = by_hand()
    reason = "the compiled ops are not available: they were left out " + 10 * "as it was asked "
    monkeypatch.setattr(choice, "why_no_custom_ops", lambda: reason)
    monkeypatch.setattr(cpu_kernels, "why_no_custom_ops", lambda: reason)
    rows = ks.summary(ks.sparsify(model), "dict", batch=2)["layers"]
    assert [row["runs_as"] for row in rows] == [f"stock: {reason}"] * len(rows)
    ks.summary(ks.sparsify(model), batch=2)
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("stock: see below") == len(rows) == 2
    assert text.count("they were left out") == 1
    of_both = {"runs_as": f"training: custom op; prediction: stock: {reason}"}
    assert summary_table._shared_reason([of_both, of_both]) is None  # no row hides the custom op


def test_a_model_without_weights():
    with pytest.raises(
        ValueError, match="`model` must have weights: build it.*Received: model=bare"
    ):
        ks.summary(keras.Sequential([layers.Dense(2)], name="bare"))


def test_an_unknown_output():
    with pytest.raises(ValueError, match="`output` must be .*Received: output='html'"):
        ks.summary(toy_model(), "html")


def test_strangers_weights_are_told():
    model = compiled()
    fit(model, ks.UpdateMasks())
    model.set_weights(toy_model().get_weights())
    with pytest.raises(ValueError, match="not those of this sparse run"):
        ks.summary(model)
