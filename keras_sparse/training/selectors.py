"""Selectors of weights, as users give them and as configs hold them."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from keras_sparse.rules.received import received

# A glob on the variable's path, a layer, or a layer type.
Selector: TypeAlias = str | keras.layers.Layer | type


def check_selectors(selectors: Any, argument: str) -> list[Selector]:
    """Returns selectors as a list.

    Args:
        selectors: one, a collection, or None.
        argument: its name, for the error.

    Raises:
        TypeError: anything else.
    """
    if selectors is None:
        return []
    is_one = isinstance(selectors, str | keras.layers.Layer | type)
    many = [selectors] if is_one or not isinstance(selectors, Iterable) else list(selectors)
    for selector in many:
        is_type = isinstance(selector, type) and issubclass(selector, keras.layers.Layer)
        if not is_type and not isinstance(selector, str | keras.layers.Layer):
            raise TypeError(
                f"`{argument}` takes globs on a variable's path, layers, or layer types, one or a "
                f"collection. {received(**{argument: selector})}"
            )
    return many


def selectors_to_config(selectors: Iterable[Selector]) -> list[str | dict[str, str]]:
    """Selectors as JSON: a layer becomes the paths of its weights, a type its name."""
    config: list[str | dict[str, str]] = []
    for selector in selectors:
        if isinstance(selector, keras.layers.Layer):
            config += [variable.path for variable in selector.weights if len(variable.shape) >= 2]
        elif isinstance(selector, str):
            config.append(selector)
        else:
            name = keras.saving.get_registered_name(selector)
            config.append({"layer_type": _without_package(name)})
    return config


def selectors_of_config(config: Iterable[Any]) -> list[Selector]:
    """The selectors again; layer types of your own must be registered with Keras.

    Raises:
        ValueError: a layer type that is not known.
    """
    return [one if isinstance(one, str) else _layer_type(one["layer_type"]) for one in config]


def _without_package(registered: str) -> str:
    """The last part of ``"package>Name"``."""
    _, _, name = registered.rpartition(">")
    return name


def _layer_type(name: str) -> type:
    custom = keras.saving.get_custom_objects()
    own = {_without_package(key): value for key, value in custom.items()}
    found: type | None = getattr(keras.layers, name, None) or own.get(name)
    if found is None:
        raise ValueError(
            "Unknown layer type in the saved `dense` or `sparse`; register it with Keras before "
            f"loading. Received: {name}"
        )
    return found
