"""The config of a Keras 2 (``tf_keras``) model, rewritten so that Keras 3 makes the same model."""

import inspect
from typing import Any

import keras

from keras_sparse.conversion.keras_2_activations import activation_of_keras_3
from keras_sparse.conversion.keras_2_graph import MODELS, Config, graph_of_keras_3

# Arguments that say how to compute, or what the data and the copied weights say, too.
NO_CHANGE = (
    *("implementation", "input_length", "query_shape", "key_shape", "value_shape"),
    "vocabulary_size",
)
CANNOT_MOVE = {
    "Lambda": (
        "The config of `model` holds no function of a Lambda that Keras 3 can read. Write a layer "
        "in its place, and name its Keras 3 class in `custom_objects`"
    ),
    "RandomCrop": (
        "The RandomCrop of Keras 3 returns whole images in predictions, where that of `model` "
        "resizes them. Move it out of the model, or take Resizing(crop_to_aspect_ratio=True)"
    ),
}
ON_TENSORS = ("TFOpLambda", "SlicingOpLambda")


def as_keras_3(config: Config, old_layers: Any) -> Config:
    """The config of a model, a layer or a part of one; nested ones, too.

    Args:
        config: of ``tf_keras.saving.serialize_keras_object``.
        old_layers: the module ``tf_keras.layers``.

    Raises:
        ValueError: a layer that Keras 3 does not have, a Lambda, or an argument that its layer
            lacks, with another value than its default.
    """
    kind, module = config["class_name"], config.get("module") or ""
    if kind in MODELS and module.split(".")[0] in ("keras", "tf_keras"):
        inside = _inside(graph_of_keras_3(config["config"]), old_layers)
        return {**_identity(kind), "config": inside} | _node(config)
    if module != "keras.layers" and kind not in ON_TENSORS:
        return {**config, "config": _inside(config["config"], old_layers)}
    if kind == "ThresholdedReLU":
        return as_keras_3(_as_relu(config), old_layers)
    new = getattr(keras.layers, kind, None)
    if new is None:
        advice = "a layer in the place of a TensorFlow function" if kind in ON_TENSORS else "others"
        raise ValueError(
            f"Every layer of `model` must exist in Keras 3, and {kind} does not. Rebuild that part "
            f"with {advice}. Received: layer {config['config'].get('name')!r}"
        )
    if kind in CANNOT_MOVE:
        raise ValueError(f"{CANNOT_MOVE[kind]}. Received: layer {config['config'].get('name')!r}")
    own = _known(kind, _own_arguments(kind, config["config"]), new, getattr(old_layers, kind, None))
    changed = {key: value for key, value in config.items() if key != "build_config"}
    return {**changed, "config": _inside(own, old_layers)}


def _as_relu(config: Config) -> Config:
    """A ThresholdedReLU, which Keras 3 lacks. Its ReLU keeps an input that equals the threshold."""
    own = dict(config["config"])
    own["threshold"] = own.pop("theta")
    return {**config, "class_name": "ReLU", "config": own}


def _inside(value: Any, old_layers: Any) -> Any:
    """Rewrites the configs within a value."""
    if isinstance(value, dict):
        if "class_name" in value and isinstance(value.get("config"), dict):
            if value["class_name"] == "Policy":
                return value["config"]["name"]
            return as_keras_3(value, old_layers)
        return {key: _inside(each, old_layers) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(each, old_layers) for each in value]
    return value


def _identity(kind: str) -> Config:
    """How Keras 3 itself names such a model in a config."""
    tensor = keras.Input((1,))
    sequential = kind == "Sequential"
    model = keras.Sequential([tensor]) if sequential else keras.Model(tensor, tensor)
    return {
        key: value
        for key, value in keras.saving.serialize_keras_object(model).items()
        if key in ("module", "class_name", "registered_name")
    }


def _node(config: Config) -> Config:
    """A layer's place in the graph of a functional model."""
    return {key: config[key] for key in ("name", "inbound_nodes") if key in config}


def _own_arguments(kind: str, config: Config) -> Config:
    """The arguments of a layer under the names of Keras 3."""
    config = dict(config)
    shape = config.pop("batch_input_shape", None)  # of a first layer; its model has an InputLayer
    if kind == "InputLayer":
        config["batch_shape"] = shape
    if kind == "Discretization" and "int" in str(config.get("dtype")):
        del config["dtype"]  # in Keras 3 it would be the dtype of the inputs, too
    if kind == "LeakyReLU":
        config["negative_slope"] = config.pop("alpha")
    functions = {key: value for key, value in config.items() if key.endswith("activation")}
    config |= {key: activation_of_keras_3(value) for key, value in functions.items()}
    axis = config.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list | tuple) and len(axis) == 1:
        config["axis"] = axis[0]
    return config


def _known(kind: str, config: Config, new: type, old: Any) -> Config:
    """The arguments that the layer of Keras 3 has; others must have their default."""
    names = _arguments(new)
    known = {key: value for key, value in config.items() if key in names}
    others = {
        key
        for key, value in config.items()
        if value and not (key in names or key in NO_CHANGE or key.endswith("_initializer"))
    }
    is_plain = others and kind != "InputLayer"
    same = {key: value for key, value in config.items() if key not in others}
    defaults = old.from_config(same).get_config() if is_plain else {}
    for key in others:
        if config[key] != defaults.get(key):
            raise ValueError(
                f"Every argument of a layer must exist in Keras 3, and {kind} has no `{key}` "
                f"there. Rebuild that layer without it. Received: {key}={config[key]!r} in layer "
                f"{config.get('name')!r}"
            )
    return known


def _arguments(layer: type) -> set[str]:
    """The arguments that a layer's constructor takes, and those that it passes on to its bases."""
    names: set[str] = set()
    for base in layer.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
            names |= set(parameters)
            passes_on = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
            if base is keras.layers.Layer or not passes_on:
                break
    return names
