"""The networks of the benchmark of predictions, their files, and the runtimes that read these."""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], object]
DENSITIES = (0.1, 0.05)
PACKAGES = {"ONNX Runtime": "onnxruntime", "LiteRT": "ai_edge_litert", "OpenVINO": "openvino"}
DENSE = ("TensorFlow", "XLA", *PACKAGES)
NETWORKS = ("ResNet50", "VGG16", "MLP", "MobileNetV2", "WRN-16-8", "ViT")


def network(name: str) -> Any:
    """A network of random weights and offsets: none is 0, which a runtime could leave out."""
    import keras

    keras.utils.set_random_seed(0)
    model, rng = _untrained(name), np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(rng.normal(scale=0.1, size=variable.shape))
    return model


def _untrained(name: str) -> Any:
    import keras

    from benchmarks import coverage_networks
    from benchmarks.small_batch_models import mlp
    from examples.models import wide_resnet

    if name == "ViT":
        return coverage_networks.network(name)
    if name == "WRN-16-8":
        return wide_resnet(16, 8)
    if name == "MLP":
        return mlp(1024, 4096, 4096, 1000)
    return getattr(keras.applications, name)(weights=None)


def masked(model: Any, density: float) -> Any:
    """The model with sparse layers; in each masked kernel, this share of the weights is random."""
    import keras

    import keras_sparse as ks

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    optimizer = ks.StaticSparsity(keras.optimizers.SGD(), density, initial_scale=None)
    optimizer.build(twin)
    return ks.sparsify(twin, verbose=False)


def missing() -> list[str]:
    """Contenders whose packages are not installed."""
    return [name for name, one in PACKAGES.items() if importlib.util.find_spec(one) is None]


def write_files(name: str, folder: Path) -> None:
    """The dense network for each runtime, and ours at each density; what is there stays."""
    import keras_sparse as ks

    folder.mkdir(parents=True, exist_ok=True)
    model = network(name)
    here = set(PACKAGES) - set(missing())
    if here & {"ONNX Runtime", "OpenVINO"} and not (folder / "dense.onnx").exists():
        settings = {"compare_dense": False, "verbose": False}
        ks.export(model, folder / "dense.onnx", format="onnx", **settings)
    if "LiteRT" in here and not (folder / "dense.tflite").exists():
        model.export(str(folder / "dense.tflite"), format="litert", verbose=False)
    for density in DENSITIES:
        path = folder / f"sparse_{density}"
        if not path.exists():
            settings = {"custom_ops": True, "compare_dense": False, "verbose": False}
            sample = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
            sparse = masked(model, density)
            ks.export(sparse, path, sample=sample.astype("float32"), **settings)


def contenders(name: str, folder: Path, batch: int, threads: int) -> dict[str, Call]:
    """{name: one prediction of this batch, which returns its outputs}"""
    import tensorflow as tf

    model = network(name)
    shape = (batch, *model.input_shape[1:])
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    tensor = tf.constant(x)
    calls: dict[str, Call] = {}
    for way, jit in (("TensorFlow", False), ("XLA", True)):
        function = tf.function(
            functools.partial(model, training=False), autograph=False, jit_compile=jit
        )
        calls[way] = functools.partial(function, tensor)
    for runtime in set(PACKAGES) - set(missing()):
        calls[runtime] = _RUNTIMES[runtime](folder, x, threads)
    for density in DENSITIES:
        calls[f"ours {density}"] = _served(folder / f"sparse_{density}", tensor)
    return calls


def _served(path: Path, tensor: Any) -> Call:
    from keras_sparse.exporting.served_loader import load

    signature = load(path).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    return lambda: next(iter(signature(**{name: tensor}).values()))


def _onnxruntime(folder: Path, x: np.ndarray, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    path, providers = str(folder / "dense.onnx"), ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def _openvino(folder: Path, x: np.ndarray, threads: int) -> Call:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    core = openvino.Core()
    read = core.read_model(folder / "dense.onnx")
    read.reshape(list(x.shape))
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x})[0]


def _litert(folder: Path, x: np.ndarray, threads: int) -> Call:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "dense.tflite"), num_threads=threads)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, x)
    outputs = interpreter.get_output_details()[0]["index"]

    def predict() -> object:
        interpreter.invoke()
        return interpreter.get_tensor(outputs)

    return predict


_RUNTIMES: dict[str, Callable[[Path, np.ndarray, int], Call]] = {
    "ONNX Runtime": _onnxruntime,
    "OpenVINO": _openvino,
    "LiteRT": _litert,
}
