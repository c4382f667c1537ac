"""What leaves the training: stock ops, model weights, and nothing of ours."""

import keras
import numpy as np
import pytest
from helpers import active, assert_same, compiled, fit, toy_data, toy_model

import keras_sparse as ks


@pytest.fixture(scope="module")
def trained():
    keras.utils.clear_session(free_memory=False)
    model = compiled()
    fit(model, ks.UpdateMasks())
    return model


@pytest.fixture
def served(trained, tmp_path):
    import tensorflow as tf

    trained.export(str(tmp_path / "served"), verbose=False)
    return tf.saved_model.load(str(tmp_path / "served"))


def test_a_saved_model_holds_the_weights_and_no_more(trained, served):
    assert sorted(tuple(v.shape) for v in served.variables) == sorted(tuple(v.shape) for v in trained.weights)
    zeros = sum(int((v.numpy() == 0).sum()) for v in served.variables)
    assert zeros >= 192 - active(trained.optimizer)


def test_a_saved_model_is_made_of_stock_ops(served):
    from tensorflow.python.framework import op_def_registry

    graph = served.signatures["serving_default"].graph.as_graph_def()
    ops = {node.op for node in graph.node} | {node.op for function in graph.library.function for node in function.node_def}
    names = [node.name for node in graph.node]
    assert "MatMul" in ops
    assert all(op_def_registry.get(op) is not None and "sparse" not in op.lower() for op in ops)
    assert not any("mask" in name or "momentum" in name for name in names)


def test_a_saved_model_predicts_the_same(trained, served):
    x, _ = toy_data()
    np.testing.assert_allclose(served.serve(x).numpy(), trained.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.backend
def test_a_keras_file_predicts_the_same(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    x, _ = toy_data()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), trained.predict(x, verbose=0))
    assert active(loaded.optimizer) == active(trained.optimizer)


@pytest.mark.backend
def test_a_keras_file_can_leave_the_optimizer_at_home(trained, tmp_path):
    trained.save(tmp_path / "model.keras", include_optimizer=False)
    plain = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert_same(plain.get_weights(), trained.get_weights())
    assert getattr(plain, "optimizer", None) is None


@pytest.mark.backend
def test_sparse_weights_fit_into_a_plain_model(trained):
    model = toy_model()
    model.set_weights(trained.get_weights())
    x, _ = toy_data()
    np.testing.assert_allclose(model.predict(x, verbose=0), trained.predict(x, verbose=0), rtol=1e-6)
