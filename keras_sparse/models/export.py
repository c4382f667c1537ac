"""``export`` writes a model as stock operations, for programs without this library."""

from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import check_keras_3, write_saved_model
from keras_sparse.conversion.sparsify import densify, has_layers_to_densify


def export(
    model: keras.Model,
    path: str | Path,
    format: str = "tf_saved_model",  # noqa: A002  # Keras' name for it
    **settings: Any,
) -> None:
    """``model.export`` without a trace of this library: of Keras' own layers and kernel * mask.

    ``model.export`` of a model with sparse layers can only be loaded where keras_sparse has been
    imported; an ONNX or TFLite file of it cannot be run at all. This writes what Keras writes for
    ``keras_sparse.densify(model)``.

    Args:
        model: a Keras model that was built and called, of any kind. It is not changed.
        path: where to write: a folder for a SavedModel; a file for other formats,
            ``"model.tflite"`` for LiteRT.
        format: ``"tf_saved_model"``, ``"onnx"`` (needs the packages onnx and tf2onnx), ``"litert"``
            (a TFLite file), ... as in ``keras.Model.export``.
        **settings: further arguments of ``keras.Model.export``: ``verbose``, ``input_signature``,
            and those of the format.

    Raises:
        ValueError: a model without weights yet, or what ``keras.Model.export`` raises.

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> export(model, tempfile.mkdtemp(), verbose=False)  # doctest: +SKIP
    """
    check_keras_3(model, "model")
    exported = densify(model) if has_layers_to_densify(model) else model
    if format == "tf_saved_model" and keras.backend.backend() == "tensorflow":
        write_saved_model(exported, str(path), **settings)
    else:
        exported.export(str(path), format=format, **settings)
