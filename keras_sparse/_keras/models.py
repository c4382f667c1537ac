"""Layers, weights, losses and initializers of models, as Keras keeps them."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras

from keras_sparse.rules.received import received


def check_keras_3(obj: Any, argument: str) -> None:
    """Raises TypeError for models and optimizers of tf_keras (Keras 2)."""
    if any(base.__module__.split(".")[0] == "tf_keras" for base in type(obj).__mro__):
        raise TypeError(
            f"keras_sparse is for Keras 3 (`import keras`), and `{argument}` is of tf_keras "
            "(Keras 2). Build it with Keras 3. "
            f"Received: {argument}={type(obj).__module__}.{type(obj).__name__}"
        )


def check_model(model: Any) -> None:
    """Raises TypeError for an argument ``model`` that is neither a Keras model nor a layer."""
    check_keras_3(model, "model")
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model. {received(model=model)}")


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model however deeply nested, sublayers and RNN cells included."""
    return list(model._flatten_layers(include_self=False, recursive=True))


def consumers(layer: keras.layers.Layer) -> list[Any]:
    """The layers and operations that take a layer's outputs, in all Functional models."""
    return [node.operation for node in layer._outbound_nodes]


class Call(NamedTuple):
    """One call of an operation in the graph of a functional model."""

    operation: Any
    inputs: list[Any]  # KerasTensors
    outputs: list[Any]


def calls_of(model: keras.Model) -> list[Call]:
    """The calls of a functional model, each after those that make its inputs."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    return [
        Call(node.operation, list(node.arguments.keras_tensors), list(node.outputs))
        for node in nodes
    ]


def own_trainable(layer: keras.layers.Layer) -> list[Any]:
    """The variables that this layer made as trainable ones, also those that are frozen now."""
    return list(layer._trainable_variables)


def own_weights(layer: keras.layers.Layer) -> list[Any]:
    """All variables that this layer made itself, trained or not, without those of its sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def input_structure(model: keras.Model) -> Any:
    """The symbolic inputs of a model, structured as its call takes them; None if it knows none."""
    inputs = getattr(model, "inputs", None)
    return getattr(model, "_inputs_struct", inputs[0]) if inputs else None


@contextlib.contextmanager
def losses_kept(model: keras.Model) -> Iterator[None]:
    """The body may call the model: losses that layers have added before it stay."""
    layers = [model, *layers_of(model)]
    kept = [(list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        yield
    finally:
        for layer, (losses, ids) in zip(layers, kept, strict=True):
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)


def replace_optimizer(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Puts another optimizer into a compiled model.

    Metrics and losses stay, saving knows it, functions are retraced.
    """
    model.optimizer = optimizer
    model._compile_config.config["optimizer"] = optimizer
    model.train_function = None


def train_on_batch(model: keras.Model, batch: Sequence[Any]) -> None:
    """``model.train_on_batch`` without logs, which Keras cannot average over several workers."""
    if keras.backend.backend() == "tensorflow" and "train_step" not in vars(model):
        train_step = model.train_step
        model.train_step = lambda data: train_step(data) and {}
    model.train_on_batch(*batch, return_dict=True)


def compiled_losses(model: keras.Model) -> dict[str, Any]:
    """The arguments of ``compile`` that say what a model's loss is."""
    return {"loss": model.loss, "loss_weights": model._compile_config.config.get("loss_weights")}


def fans(initializer: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan in, fan out) by which a VarianceScaling initializer scales a weight of this shape."""
    from keras.src.initializers.random_initializers import compute_fans

    axes = {key: getattr(initializer, key, None) for key in ("input_axes", "output_axes")}
    fan_in, fan_out = compute_fans(
        shape, **{key: axis for key, axis in axes.items() if axis is not None}
    )
    return fan_in, fan_out


def drawn_seed() -> int:
    """A seed as Keras draws one: it follows ``keras.utils.set_random_seed``, else chance."""
    from keras.src.random.seed_generator import make_default_seed

    return int(make_default_seed())
