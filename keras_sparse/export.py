"""How does a model leave the training?  As stock operations and weights, for programs that do not know this library."""

from pathlib import Path
from typing import Any

import keras

from keras_sparse.sparsify import densify, has_sparse_layers


def export(model: keras.Model, path: str | Path, format: str = "tf_saved_model", **settings: Any) -> None:  # noqa: A002  # Keras' name for it
    """``model.export`` without a trace of this library: Keras' own layers, with kernel * mask for weights.

    ``model.export`` of a model with sparse layers can only be loaded where keras_sparse has been imported.

    Args:
        model: a built model; Functional or Sequential if it has sparse layers.
        path: where to write.
        format: ``"tf_saved_model"``, ``"onnx"``, ... as in ``keras.Model.export``.
        **settings: further arguments of ``keras.Model.export``, e.g. ``verbose=False``.

    Raises:
        ValueError: a subclassed model with sparse layers (says what to do).

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> export(model, tempfile.mkdtemp(), verbose=False)  # doctest: +SKIP
    """
    exported = densify(model) if has_sparse_layers(model) else model
    exported.export(str(path), format=format, **settings)
