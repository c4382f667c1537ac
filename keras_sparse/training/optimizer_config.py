"""The config of a SparseMomentum: its arguments in JSON; rules of ours have their names there."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_sparse.rules import density as densities
from keras_sparse.rules import scores
from keras_sparse.rules.given_masks import GivenMasks
from keras_sparse.training.selection import Selection

FUNCTIONS = ("density", "prune_rate", "distribution", "prune", "redistribute", "grow")
VALUES = (
    *("budget", "scope", "initial_masks", "gradient_momentum", "growth_window", "growth_batch"),
    *("initial_scale", "seed", "name"),
)


def config_of(optimizer: Any) -> dict[str, Any]:
    """The config of a SparseMomentum."""
    serialize = keras.saving.serialize_keras_object
    names = {
        function: name
        for table in (scores.SCORES, scores.SHARES, densities.NAMED)
        for name, function in table.items()
    }
    config: dict[str, Any] = {
        "inner_optimizer": serialize(optimizer.inner_optimizer),
        **optimizer.selection.get_config(),
    }
    for key in FUNCTIONS:
        value = getattr(optimizer, key)
        config[key] = (names.get(value) or serialize(value)) if callable(value) else value
    config.update({key: getattr(optimizer, key) for key in VALUES})
    config.update(optimizer.structure.as_arguments())
    if isinstance(optimizer.initial_masks, GivenMasks):
        config["initial_masks"] = optimizer.initial_masks.get_config()
    return config


def arguments_of(config: Mapping[str, Any], custom_objects: Any) -> dict[str, Any]:
    """The arguments of SparseMomentum in a config.

    Args:
        config: as ``config_of`` returns it.
        custom_objects: {name: class or function} of the user's own, or None.
    """
    arguments = {**config, **Selection.from_config(dict(config))}
    if isinstance(arguments.get("initial_masks"), Mapping):
        arguments["initial_masks"] = GivenMasks.from_config(arguments["initial_masks"])
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "class_name" in value:
            arguments[key] = keras.saving.deserialize_keras_object(
                value, custom_objects=custom_objects
            )
    return arguments
