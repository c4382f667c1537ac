"""Models that Keras has quantized: zeros stay 0, and densities count weights, not bytes."""

import keras
import numpy as np
import pytest
from helpers import assert_same, compiled, fit, sparse, toy_data

import keras_sparse as ks
from keras_sparse.models.file_report import file_report
from keras_sparse.models.quantized import nonzero_of_quantized


def network():
    """Kernels (8, 15), (15, 3, 5) and (5, 1): odd numbers of outputs, and a single one."""
    layers = [
        keras.layers.Dense(15, "tanh", name="hidden"),
        keras.layers.EinsumDense("ab,bcd->acd", (3, 5), bias_axes="d", name="heads"),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(1, name="last"),
    ]
    return keras.Sequential([keras.Input((8,)), *layers], name="net")


def pruned():
    """Weights of +-1 and 0, which four bits hold exactly; the masks by layer."""
    model = network()
    rng, masks = np.random.default_rng(0), {}
    for name in ("hidden", "heads", "last"):
        kernel = model.get_layer(name).kernel
        masks[name] = rng.random(kernel.shape) < 0.4
        masks[name].reshape(-1)[0] = True
        kernel.assign(masks[name] * rng.choice([-1.0, 1.0], kernel.shape))
    return model, masks


def quantize(model, mode, block_size):
    config = {}
    if block_size is not None:
        config = {"config": keras.quantizers.Int4QuantizationConfig(block_size=block_size)}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.quantize(mode, **config)


@pytest.mark.parametrize(
    ("mode", "block_size"), [("int8", None), ("int4", None), ("int4", -1), ("int4", 4)]
)
def test_the_density_is_that_of_before(tmp_path, mode, block_size):
    model, masks = pruned()
    wanted = sum(int(mask.sum()) for mask in masks.values()) / (120 + 225 + 5)
    assert ks.density(model) == pytest.approx(wanted)
    quantize(model, mode, block_size)
    assert ks.density(model) == pytest.approx(wanted)
    rows = ks.summary(model, "dict")["layers"]
    assert [row["shape"] for row in rows] == [[8, 15], [15, 3, 5], [5, 1]]
    assert [row["active"] for row in rows] == [int(mask.sum()) for mask in masks.values()]
    assert ks.summary(model, "dict")["total"]["other_weights"] >= 15 + 5 + 1
    model.save_weights(tmp_path / "model.weights.h5")
    total = file_report(tmp_path / "model.weights.h5")["total"]
    assert (total["size"], total["density"]) == (350, pytest.approx(wanted))
    if mode == "int4":
        for name, mask in masks.items():
            np.testing.assert_array_equal(nonzero_of_quantized(model.get_layer(name)), mask)


KERAS_WARNS = pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")


@KERAS_WARNS
def test_a_trained_model_is_quantized_and_saved(tmp_path):
    model = compiled(sparse(), keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]))
    fit(model, ks.UpdateMasks(every=2), epochs=2)
    masks = list(model.optimizer.masks.values())
    model.quantize("int8")
    assert not np.asarray(keras.ops.convert_to_numpy(model.layers[0].kernel))[~masks[0]].any()
    assert ks.density(model) <= 0.25
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    x, _ = toy_data()
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert ks.density(again) == ks.density(model)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_sparse_layers_are_not_quantized_before_they_are_densified(mode):
    model = ks.sparsify(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]))
    with pytest.raises(NotImplementedError, match="cannot be quantized.*densify"):
        model.layers[0].quantize(mode)
    ks.densify(model).layers[0].quantize(mode)


@KERAS_WARNS
@pytest.mark.parametrize("is_trained", [False, True])
def test_a_model_that_is_quantized_leaves_sparse_layers_as_they_are(tmp_path, is_trained):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="head")])
    model = compiled(sparse(), ks.sparsify(model))
    if is_trained:
        fit(model, ks.UpdateMasks(every=2), epochs=2)
    x, head = toy_data()[0], model.get_layer("head")
    before = [head.kernel.numpy(), head.mask.numpy(), model.predict(x, verbose=0)]
    with pytest.warns(UserWarning, match=r"cannot be quantized. Call `keras_sparse.densify"):
        model.quantize("int8")
    assert_same([head.kernel.numpy(), head.mask.numpy(), model.predict(x, verbose=0)], before)
    assert not head.kernel.numpy()[~before[1]].any()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again.get_layer("head").mask.numpy(), before[1])
