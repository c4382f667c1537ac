"""``export`` writes a model of stock operations, for programs without this library."""

from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import check_model, write_saved_model
from keras_sparse.conversion.sparsify import densify, has_layers_to_densify


def export(
    model: keras.Model,
    path: str | Path,
    format: str = "tf_saved_model",  # noqa: A002  # Keras' name for it
    **settings: Any,
) -> None:
    """Writes what ``model.export`` writes for ``keras_sparse.densify(model)``.

    A SavedModel of sparse layers loads only where keras_sparse is imported, and ONNX or TFLite
    files of them do not run. This function writes Keras' own layers and kernel * mask instead.

    Args:
        model: a Keras model of any kind that was built and called. It stays unchanged.
        path: a folder for a SavedModel; a file for other formats, ``"model.tflite"`` for LiteRT.
        format: ``"tf_saved_model"``, ``"onnx"`` (needs the packages onnx and tf2onnx), ``"litert"``
            (a TFLite file), or another format of ``keras.Model.export``.
        **settings: further arguments of ``keras.Model.export``: ``verbose``, ``input_signature``,
            and the arguments of the format.

    Raises:
        ValueError: the model has no weights yet, or ``keras.Model.export`` raises it.

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> export(model, tempfile.mkdtemp(), verbose=False)  # doctest: +SKIP
    """
    check_model(model)
    exported = densify(model) if has_layers_to_densify(model) else model
    if format == "tf_saved_model" and keras.backend.backend() == "tensorflow":
        write_saved_model(exported, str(path), **settings)
    else:
        exported.export(str(path), format=format, **settings)
