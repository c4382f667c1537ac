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
