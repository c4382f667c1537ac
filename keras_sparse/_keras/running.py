"""The fit, callback or train step that makes the present call: found on the stack."""

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def running_fit() -> keras.callbacks.CallbackList | None:
    """The callbacks of the ``fit`` that makes the present call, or None.

    Walks the stack: only for code that runs once.
    """
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals
        if frame.f_code.co_name == "fit" and isinstance(found.get("self"), keras.Model):
            callbacks = found.get("callbacks")
            if isinstance(callbacks, keras.callbacks.CallbackList):
                return callbacks
        frame = frame.f_back  # type: ignore[assignment]
    return None


def build_by_running_fit(model: keras.Model) -> None:
    """Builds a model of unknown inputs by a batch of the running ``fit``, and its optimizer.

    Raises:
        ValueError: as ``batch_of_running_fit``.
    """
    model._symbolic_build(data_batch=batch_of_running_fit())


def batch_of_running_fit() -> tuple[Any, Any, Any]:
    """Inputs, targets and sample weights of a batch of the ``fit`` that makes the present call.

    The data are read from their beginning, and ``fit`` still gets all of them. Of a generator Keras
    has already read a batch, which it keeps. NumPy's random state stays as it was.

    Raises:
        ValueError: no ``fit`` is running, or its data cannot be read twice.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and not hasattr(frame.f_locals.get("epoch_iterator"), "data_adapter"):
        frame = frame.f_back
    if frame is None:
        raise ValueError(f"{NO_BATCH} Received: a callback that no `fit` of Keras calls")
    adapter = frame.f_locals["epoch_iterator"].data_adapter
    state = np.random.get_state()  # noqa: NPY002  # Keras shuffles arrays with it
    try:
        batch = _first_batch(adapter)
    except Exception as error:  # what an adapter, or the user's own data, may raise
        raise ValueError(f"{NO_BATCH} Received: {type(adapter).__name__}: {error}") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y, sample_weight


NO_BATCH = (
    '`initial_masks="snip"` takes a batch of the data of `fit`, and there is none: make the masks '
    "yourself, `initial_masks=keras_sparse.snip_masks(model, x, y, density)`."
)


def _first_batch(adapter: Any) -> Any:
    if hasattr(adapter, "_first_batches"):  # of a generator
        return adapter._first_batches[0]
    if hasattr(adapter, "py_dataset"):  # without its threads
        return adapter._standardize_batch(adapter.py_dataset[0])
    return next(iter(adapter.get_numpy_iterator()))


FORMATS_WITHOUT_OUR_OPS = {
    "keras.src.export.litert": "litert",
    "keras.src.export.onnx": "onnx",
    "keras.src.export.openvino": "openvino",
}


def is_loading() -> bool:
    """Does a layer that reads a file make the present call?

    Walks the stack: only for code that runs seldom.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "load_own_variables":
            return True
        frame = frame.f_back
    return False


def running_export() -> str | None:
    """The format that the ``keras.Model.export`` which makes the present call writes, or None.

    Only formats that have no operations but their own. Walks the stack: only while tracing.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if found := FORMATS_WITHOUT_OUR_OPS.get(frame.f_globals.get("__name__", "")):
            return found
        frame = frame.f_back
    return None


def calling_model(variables: Sequence[Any]) -> keras.Model | None:
    """The innermost model with these variables whose method makes the present call, or None.

    Walks the stack: only for code that runs once.
    """
    wanted, frame = set(map(id, variables)), sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("self")
        if isinstance(model, keras.Model) and wanted <= set(map(id, model.trainable_variables)):
            return model
        frame = frame.f_back  # type: ignore[assignment]
    return None


def is_compiling_from_config() -> bool:
    """Is Keras compiling a model from a config, of its file or of a model that is cloned?

    Weights, and a file's values for the optimizer, follow then. Walks the stack: only for code that
    runs once.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "compile_from_config":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def running_callbacks() -> keras.callbacks.CallbackList | None:
    """The list that is calling a callback now, or None.

    Walks the stack: only for code that runs once.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), keras.callbacks.CallbackList):
            return frame.f_locals["self"]
        frame = frame.f_back  # type: ignore[assignment]
    return None


def model_in_train_step() -> keras.Model | None:
    """The model whose ``train_step`` makes the present call, or None.

    None, too, within a tf.function that the step calls: what is traced there may serve other steps.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if name == "train_step" and isinstance(model := frame.f_locals.get("self"), keras.Model):
            return model
        if name == "__call__" and file.endswith("polymorphic_function.py"):
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return None
