"""What leaves the training: stock ops, model weights, and nothing of ours."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from helpers import active, array, assert_same, compiled, fit, toy_data, toy_model

import keras_sparse as ks


@pytest.fixture(scope="module")
def trained():
    keras.utils.clear_session(free_memory=False)
    model = compiled()
    fit(model, ks.UpdateMasks())
    return model


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    import tensorflow as tf

    folder = str(tmp_path_factory.mktemp("served"))
    trained.export(folder, verbose=False)
    return tf.saved_model.load(folder)


def test_a_saved_model_holds_the_weights_and_no_more(trained, served):
    assert sorted(tuple(v.shape) for v in served.variables) == sorted(
        tuple(v.shape) for v in trained.weights
    )
    zeros = sum(int((v.numpy() == 0).sum()) for v in served.variables)
    assert zeros >= 192 - active(trained.optimizer)


def test_a_saved_model_is_made_of_stock_ops(served):
    from tensorflow.python.framework import op_def_registry

    graph = served.signatures["serving_default"].graph.as_graph_def()
    ops = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    names = [node.name for node in graph.node]
    assert "MatMul" in ops
    assert all(op_def_registry.get(op) is not None and "sparse" not in op.lower() for op in ops)
    assert not any("mask" in name or "momentum" in name for name in names)


def test_a_saved_model_predicts_the_same(trained, served):
    x, _ = toy_data()
    np.testing.assert_allclose(
        served.serve(x).numpy(), trained.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_saved_model_is_loaded_and_called_in_one_expression(trained, tmp_path):
    import tensorflow as tf

    x, _ = toy_data()
    ks.export(trained, tmp_path / "served", verbose=False)
    outputs = tf.saved_model.load(str(tmp_path / "served")).serve(np.array(x))
    wanted = trained.predict(x, verbose=0)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5, atol=1e-6)


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
    np.testing.assert_allclose(
        model.predict(x, verbose=0), trained.predict(x, verbose=0), rtol=1e-6
    )


# --- models of sparse layers

SERVE = """
import sys
sys.modules["keras_sparse"] = None  # not importable
import numpy as np, tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
np.save(sys.argv[3], served.serve(np.load(sys.argv[2])).numpy())
print(sorted(str(variable.shape) for variable in served.variables))
"""


@pytest.fixture(scope="module")
def sparse_model():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(16, 3, name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(16, name="hidden"),
        keras.layers.Dense(4, name="head"),
    ]
    model = compiled(
        model=ks.sparsify(keras.Sequential([keras.Input((6, 6, 16)), *layers], name="net"))
    )
    fit(model, ks.UpdateMasks(), data=toy_data((6, 6, 16)))
    return model


@pytest.fixture(scope="module")
def exported(sparse_model, tmp_path_factory):
    """The folder of a saved model, and what the model was before: its weights and a mask."""
    before = [*sparse_model.get_weights(), array(sparse_model.get_layer("conv").mask)]
    folder = tmp_path_factory.mktemp("exported") / "served"
    ks.export(sparse_model, folder, verbose=False)
    return folder, before


def test_export_needs_no_library_where_it_is_loaded(sparse_model, exported, tmp_path):
    x, _ = toy_data((6, 6, 16))
    np.save(tmp_path / "x.npy", x)
    command = [
        sys.executable,
        "-c",
        SERVE,
        *map(str, (exported[0], tmp_path / "x.npy", tmp_path / "y.npy")),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(sorted(str(tuple(v.shape)) for v in sparse_model.weights))
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), sparse_model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_export_leaves_out_masks_and_custom_ops(exported):
    import tensorflow as tf

    served = tf.saved_model.load(str(exported[0]))
    graph = served.signatures["serving_default"].graph.as_graph_def()
    names = [
        node.op + node.name
        for part in (graph, *graph.library.function)
        for node in getattr(part, "node", getattr(part, "node_def", []))
    ]
    assert not any(
        word in name.lower() for name in names for word in ("sparse", "mask", "momentum")
    )
    assert all(variable.dtype != tf.bool for variable in served.variables)


def test_export_leaves_the_model_as_it_is(sparse_model, exported):
    mask = array(sparse_model.get_layer("conv").mask)
    assert_same([*sparse_model.get_weights(), mask], exported[1])
    assert sparse_model.compiled


def test_model_export_keeps_the_sparse_layers(sparse_model, tmp_path):
    import tensorflow as tf

    sparse_model.export(str(tmp_path / "served"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))  # here the library is
    x, _ = toy_data((6, 6, 16))
    np.testing.assert_allclose(
        served.serve(x).numpy(), sparse_model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.dense = ks.layers.SparseConv2D(16, 3), ks.layers.SparseDense(4)

    def call(self, inputs):
        return self.dense(keras.ops.mean(self.conv(inputs), (1, 2)))


def test_a_subclassed_model_of_sparse_layers_is_exported(tmp_path):
    import tensorflow as tf

    x, y = toy_data((6, 6, 16))
    model = compiled(model=Subclassed())
    fit(model, ks.UpdateMasks(), data=(x, y))
    before, masks = model.get_weights(), model.optimizer.masks
    ks.export(model, tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(
        served.serve(x).numpy(), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )
    graph = served.signatures["serving_default"].graph.as_graph_def()
    operations = {
        node.op
        for part in (graph, *graph.library.function)
        for node in getattr(part, "node", getattr(part, "node_def", []))
    }
    assert "Conv2D" in operations
    assert not any("Sparse" in operation for operation in operations)
    assert_same(model.get_weights(), before)
    assert_same(list(model.optimizer.masks.values()), list(masks.values()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tflite_files_are_written_of_models_with_sparse_layers(sparse_model, tmp_path):
    import tensorflow as tf

    x, _ = toy_data((6, 6, 16))
    ks.export(sparse_model, tmp_path / "model.tflite", format="litert", verbose=False)
    run = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    (predicted,) = run(**dict.fromkeys(run.get_input_details(), x[:1])).values()
    np.testing.assert_allclose(
        predicted, sparse_model.predict(x[:1], verbose=0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.backend
def test_export_of_a_model_without_weights_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="must have weights"):
        ks.export(Subclassed(), tmp_path / "served")


# --- keras.Model.export of models with sparse layers


def keeps_no_custom_op(path):
    return b"KerasSparse" not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_model_export_to_tflite_warns_and_writes_stock_operations(sparse_model, tmp_path):
    import tensorflow as tf

    x, _ = toy_data((6, 6, 16))
    path = tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match="`ks.export.model, path, 'litert'.` writes no masks"):
        sparse_model.export(str(path), format="litert", verbose=False)
    assert keeps_no_custom_op(path)
    run = tf.lite.Interpreter(str(path)).get_signature_runner()
    (predicted,) = run(**dict.fromkeys(run.get_input_details(), x[:1])).values()
    wanted = sparse_model.predict(x[:1], verbose=0)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:In the future `np.object` will be:FutureWarning")
def test_model_export_to_onnx_warns_and_writes_stock_operations(sparse_model, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    x, _ = toy_data((6, 6, 16))
    path = tmp_path / "model.onnx"
    with pytest.warns(UserWarning, match="`ks.export.model, path, 'onnx'.` writes no masks"):
        sparse_model.export(str(path), format="onnx", verbose=False)
    assert keeps_no_custom_op(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (predicted,) = session.run(None, {session.get_inputs()[0].name: x})
    wanted = sparse_model.predict(x, verbose=0)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-5)


def test_model_export_of_a_layer_that_must_run_the_custom_op_is_an_error(tmp_path):
    if not ks.ops.available():
        pytest.skip("the compiled ops are not available")
    layers = [keras.Input((32,)), keras.layers.Dense(32)]
    model = ks.sparsify(keras.Sequential(layers), implementation="custom_op", verbose=False)
    with (
        pytest.warns(UserWarning, match="no custom ops"),
        pytest.raises(ValueError, match="a file of the format 'litert', which has no custom ops"),
    ):
        model.export(str(tmp_path / "model.tflite"), format="litert", verbose=False)
    assert ks.export(model, tmp_path / "served", verbose=False).difference <= 1e-5
