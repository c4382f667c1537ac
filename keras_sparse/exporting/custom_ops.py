"""Writes a SavedModel that runs the compiled ops, with their library, and tries it elsewhere."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_sparse.compute.library import library_path, tensorflow_version, why_no_custom_ops
from keras_sparse.conversion.sparsify import has_sparse_layers
from keras_sparse.exporting import served_loader
from keras_sparse.exporting.formats import Format
from keras_sparse.exporting.ready_model import ReadyModel
from keras_sparse.exporting.runtimes import Outputs, numbered
from keras_sparse.exporting.without_zeros import twin_of

OP = "KerasSparse>Conv2D"  # one of the ops in the library
MOST_OF_A_CONSTANT = 2**16  # numbers; a graph with more of them takes long to load
EXTRA = "assets.extra"  # TensorFlow's name of the folder for files that it does not read


def check_custom_ops(model: keras.Model, name: str) -> None:
    """Raises ValueError unless the ops are here, the model has some, and the format takes them."""
    if name != "saved_model":
        raise ValueError(
            "`custom_ops` must be False for all formats but 'saved_model', which have no custom "
            f"ops. Received: custom_ops=True, format={name!r}"
        )
    if (why := why_no_custom_ops()) is not None:
        raise ValueError(f"`custom_ops` must be False here: {why}. Received: custom_ops=True")
    if not has_sparse_layers(model):
        raise ValueError(
            "`model` must have sparse layers, whose ops are to be served: pass "
            f"`ks.sparsify(model)`. Received: model={model.name!r}"
        )


def with_custom_ops(saved_model: Format) -> Format:
    """The format of SavedModels, written and run with the ops."""

    def write_dense(ready: ReadyModel, path: Path, twin: Path) -> None:
        saved_model.write(twin_of(ready), twin)

    return dataclasses.replace(
        saved_model, write=_write, run=_run_elsewhere, write_dense=write_dense
    )


def small_variables(model: keras.Model) -> tuple[keras.Variable, ...]:
    """Arrays whose values go into the graph, where a prediction reads them in no time."""
    arrays = [each for each in model.variables if len(each.shape)]
    return tuple(each for each in arrays if math.prod(each.shape) <= MOST_OF_A_CONSTANT)


def _write(ready: ReadyModel, path: Path) -> None:
    """A folder with the library in ``assets``, and its loader in ``assets.extra``."""
    import tensorflow as tf

    library = library_path()
    ready.serving.attach(library_of_ops=tf.saved_model.Asset(str(library)))
    ready.serving.write(path)
    extra = path / EXTRA
    extra.mkdir()
    shutil.copyfile(served_loader.__file__, extra / "load.py")
    record = {"tensorflow": tensorflow_version(), "library": library.name, "op": OP}
    (extra / "keras_sparse.json").write_text(json.dumps(record) + "\n")


def _run_elsewhere(ready: ReadyModel, path: Path) -> Outputs:
    """By a process of its own that cannot import keras and keras_sparse."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        arrays = [one.astype("float32") if one.dtype.kind == "V" else one for one in ready.sample]
        named = zip(ready.serving.input_names(), arrays, strict=True)
        served_loader.write_npz(inputs, dict(named))
        for name in ("keras", "keras_sparse"):
            Path(folder, f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
        done = subprocess.run(
            [sys.executable, str(path / EXTRA / "load.py"), str(inputs), str(outputs)],
            env={**os.environ, "PYTHONPATH": folder, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no error")
        found = dict(np.load(outputs).items())
    version = f"TensorFlow {tensorflow_version()} without keras_sparse"
    return [found[name] for name in sorted(found, key=numbered)], version
