"""Sparse models of every kind go through every format, and predict the same in its runtime."""

import functools
import importlib.util
import warnings

import keras
import numpy as np
import pytest
from helpers import toy_model

import keras_sparse as ks

L = keras.layers
SUFFIXES = {
    "saved_model": "",
    "keras": ".keras",
    "litert": ".tflite",
    "onnx": ".onnx",
    "openvino": ".xml",
}
NEEDS = {"onnx": ("tf2onnx", "onnxruntime"), "openvino": ("openvino",)}
RNG = np.random.default_rng(0)


def lenet():
    return [keras.Input((28, 28)), L.Flatten(), L.Dense(30, "relu"), L.Dense(10, "softmax")]


def wide_resnet():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    for width, stride in ((16, 1), (32, 2)):
        y = L.ReLU()(L.BatchNormalization()(x))
        short = L.Conv2D(width, 1, stride, use_bias=False)(y)
        y = L.Conv2D(width, 3, stride, padding="same", use_bias=False)(y)
        y = L.Conv2D(width, 3, padding="same")(L.ReLU()(L.BatchNormalization()(y)))
        x = y + short
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def mobilenet():
    inputs = keras.Input((16, 16, 3))
    x = L.ReLU(6)(L.BatchNormalization()(L.Conv2D(16, 3, 2, padding="same")(inputs)))
    y = L.ReLU(6)(L.BatchNormalization()(L.Conv2D(32, 1, use_bias=False)(x)))
    y = L.ReLU(6)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y)))
    x = x + L.BatchNormalization()(L.Conv2D(16, 1, use_bias=False)(y))
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def vit():
    inputs = keras.Input((16, 16, 3))
    x = L.Reshape((16, 32))(L.Conv2D(32, 4, 4)(inputs))
    y = L.LayerNormalization()(x)
    x = x + L.MultiHeadAttention(2, 16)(y, y)
    y = L.Dense(32)(L.Dense(64, "gelu")(L.LayerNormalization()(x)))
    return keras.Model(inputs, L.Dense(10)(L.GlobalAveragePooling1D()(x + y)))


def lstm():
    return [keras.Input((6, 8)), L.LSTM(16, return_sequences=True), L.GRU(16), L.Dense(4)]


NETWORKS = (lenet, wide_resnet, mobilenet, vit, lstm)


def sparse_network(make, density):
    """A sparsified network at this density with other statistics than those of initializers."""
    keras.utils.set_random_seed(0)
    made = make()
    model = keras.Sequential(made) if isinstance(made, list) else made
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(0.5 + RNG.random(variable.shape))
    ks.prune(model, density)
    return ks.sparsify(model, verbose=False)


@functools.cache
def predicting(make, density):
    """A network that no test changes, inputs, and what it predicts."""
    model = sparse_network(make, density)
    x = sample_of(model)
    return model, x, model.predict(x, verbose=0)


def sample_of(model, examples=4):
    return RNG.normal(size=(examples, *model.inputs[0].shape[1:])).astype("float32")


def predicted(path, format, x):  # noqa: A002
    """What the runtime of a format predicts for a model with one input and one output."""
    if format == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        return loaded.serve(x).numpy()
    if format == "keras":
        return keras.saving.load_model(path).predict(x, verbose=0)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    if format == "openvino":
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        return openvino.Core().compile_model(path, "CPU", settings)(x)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another package has the newer interpreter
        import tensorflow as tf

        run = tf.lite.Interpreter(str(path)).get_signature_runner()
    (name,) = run.get_input_details()
    return np.concatenate([next(iter(run(**{name: each[None]}).values())) for each in x])


def skip_unless_installed(format):  # noqa: A002
    for package in NEEDS.get(format, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def cases():
    """All pairs; the fast ones are not marked."""
    for network in NETWORKS:
        for format in SUFFIXES:  # noqa: A001
            is_fast = network is lenet and format != "openvino"
            marks = () if is_fast else (pytest.mark.slow,)
            yield pytest.param(network, format, marks=marks, id=f"{network.__name__}-{format}")


@pytest.mark.parametrize(("network", "format"), list(cases()))
def test_every_format_predicts_the_same(network, format, tmp_path):  # noqa: A002
    skip_unless_installed(format)
    density = 0.05 if network is vit else 0.1
    model, x, wanted = predicting(network, density)
    path = tmp_path / f"model{SUFFIXES[format]}"
    report = ks.export(model, path, format, sample=x, compare_dense=False, verbose=False)
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(predicted(path, format, x), wanted, atol=1e-5 * scale, rtol=0)
    assert report.difference <= 1e-5
    assert report.density == pytest.approx(density, abs=2e-3)
    names = {f"model{SUFFIXES[format]}", *(["model.bin"] if format == "openvino" else [])}
    assert {each.name for each in tmp_path.iterdir()} == names
    files = [each for each in (path, *path.rglob("*")) if each.is_file()]
    files += [path.with_suffix(".bin")] if format == "openvino" else []
    assert report.sizes.bytes == sum(each.stat().st_size for each in files)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("network", NETWORKS)
def test_litert_files_of_few_bits_predict_nearly_the_same(network, dtype, tmp_path):
    model, x, wanted = predicting(network, 0.1)
    path, compares = tmp_path / "model.tflite", network is lenet
    settings = {"dtype": dtype, "sample": x, "compare_dense": compares, "verbose": False}
    report = ks.export(model, path, "litert", **settings)
    scale = max(1.0, float(np.abs(wanted).max()))
    bound = 0.01 if dtype == "float16" else report.tolerance  # some steps of the outputs
    assert bound <= 0.15
    found = predicted(path, "litert", x)
    np.testing.assert_allclose(found, wanted, atol=bound * scale, rtol=0)
    assert report.dtype == dtype
    if compares:
        assert report.sizes.bytes_zipped < report.dense_sizes.bytes_zipped


def nested():
    inner = keras.Sequential([keras.Input((8,)), L.Dense(16, "relu"), L.Dense(8)])
    a, b = keras.Input((8,), name="zeta"), keras.Input((5, 8), name="alpha")
    x = inner(a) + L.Dense(8)(L.Flatten()(b))
    return keras.Model({"zeta": a, "alpha": b}, {"last": x, "first": inner(x)[:, :3]})


@pytest.mark.parametrize(
    "format",
    [
        "saved_model",
        "keras",
        pytest.param("litert", marks=pytest.mark.slow),
        "onnx",
        pytest.param("openvino", marks=pytest.mark.slow),
    ],
)
def test_nested_models_with_named_inputs_and_outputs(format, tmp_path):  # noqa: A002
    skip_unless_installed(format)
    model = nested()
    ks.prune(model, 0.2)
    sample = {"zeta": RNG.normal(size=(3, 8)), "alpha": RNG.normal(size=(3, 5, 8))}
    path = tmp_path / f"model{SUFFIXES[format]}"
    models = [ks.sparsify(model, verbose=False), *([model] if format == "saved_model" else [])]
    for given in models:
        report = ks.export(
            given, path, format, sample=sample, overwrite=True, compare_dense=False, verbose=False
        )
        assert report.difference <= 1e-5


class Subclassed(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units, self.conv = units, ks.layers.SparseConv2D(16, 3)
        self.dense = ks.layers.SparseDense(units)

    def call(self, inputs):
        return self.dense(keras.ops.mean(self.conv(inputs), (1, 2)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize("format", ["saved_model", "keras", "onnx"])
def test_subclassed_models_of_sparse_layers(format, tmp_path):  # noqa: A002
    skip_unless_installed(format)
    model, x = Subclassed(), RNG.normal(size=(3, 6, 6, 3)).astype("float32")
    model(x)
    path = tmp_path / f"model{SUFFIXES[format]}"
    report = ks.export(model, path, format, sample=x, compare_dense=False, verbose=False)
    assert report.difference <= 1e-5


@pytest.mark.parametrize("format", ["saved_model", "keras", "onnx"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_models_that_compute_in_16_bits(policy, format, tmp_path):  # noqa: A002
    """A SavedModel and a Keras file keep the policy; others compute in float32."""
    skip_unless_installed(format)
    model = keras.Sequential(
        [keras.Input((8,)), L.Dense(16, "tanh", dtype=policy), L.Dense(4, dtype=policy)]
    )
    ks.prune(model, 0.25)
    model = ks.sparsify(model, verbose=False)
    policies = [layer.dtype_policy.name for layer in model.layers]
    report = ks.export(
        model, tmp_path / f"model{SUFFIXES[format]}", format, compare_dense=False, verbose=False
    )
    assert report.difference <= (1e-5 if format == "onnx" else 1e-2)  # rounding of 16 bits
    assert [layer.dtype_policy.name for layer in model.layers] == policies


def test_states_of_stateful_layers_stay(tmp_path):
    inputs = keras.Input(batch_shape=(2, 5, 8))
    model = keras.Sequential([inputs, L.LSTM(16, stateful=True), L.Dense(2)])
    model.predict(RNG.normal(size=(2, 5, 8)), verbose=0)
    before = [keras.ops.convert_to_numpy(state) for state in model.layers[0].states]
    ks.export(model, tmp_path / "served", compare_dense=False, verbose=False)
    after = [keras.ops.convert_to_numpy(state) for state in model.layers[0].states]
    assert np.any(before[0])
    np.testing.assert_array_equal(before, after)


def test_augmentation_is_off_in_a_saved_model(tmp_path):
    layers = [keras.Input((6, 6, 3)), L.RandomFlip(seed=1), L.RandomContrast(0.9), L.Conv2D(4, 3)]
    model = keras.Sequential(layers)
    report = ks.export(model, tmp_path / "served", compare_dense=False, verbose=False)
    assert report.difference <= 1e-5


def test_a_saved_model_holds_each_variable_once(tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(256)])
    ks.export(model, tmp_path / "served", compare_dense=False, verbose=False)
    (file,) = (tmp_path / "served" / "variables").glob("*.data*")
    assert file.stat().st_size < 1.1 * 4 * (64 * 256 + 256)


@pytest.mark.backend
def test_a_keras_file_holds_no_optimizer_and_no_sparse_layer(tmp_path):
    model = ks.sparsify(toy_model(), verbose=False)
    model.compile(ks.SparseMomentum("adam", 0.25), "mse")
    ks.export(model, tmp_path / "model.keras", "keras", compare_dense=False, verbose=False)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    assert [type(layer) for layer in loaded.layers] == [L.Dense, L.Dense]


def test_onnx_files_of_large_models_have_all_weights(tmp_path, monkeypatch):
    """Those that a convolution reads are stored as it reads them."""
    skip_unless_installed("onnx")
    import onnx

    monkeypatch.setattr("keras_sparse.exporting.writers.LARGE_MODEL", 0)
    monkeypatch.setattr("keras_sparse.exporting.writers.LARGE_WEIGHT", 100)
    L = keras.layers  # noqa: N806
    inputs = keras.Input((8, 8, 16), name="images")
    x = L.Conv2D(16, 3, padding="same")(inputs)
    x = L.DepthwiseConv2D(3)(L.BatchNormalization()(x))
    x = L.Conv2DTranspose(16, 3, 2)(x)
    attended = L.MultiHeadAttention(2, 8)(*2 * [L.Reshape((-1, 16))(x)])
    outputs = L.Dense(8, "gelu")(L.GlobalAveragePooling1D()(attended))
    model, path = keras.Model(inputs, outputs), tmp_path / "m.onnx"
    ks.prune(model, 0.3)
    report = ks.export(ks.sparsify(model, verbose=False), path, "onnx", verbose=False)
    assert report.difference <= 1e-5
    graph = onnx.load(path).graph
    assert [each.name for each in graph.input] == ["images"]
    names = {each.name for each in graph.initializer}
    transposed = [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in names]
    assert transposed == []
