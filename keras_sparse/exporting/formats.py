"""The formats of ``export``: what each needs, how it is written, and what reads it back."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_sparse.exporting import litert, runtimes, writers
from keras_sparse.exporting.int8_steps import tolerance_of_steps
from keras_sparse.exporting.ready_model import ReadyModel


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: writes a model to a path.
        run: (outputs for the sample, name of the runtime) of what is at a path.
        suffix: what the name of the file must end with; None: any.
        packages: what writing and reading it need beside this package.
        in_float32: whether its models compute in float32 alone.
        dtypes: what weights can be stored in.
        also: suffixes of further files.
        backends: of Keras, that can write it.
        write_dense: writes the same model without zeros; None: ``write``.
        tolerance: the difference that rounding explains in the file at a path, or None where the
            dtype says it.
        settings: names of Keras' further arguments; None: the converter checks them.
    """

    write: Callable[[ReadyModel, Path], None]
    run: Callable[[ReadyModel, Path], tuple[list[Any], str]]
    suffix: str | None = None
    packages: tuple[str, ...] = ()
    in_float32: bool = True
    dtypes: tuple[str, ...] = ("float32",)
    also: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("tensorflow", "jax")
    write_dense: Callable[[ReadyModel, Path], None] | None = None
    tolerance: Callable[[ReadyModel, Path], float | None] = lambda ready, path: None
    settings: tuple[str, ...] | None = None


FORMATS = {
    "saved_model": Format(
        writers.write_saved_model,
        runtimes.run_saved_model,
        in_float32=False,
        settings=("is_static", "jax2tf_kwargs"),
        backends=("tensorflow", "jax", "torch"),
    ),
    "litert": Format(
        litert.write_litert,
        runtimes.run_litert,
        suffix=".tflite",
        dtypes=("float32", "float16", "int8"),
        tolerance=tolerance_of_steps,
        backends=("tensorflow",),
    ),
    "onnx": Format(
        writers.write_onnx, runtimes.run_onnx, packages=("onnx", "tf2onnx", "onnxruntime")
    ),
    "openvino": Format(
        writers.write_openvino,
        runtimes.run_openvino,
        suffix=".xml",
        packages=("openvino",),
        also=(".bin",),
    ),
    "keras": Format(
        writers.write_keras,
        runtimes.run_keras,
        suffix=".keras",
        in_float32=False,
        settings=(),
        backends=("tensorflow", "jax", "torch"),
    ),
}
OTHER_NAMES = {"tf_saved_model": "saved_model"}  # Keras' own


def format_named(name: str, dtype: str, path: Path) -> Format:
    """The format of this name.

    Raises:
        ValueError: there is none, it cannot have this dtype or path, or Keras' backend cannot
            write it.
        ImportError: a package that it needs is not installed.
    """
    found = FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        names = ", ".join(f'"{each}"' for each in FORMATS)
        raise ValueError(
            f"`format` must be one of {names}. For other formats of Keras, call "
            f"`ks.densify(model).export(path, format)`. Received: format={name!r}"
        )
    if dtype not in found.dtypes:
        raise ValueError(
            f"`dtype` must be one of {', '.join(found.dtypes)} for the format {name!r}. "
            f"Received: dtype={dtype!r}"
        )
    if found.suffix and not path.name.endswith(found.suffix):
        raise ValueError(
            f"`path` must end with {found.suffix!r} for the format {name!r}. "
            f"Received: path={str(path)!r}"
        )
    if (backend := keras.backend.backend()) not in found.backends:
        raise ValueError(
            f"`format` must be another one, because Keras runs on {backend} and cannot write "
            f"{name!r} there. Save a .keras file, and export it where KERAS_BACKEND=tensorflow. "
            f"Received: format={name!r}"
        )
    missing = [package for package in found.packages if not _is_installed(package)]
    if missing:
        raise ImportError(
            f"The format {name!r} needs packages that are not installed: {', '.join(missing)}. "
            f"Install them: pip install {' '.join(missing)}"
        )
    return found


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
