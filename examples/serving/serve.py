"""Predicts with a SavedModel of ``ks.export(model, path, custom_ops=True)``, without Keras.

    python examples/serving/serve.py FOLDER < inputs > outputs

Inputs and outputs are float32 values, as numpy's ``tofile`` writes them: any number of examples.
The model has one input and one output. Where this runs, only TensorFlow is installed.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np


def main() -> None:
    """Reads examples from the standard input and writes predictions to the standard output."""
    folder = Path(sys.argv[1])
    try:
        served = loader_in(folder).load(folder)
    except RuntimeError as error:  # another version of TensorFlow
        raise SystemExit(str(error)) from None
    signature = served.signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()
    inputs = np.frombuffer(sys.stdin.buffer.read(), "float32").reshape(-1, *spec.shape[1:])
    (outputs,) = signature(**{name: inputs}).values()
    sys.stdout.buffer.write(outputs.numpy().tobytes())


def loader_in(folder: Path) -> ModuleType:
    """``load.py``, which lies beside the model: it checks the version, and loads the ops once."""
    path = folder / "assets.extra" / "load.py"
    spec = importlib.util.spec_from_file_location("load_served", path)
    if spec is None or spec.loader is None or not path.exists():
        raise SystemExit(f"{path} is not there: export the model with custom_ops=True.")
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    return loader


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
