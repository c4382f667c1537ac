"""The graph in the config of a Keras 2 (``tf_keras``) model, as Keras 3 writes it.

A tensor is [layer, number of its call, number of its output]. Keras 2 counts the making of a model
within the model as its call 0. Keras 3 does so in outputs alone, and not for a Sequential model.
"""

from typing import Any

Config = dict[str, Any]
MODELS = ("Functional", "Model", "Sequential")


def graph_of_keras_3(config: Config) -> Config:
    """The config of a model, its layers named and their calls numbered as in Keras 3."""
    layers = config.get("layers", [])
    kinds = {one["config"]["name"]: one["class_name"] for one in layers}
    models = {name for name, kind in kinds.items() if kind in MODELS}
    sequential = {name for name, kind in kinds.items() if kind == "Sequential"}
    changed = {**config, "layers": [_layer(one, models) for one in layers]}
    for key in ("input_layers", "output_layers"):
        if key in config:
            tensors = config[key]
            is_one = len(tensors) == 1 and isinstance(tensors, list | tuple)
            changed[key] = _tensors(tensors[0] if is_one else tensors, sequential)
    return changed


def keras_3_name(name: str) -> str:
    """A layer's name, which must not have a "/" in Keras 3.

    >>> keras_3_name("conv1/bn")
    'conv1_bn'
    """
    return name.replace("/", "_")


def _layer(layer: Config, models: set[str]) -> Config:
    own = {**layer["config"], "name": keras_3_name(layer["config"]["name"])}
    changed = {**layer, "config": own}
    if "inbound_nodes" in layer:
        changed["name"] = own["name"]
        changed["inbound_nodes"] = [_call(one, models) for one in layer["inbound_nodes"]]
    return changed


def _call(call: Any, models: set[str]) -> Config:
    """One call of a layer: a list or dict of its tensors, which hold the keyword arguments."""
    tensors = _references(_tensors(call, models))
    of_each = call.values() if isinstance(call, dict) else call
    keywords: Config = next((one[3] for one in of_each if len(one) > 3), {})
    is_one = isinstance(tensors, list) and len(tensors) == 1
    return {
        "args": [tensors[0] if is_one else tensors],
        "kwargs": _references(_tensors(keywords, models)),
    }


def _is_tensor(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) > 2
    return is_list and isinstance(value[0], str) and isinstance(value[1], int)


def _tensors(value: Any, models: set[str]) -> Any:
    """The tensors within a value, as Keras 3 names and numbers them."""
    if _is_tensor(value):
        return [keras_3_name(value[0]), value[1] - (value[0] in models), value[2]]
    if isinstance(value, dict):
        return {key: _tensors(each, models) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_tensors(each, models) for each in value]
    return value


def _references(value: Any) -> Any:
    """The same value, each tensor as Keras 3 serializes one. Only its history is read."""
    if _is_tensor(value):
        own = {"shape": [None], "dtype": "float32", "keras_history": value}
        return {"class_name": "__keras_tensor__", "config": own}
    if isinstance(value, dict):
        return {key: _references(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_references(each) for each in value]
    return value
