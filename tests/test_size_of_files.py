"""Files of sparse models are as small as those of dense ones."""

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, compiled, fit, sgd, sparse, toy_data, toy_model
from steps_by_hand import step_by_hand

import keras_sparse as ks
from keras_sparse.rules import mask_bits


def test_bits_and_places_tell_a_mask():
    rng = np.random.default_rng(0)
    for shape in ((3, 3, 5, 7), (1, 1), (8, 16)):
        mask = rng.random(shape) < 0.3
        np.testing.assert_array_equal(mask_bits.unpack(mask_bits.pack(mask), shape), mask)
        np.testing.assert_array_equal(mask_bits.unpack(mask, shape), mask)
        few, many, outside = (
            mask.astype("float32"),
            np.zeros(shape, "float32"),
            np.ones(shape, "float32"),
        )
        few.reshape(-1)[np.flatnonzero(mask)[: mask.size // 64]] = 0
        for weight in (few, many, outside):
            store = {}
            mask_bits.save_beside(weight, mask, store)
            np.testing.assert_array_equal(mask_bits.load_beside(weight, store), mask)
    with pytest.raises(
        ValueError,
        match=r"another shape than the weight. "
        r"Received: uint8 of shape \(16,\) for a weight of shape \(8, 8\)",
    ):
        mask_bits.unpack(mask_bits.pack(np.ones((8, 16), bool)), (8, 8))


@pytest.mark.parametrize("convert", [lambda model: model, ks.sparsify], ids=["keras", "sparse"])
def test_files_of_sparse_models_are_as_large_as_those_of_dense_ones(tmp_path, convert):
    def size(optimizer, *callbacks):
        model = keras.Sequential(
            [keras.Input((256,)), keras.layers.Dense(512), keras.layers.Dense(64)]
        )
        model = compiled(optimizer, convert(model) if callbacks else model)
        x, y = toy_data((256,), 64)
        fit(model, *callbacks, data=(x, y), epochs=2)
        model.save(tmp_path / "model.keras")
        return (tmp_path / "model.keras").stat().st_size

    dense = size(sgd())
    assert size(sparse(density=0.1, growth_window=None), ks.UpdateMasks()) < (1 + 1 / 32) * dense


def test_the_mask_of_a_sparse_layer_is_in_its_file_without_an_optimizer(tmp_path):
    model = compiled(sparse(growth_window=None), ks.sparsify(toy_model()))
    model.optimizer.build(model)
    step_by_hand(model.optimizer, model.trainable_variables)
    model.layers[0].kernel.assign(
        array(model.layers[0].kernel) * (np.arange(16) > 0)
    )  # active weights may be 0
    masks = arrays([layer.mask for layer in model.layers])
    model.save(tmp_path / "model.keras")
    assert_same(
        arrays(
            [
                layer.mask
                for layer in keras.models.load_model(tmp_path / "model.keras", compile=False).layers
            ]
        ),
        masks,
    )
    model.save_weights(tmp_path / "all.weights.h5")
    other = ks.sparsify(toy_model())
    other.load_weights(tmp_path / "all.weights.h5")
    assert_same(arrays([layer.mask for layer in other.layers]), masks)
