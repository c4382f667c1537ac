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
from keras_sparse.exporting.without_zeros import fill_saved_model
from keras_sparse.rules.flags import is_word
from keras_sparse.rules.received import received


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
        write_dense: writes a model without zeros, whose file is at the first path, to the second
            one; None: ``write`` does.
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
    write_dense: Callable[[ReadyModel, Path, Path], None] | None = None
    tolerance: Callable[[ReadyModel, Path], float | None] = lambda ready, path: None
    settings: tuple[str, ...] | None = None


FORMATS = {
    "saved_model": Format(
        writers.write_saved_model,
        runtimes.run_saved_model,
        in_float32=False,
        write_dense=fill_saved_model,
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


def name_of(given: Any) -> Any:
    """The name of a format in ``FORMATS``, of Keras' name for it; anything else as it is."""
    return OTHER_NAMES.get(given, given) if isinstance(given, str) else given


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
            f"`ks.densify(model).export(path, format)`. {received(format=name)}"
        )
    if not any(is_word(dtype, each) for each in found.dtypes):
        raise ValueError(
            f"`dtype` must be one of {', '.join(found.dtypes)} for the format {name!r}. "
            f"{received(dtype=dtype)}"
        )
    _check_suffix(name, found.suffix, path)
    if (backend := keras.backend.backend()) not in found.backends:
        raise ValueError(
            f"`format` must be another one, because Keras runs on {backend} and cannot write "
            f"{name!r} there. Save a .keras file, and export it where KERAS_BACKEND=tensorflow. "
            f"{received(format=name)}"
        )
    missing = [package for package in found.packages if not _is_installed(package)]
    if missing:
        raise ImportError(
            f"The format {name!r} needs packages that are not installed: {', '.join(missing)}. "
            f"Install them: pip install {' '.join(missing)}"
        )
    return found


def _check_suffix(name: str, suffix: str | None, path: Path) -> None:
    if suffix and not path.name.endswith(suffix):
        raise ValueError(
            f"`path` must end with {suffix!r} for the format {name!r}. Received: path={str(path)!r}"
        )
    suffixes = {one.suffix: each for each, one in FORMATS.items() if one.suffix}
    other = {".onnx": "onnx", **suffixes}.get(path.suffix)
    if other not in (None, name):
        raise ValueError(
            f"`path` must not end with {path.suffix!r} for the format {name!r}: pass "
            f"format={other!r}, or another path. Received: path={str(path)!r}"
        )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
