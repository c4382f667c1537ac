"""Loads a SavedModel with the ops of keras_sparse, where only TensorFlow is installed.

``ks.export(model, path, custom_ops=True)`` writes this file to ``path/assets.extra/load.py``. It
does what these two lines do, and checks the version of TensorFlow first:

    tf.load_op_library("path/assets/libkeras_sparse_ops.so")
    served = tf.saved_model.load("path")

    python load.py INPUTS.npz OUTPUTS.npz    # predicts arrays that are named as the inputs
"""

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load(folder: str | Path) -> Any:
    """What ``tf.saved_model.load`` returns for a folder. Loads the ops once in a process.

    Raises:
        RuntimeError: the ops in the folder were built for another version of TensorFlow.
    """
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    folder = Path(folder)
    built = json.loads((folder / "assets.extra" / "keras_sparse.json").read_text())
    if tf.__version__ != built["tensorflow"]:
        raise RuntimeError(
            f"The ops in {folder} were built for TensorFlow {built['tensorflow']}, and this is "
            f"{tf.__version__}: install that version, or export the model where this one is."
        )
    if op_def_registry.get(built["op"]) is None:  # a second copy would register nothing
        tf.load_op_library(str(folder / "assets" / built["library"]))
    return tf.saved_model.load(str(folder))


def write_npz(path: str | Path, arrays: Mapping[str, Any]) -> None:
    """An ``.npz`` file. ``numpy.savez`` refuses an array that is named "file"."""
    import numpy as np

    with zipfile.ZipFile(path, "w") as folder:
        for name, array in arrays.items():
            with folder.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def main() -> None:
    """Predicts the inputs in one file, and writes the outputs to another.

    NumPy's files have no bfloat16, which is float32 there.
    """
    import numpy as np
    import tensorflow as tf

    served = load(Path(__file__).resolve().parents[1])
    inputs, outputs = sys.argv[1:]
    predict = served.signatures["serving_default"]
    dtypes = {name: spec.dtype for name, spec in predict.structured_input_signature[1].items()}
    tensors = {name: tf.cast(array, dtypes[name]) for name, array in np.load(inputs).items()}
    stored = {tf.bfloat16: np.float32, tf.string: np.bytes_}
    arrays: dict[str, Any] = {
        name: np.asarray(each.numpy(), stored.get(each.dtype))
        for name, each in predict(**tensors).items()
    }
    write_npz(outputs, arrays)


if __name__ == "__main__":
    main()
