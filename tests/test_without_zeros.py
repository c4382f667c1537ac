"""A SavedModel without zeros has the size of one that is written from a model without zeros."""

import keras
import numpy as np
import pytest
from helpers import toy_model

import keras_sparse as ks
from keras_sparse.exporting.without_zeros import fill_saved_model, filled
from keras_sparse.models.file_report import sizes_of

tf = pytest.importorskip("tensorflow")


def pruned(dtype="float32"):
    layers = [keras.layers.Dense(64, dtype=dtype), keras.layers.BatchNormalization(dtype=dtype)]
    model = keras.Sequential([keras.Input((96,), dtype=dtype), *layers])
    ks.prune(model, 0.1)
    return model


def exported(model, path):
    ks.export(model, path, compare_dense=False, verbose=False)
    return path


def kernels(path):
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name, shape in shapes.items() if len(shape) == 2}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zeros_of_kernels_become_other_numbers_and_nothing_else_changes(tmp_path, dtype):
    path, twin = exported(pruned(dtype), tmp_path / "sparse"), tmp_path / "dense"
    fill_saved_model(None, path, twin)
    before, after = kernels(path), kernels(twin)
    assert list(before) == list(after) != []
    for name, values in before.items():
        active = values != 0
        assert active.sum() == 614  # 0.1 * 96 * 64, rounded
        assert np.array_equal(after[name][active], values[active])
        assert (after[name] != 0).all()
    served = tf.saved_model.load(str(twin)).serve(tf.ones((2, 96), dtype))
    assert np.isfinite(tf.cast(served, "float32")).all()


def test_it_has_the_size_of_a_model_that_was_dense_when_it_was_written(tmp_path):
    model = pruned()
    path, twin = exported(model, tmp_path / "sparse"), tmp_path / "dense"
    fill_saved_model(None, path, twin)
    model.set_weights(filled(model).get_weights())
    found, expected = sizes_of(twin), sizes_of(exported(model, tmp_path / "written"))
    assert found.bytes == pytest.approx(expected.bytes, abs=100)
    assert found.bytes_zipped == pytest.approx(expected.bytes_zipped, rel=0.01)
    assert found.bytes_zipped > 1.5 * sizes_of(path).bytes_zipped


def test_a_model_without_zeros_is_copied_as_it_is(tmp_path):
    path, twin = exported(toy_model(), tmp_path / "sparse"), tmp_path / "dense"
    fill_saved_model(None, path, twin)
    assert sizes_of(twin).bytes == sizes_of(path).bytes
    for name, values in kernels(path).items():
        assert np.array_equal(kernels(twin)[name], values)
