"""The summary says for a batch, or for any, which implementation computes a layer."""

import keras
import numpy as np
import pytest

import keras_sparse as ks

pytestmark = pytest.mark.backend
layers = keras.layers


def with_sparse_layers():
    """A 3x3 convolution at 10 % and a small dense layer, around their break-even densities."""
    body = [
        keras.Input((8, 8, 16)),
        layers.Conv2D(32, 3, name="conv"),
        layers.Flatten(),
        layers.Dense(4, name="head"),
    ]
    model = ks.sparsify(keras.Sequential(body))
    mask = np.zeros((3, 3, 16, 32), bool)
    mask[..., :3] = True
    model.get_layer("conv").set_mask(mask)
    return model


def runs_as(model, **arguments):
    return [row["runs_as"] for row in ks.summary(model, "dict", **arguments)["layers"]]


def test_what_runs_at_a_batch_is_what_the_layer_says():
    model = with_sparse_layers()
    conv = model.get_layer("conv")
    for batch in (1, 8, 128):
        assert runs_as(model, batch=batch)[0] == conv.runs_as((batch, 8, 8, 16))
    why = "fewer than 16 channels" if ks.ops.available() else "the compiled ops are not available"
    assert runs_as(model, batch=8)[1].startswith(f"stock: {why}")


def test_what_runs_at_any_batch_is_said_with_its_condition():
    if not ks.ops.available():
        pytest.skip("the compiled ops are not available")
    model = keras.Sequential([keras.Input((256,)), layers.Dense(256, name="hidden")])
    model = ks.sparsify(model)
    mask = np.zeros((256, 256), bool)
    mask[:, :26] = True
    model.get_layer("hidden").set_mask(mask)
    ((text,), layer) = (runs_as(model), model.get_layer("hidden"))
    least = int(text.removeprefix("custom op from batch "))
    assert layer.why_stock((least, 256)) is None
    assert layer.why_stock((least - 1, 256)) is not None
    assert runs_as(model, batch=least) == ["custom op"]


def test_what_runs_inside_of_a_wrapper_is_of_what_it_calls_the_layer_with():
    inner = ks.layers.SparseDense(32, name="inner")
    model = keras.Sequential([keras.Input((10, 32)), layers.TimeDistributed(inner)])
    inner.set_mask(np.eye(32, dtype=bool))
    assert runs_as(model, batch=4) == [inner.runs_as((4, 32))]


@pytest.mark.parametrize("batch", [0, -1, 2.0, True, "8"])
def test_a_batch_that_is_none(batch):
    with pytest.raises(ValueError, match="`batch` must be a positive integer. Received: batch="):
        ks.summary(with_sparse_layers(), batch=batch)
