"""The report of a LiteRT file: what is stored sparse, and which rule keeps a layer from speed."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.models.tflite_tensors import constants

L = keras.layers
RNG = np.random.default_rng(0)


def exported(model, path, **settings):
    settings = {"compare_dense": False, "verbose": False, **settings}
    return ks.export(model, path / "model.tflite", "litert", **settings)


def mobile(width=16, begins_by_the_rules=True, keeps_axes=True):
    """A network by all of XNNPACK's rules: explicit padding, and a mean that keeps its axes."""
    inputs = keras.Input((16, 16, 3))
    x = L.ZeroPadding2D(1)(inputs) if begins_by_the_rules else inputs
    padding = "valid" if begins_by_the_rules else "same"
    x = L.Conv2D(width, 3, 2, padding=padding, use_bias=False, name="stem")(x)
    x = L.ReLU(6)(L.BatchNormalization()(x))
    for number, strides in enumerate((1, 2)):
        y = L.ZeroPadding2D(1)(x)
        y = L.DepthwiseConv2D(3, strides, use_bias=False)(y)
        y = L.ReLU(6)(L.BatchNormalization()(y))
        y = L.Conv2D(width, 1, use_bias=False, name=f"point_{number}")(y)
        x = L.ReLU(6)(L.BatchNormalization()(y))
    x = L.GlobalAveragePooling2D(keepdims=keeps_axes)(x)
    return keras.Model(inputs, L.Dense(8, name="head")(L.Flatten()(x)))


def on_arm(report):
    return {row.name.split("/")[0]: row.on_arm for row in report.layers}


def test_a_network_by_all_rules_of_xnnpack(tmp_path):
    model = mobile()
    ks.prune(model, 0.1)
    report = exported(model, tmp_path)
    found = on_arm(report)
    assert found["point_0"] == found["point_1"] == "yes: XNNPACK has a sparse kernel for it"
    assert found["stem"] == "no: it is 3x3, and XNNPACK's sparse kernels are 1x1"
    assert found["head"].startswith("no: LiteRT's sparse kernel needs blocks of 4 inputs")
    assert all(row.on_x86.startswith("no: ") for row in report.layers)
    assert {row.name for row in report.layers} >= {"point_0/kernel", "head/kernel"}
    density = {row.name: row.density for row in report.layers}
    assert density["point_0/kernel"] == pytest.approx(0.1, abs=0.01)
    text = str(report)
    for part in ("faster on x86", "faster on ARM", "point_0/kernel", "CONV_2D"):
        assert part in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "density", "message"),
    [
        ({"begins_by_the_rules": False}, 0.1, r"CONV_2D \(3x3, strides of 2, uneven padding\) bef"),
        ({"keeps_axes": False}, 0.1, "MEAN behind it is outside of XNNPACK's rules"),
        ({}, 0.5, "50% of the weights in its cluster are 0, and 2/3 must be"),
    ],
)
def test_the_rule_that_fails_is_named(settings, density, message, tmp_path):
    model = mobile(**settings)
    ks.prune(model, density)
    found = on_arm(exported(model, tmp_path))
    assert np.all([found[f"point_{number}"].startswith("no: ") for number in (0, 1)])
    assert any(message.replace("\\", "") in found[f"point_{number}"] for number in (0, 1))


def dense_layers(block):
    model = keras.Sequential([keras.Input((64,)), L.Dense(64, "relu"), L.Dense(32)])
    ks.prune(model, 0.1, block_shape=block)
    return model


def test_blocks_of_4_inputs_get_litert_s_sparse_kernel(tmp_path):
    report = exported(dense_layers((4, 1)), tmp_path)
    assert [row.stored for row in report.layers] == ["1x4 blocks"] * 2
    assert all(row.on_x86.startswith("yes at batch 1") for row in report.layers)
    assert all(is_sparse for _, values, is_sparse in constants(report.path) if values.ndim == 2)


def dense_layer_in_cut_blocks(inputs, block):
    """LiteRT's converter chooses blocks of 4 inputs, and loses those behind the last one."""
    model = keras.Sequential([keras.Input((inputs,)), L.Dense(64, name="only"), L.Dense(32)])
    ks.prune(model, 0.25, block_shape=block, distribution={"only": 0.5, "*": 0.25})
    return model


@pytest.mark.parametrize(("inputs", "block"), [(2, None), (6, (4, 1))])
def test_a_model_that_the_converter_would_damage_is_stored_dense(inputs, block, tmp_path):
    model = dense_layer_in_cut_blocks(inputs, block)
    report = exported(model, tmp_path)
    assert report.difference < 1e-5
    assert [row.stored for row in report.layers] == ["dense"] * 2
    assert "stored dense: LiteRT's converter would lose weights" in str(report)
    with pytest.raises(ValueError, match="must be None or False .*sparsity=True, kernels"):
        exported(model, tmp_path, sparsity=True, overwrite=True)


def test_a_file_that_the_converter_has_damaged_is_refused(tmp_path):
    """Written by TensorFlow alone, as other programs do."""
    import tensorflow as tf

    dense_layer_in_cut_blocks(2, None).export(tmp_path / "model", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model"))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    with pytest.raises(ValueError, match=r"has lost weights of this file.*shape \(64, 2\)"):
        list(constants(tmp_path / "model.tflite"))


@pytest.mark.slow
def test_blocks_of_16_inputs_get_the_sparse_kernel_of_int8(tmp_path):
    model, x = dense_layers((16, 1)), RNG.normal(size=(16, 64)).astype("float32")
    report = exported(model, tmp_path, dtype="int8", sparsity=True, sample=x)
    assert [row.stored for row in report.layers] == ["1x16 blocks"] * 2
    assert [row.name.split("/")[-2:] for row in report.layers] == [
        [layer.name, "kernel"] for layer in model.layers
    ]


@pytest.mark.slow
def test_a_file_that_the_interpreter_cannot_allocate_is_an_error(tmp_path):
    """Sparse int8 kernels without blocks: LiteRT's default delegate refuses them."""
    pytest.importorskip("ai_edge_litert", reason="TensorFlow's older interpreter runs the file")
    layers = [L.Conv2D(32, 3, padding="same"), L.Flatten(), L.Dense(64, "relu"), L.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 16)), *layers])
    ks.prune(model, 0.1)
    x = RNG.normal(size=(4, 8, 8, 16)).astype("float32")
    with pytest.raises(RuntimeError, match="cannot run it, so it was removed"):
        exported(model, tmp_path, dtype="int8", sparsity=True, sample=x)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_int8_keeps_zeros_and_rounds_weights_by_half_a_step(tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(64, use_bias=False, name="only")])
    ks.prune(model, 0.1)
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    report = exported(model, tmp_path, dtype="int8", sample=RNG.normal(size=(32, 64)))
    (stored,) = [v.T for _, v, _ in constants(report.path) if v.dtype == np.int8 and v.ndim == 2]
    steps = np.abs(kernel).max(axis=0) / 127  # of each output channel
    assert np.all(stored[kernel == 0] == 0)
    assert np.all(np.abs(stored * steps - kernel) <= 0.5001 * steps)


@pytest.mark.parametrize("dtype_of_files", [None, "int8", "uint8"])
def test_int8_may_differ_by_a_few_steps_of_the_outputs(dtype_of_files, tmp_path):
    """Outputs between -10 and 10 have steps of 20 / 255."""
    import tensorflow as tf

    model = keras.Sequential([keras.Input((4,)), L.Dense(2, use_bias=False)])
    model.layers[0].kernel.assign([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    x = np.array([[10.0, -10.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0]], "float32")
    settings = {}
    if dtype_of_files:
        kind = getattr(tf, dtype_of_files)
        settings = {"inference_input_type": kind, "inference_output_type": kind}
    report = exported(model, tmp_path, dtype="int8", sample=x, **settings)
    step = (20 / 255) / 10  # relative to the largest prediction
    operations = {None: 3, "int8": 1, "uint8": 3}[dtype_of_files]
    assert report.tolerance == pytest.approx(2 * step * (1 + operations**0.5), rel=1e-3)
    assert report.difference <= step


def test_an_error_of_a_tenth_is_no_rounding_of_int8(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    monkeypatch.setattr(
        "keras_sparse.exporting.checked_file.largest_difference", lambda found, expected: 0.1
    )
    with pytest.raises(RuntimeError, match=r"difference is 0.1 of .*`tolerance` allows 0.0\d"):
        exported(model, tmp_path, dtype="int8", sample=np.eye(4, dtype="float32"))
    assert list(tmp_path.iterdir()) == []


def test_kernels_without_zeros_are_stored_dense(tmp_path):
    report = exported(keras.Sequential([keras.Input((8,)), L.Dense(8)]), tmp_path)
    assert [row.stored for row in report.layers] == ["dense"]
    assert report.layers[0].on_x86 == "no: less than 30 % zeros"


def test_quantized_layers_that_the_converter_does_not_take_are_named(tmp_path):
    model = keras.Sequential([keras.Input((32,)), L.Dense(16, name="one"), L.Dense(4, name="two")])
    for layer in model.layers:
        layer.quantize("int8")
    with pytest.raises(ValueError, match=r'`dtype="int8"`.*quantized layers \[\'one\', \'two\'\]'):
        exported(model, tmp_path)
    assert not list(tmp_path.iterdir())
