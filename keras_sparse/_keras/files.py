"""What Keras and TensorFlow save: state beside weights, names in files, SavedModels."""

import sys
from typing import Any

import keras
from keras.src.saving.keras_saveable import KerasSaveable

if keras.backend.backend() == "tensorflow":
    from keras.src.backend.tensorflow.trackable import KerasAutoTrackable as Trackable
else:

    class Trackable:  # type: ignore[no-redef]
        """Only tf.train.Checkpoint and SavedModel track attributes."""


class Saveable(Trackable, KerasSaveable):
    """State of a layer that is none of its weights.

    It is saved in a folder of its own, which files of other layers need not have.
    """

    def _obj_type(self) -> str:
        return "Layer"


class NamedInFiles(type):
    """Classes that Keras names after another one in files and paths of weights, and nowhere else.

    Keras makes both of ``__name__``. So a sparse layer is a ``SparseConv2D`` in ``repr``,
    ``model.summary()`` and tracebacks, and its weights are where those of a ``Conv2D`` are.
    Subclasses have names of their own.
    """

    _name_in_files: str | None

    def __new__(mcs, *args: Any, name_in_files: str | None = None) -> Any:
        cls = super().__new__(mcs, *args)
        cls._name_in_files = name_in_files
        return cls

    def __init__(cls, *args: Any, name_in_files: str | None = None) -> None:
        super().__init__(*args)

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        caller = sys._getframe(1)
        module = caller.f_globals.get("__name__", "")
        makes_path = module == "keras.src.ops.operation" and caller.f_code.co_name == "__init__"
        if cls._name_in_files and (makes_path or module.startswith("keras.src.saving.")):
            return cls._name_in_files
        return type.__dict__["__name__"].__get__(cls)


def write_saved_model(
    model: keras.Model,
    path: str,
    verbose: bool | None = None,
    input_signature: Any = None,
    **settings: Any,
) -> None:
    """``model.export`` to a SavedModel that keeps its variables while any part of it is in use.

    What Keras writes loses them in ``tf.saved_model.load(path).serve(x)``: nobody holds the
    loaded object when the call begins, and TensorFlow says that variables have been deleted. A
    reference of the object to itself leaves it to Python's garbage collector.
    """
    from keras.src.export.export_utils import get_input_signature

    archive = keras.export.ExportArchive()
    signature = get_input_signature(model) if input_signature is None else input_signature
    archive.track_and_add_endpoint("serve", model, signature, **settings)
    archive._tf_trackable.itself = archive._tf_trackable
    archive.write_out(path, verbose=True if verbose is None else verbose)
