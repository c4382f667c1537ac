"""``from_tfmot`` makes a Keras 3 model of a Keras 2 model that tfmot has pruned."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_sparse.conversion.keras_2_config import as_keras_3
from keras_sparse.conversion.keras_2_graph import keras_3_name
from keras_sparse.conversion.progress import progress
from keras_sparse.rules.received import received


def from_tfmot(model: Any, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """A Keras 3 model with the weights of a ``tf_keras`` model, those that tfmot pruned at 0.

    The pruning wrappers are gone, as after tfmot's ``strip_pruning``. Layers keep their names, with
    "_" for "/". Predictions are the same but for rounding.

    To train on under the same masks, compile with ``StaticSparsity``; to let them change, with
    ``SparseMomentum`` or another method. Give it ``initial_masks="nonzero"``,
    ``density=keras_sparse.density(model)``, and ``dense=`` for layers that tfmot left dense.

    Args:
        model: Sequential or functional ``tf_keras`` model with weights, with or without layers of
            ``tfmot.sparsity.keras.prune_low_magnitude``. It stays as it is.
        custom_objects: ``{name: Keras 3 class or function}`` for the classes and functions of your
            own that the model uses.

    Returns:
        A new model, built and not compiled.

    Raises:
        TypeError: the model is not one of tf_keras.
        ValueError: it is subclassed or has no weights yet; or Keras 3 lacks one of its layers, or
            an argument of one.

    >>> import tf_keras
    >>> from tensorflow_model_optimization.sparsity.keras import prune_low_magnitude
    >>> old = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,))])
    >>> pruned = prune_low_magnitude(old)
    >>> model = ks.from_tfmot(pruned)
    >>> isinstance(model, keras.Model), ks.density(model)
    (True, 1.0)
    """
    tf_keras = _checked(model)
    with progress("from_tfmot") as line:
        masks = dict(_masks_of(model))
        stripped = _stripped(model)
        config = as_keras_3(tf_keras.saving.serialize_keras_object(stripped), tf_keras.layers)
        objects = dict(custom_objects or {})
        result = keras.saving.deserialize_keras_object(config, custom_objects=objects)
        line.says("copying weights")
        _copy_weights(stripped, result, masks)
    return result


def _checked(model: Any) -> Any:
    """The package tf_keras, which a user of such a model has imported."""
    try:
        import tf_keras
    except ImportError:
        tf_keras = None
    if tf_keras is None or not isinstance(model, tf_keras.Model):
        raise TypeError(
            "`model` must be a model of tf_keras (Keras 2). A model of Keras 3 needs no "
            f"conversion. {received(model=model)}"
        )
    is_graph = any(base.__name__ == "Functional" for base in type(model).__mro__)
    if not is_graph or not model.built:  # a Sequential model is a functional one there
        raise ValueError(
            "`model` must be a Sequential or functional model that is built: its config says how "
            f"to make it again. {received(model=model)}, built={model.built}"
        )
    return tf_keras


def _wrappers(model: Any) -> Iterator[Any]:
    """The layers that tfmot prunes, those of nested models, too."""
    for layer in model.layers:
        if type(layer).__name__ == "PruneLowMagnitude":
            yield layer
        elif hasattr(layer, "layers"):
            yield from _wrappers(layer)


def _masks_of(model: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Each weight that tfmot prunes, and its mask. Between steps the weight may be nonzero."""
    for wrapper in _wrappers(model):
        for weight, mask, _ in wrapper.pruning_vars:
            yield weight.ref(), mask.numpy() != 0


def _stripped(model: Any) -> Any:
    """The model without wrappers; its layers are the same objects."""
    if not any(True for _ in _wrappers(model)):
        return model
    from tensorflow_model_optimization.sparsity.keras import strip_pruning

    return strip_pruning(model)


def _copy_weights(old: Any, new: keras.Model, masks: Mapping[Any, np.ndarray]) -> None:
    for layer in old.layers:
        if not layer.weights:
            continue
        other = new.get_layer(keras_3_name(layer.name))
        if hasattr(layer, "layers"):
            _copy_weights(layer, other, masks)
            continue
        if isinstance(other, keras.layers.Discretization):  # its state is no weight in Keras 3
            other.summary = layer.summary.numpy()
            other.finalize_state()
            continue
        _check_weights(layer, other)
        for weight, variable in zip(layer.weights, other.weights, strict=True):
            mask = masks.get(weight.ref())
            value = weight.numpy()
            variable.assign(value if mask is None else np.where(mask, value, 0))
        if isinstance(other, keras.layers.Normalization):
            other.finalize_state()  # it computes with copies of its weights


def _check_weights(old: Any, new: keras.layers.Layer) -> None:
    """Raises ValueError unless both layers have the same weights in the same order."""
    expected = [(_last(weight.name), tuple(weight.shape)) for weight in old.weights]
    found = [(_last(weight.path), tuple(weight.shape)) for weight in new.weights]
    if expected != found:
        raise ValueError(
            f"Layer {old.name!r} must have the same weights in Keras 3. Received: {expected} in "
            f"tf_keras, {found} in Keras 3"
        )


def _last(name: str) -> str:
    """A weight's own name. That of a depthwise kernel is shorter in Keras 3."""
    return name.split("/")[-1].partition(":")[0].removeprefix("depthwise_")
