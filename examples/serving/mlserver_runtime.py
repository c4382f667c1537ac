"""Serves a SavedModel of ``ks.export`` over HTTP by MLServer, without Keras.

    python examples/serving/mlserver_runtime.py FOLDER    # serves it until it is interrupted

``FOLDER`` has stock operations, or the ops of this library (``custom_ops=True``). MLServer answers
by the Open Inference Protocol, as KServe and Triton do, at
``http://localhost:8080/v2/models/NAME/infer``; NAME is that of the folder. It needs
``pip install mlserver`` beside TensorFlow.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.cli import main as serve
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class SavedModel(MLModel):
    """What MLServer loads, and asks for predictions."""

    async def load(self) -> bool:
        """Reads the folder that the settings name."""
        self._served = load(Path(await get_model_uri(self.settings)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The outputs for inputs that have the names of the model's."""
        import tensorflow as tf

        given = {each.name: tf.constant(NumpyCodec.decode_input(each)) for each in payload.inputs}
        found = self._served.signatures["serving_default"](**given)
        outputs = [NumpyCodec.encode_output(name, each.numpy()) for name, each in found.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def load(folder: Path) -> Any:
    """The SavedModel in a folder; by the loader beside it where it has ops of its own."""
    path = folder / "assets.extra" / "load.py"
    if not path.exists():
        import tensorflow as tf

        return tf.saved_model.load(str(folder))
    spec = importlib.util.spec_from_file_location("load_served", path)
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)
    return loader.load(folder)


def main() -> None:
    """Writes MLServer's settings for a folder, and starts it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8080, help="of HTTP; the next ones are others'")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    with tempfile.TemporaryDirectory() as settings:
        ports = {"http_port": arguments.port, "grpc_port": arguments.port + 1}
        server = {**ports, "metrics_endpoint": None, "parallel_workers": 0, "host": "127.0.0.1"}
        Path(settings, "settings.json").write_text(json.dumps(server))
        model = {"name": folder.name, "implementation": f"{Path(__file__).stem}.SavedModel"}
        model |= {"parameters": {"uri": str(folder)}}
        Path(settings, "model-settings.json").write_text(json.dumps(model))
        sys.argv[1:] = ["start", settings]  # the command line of `mlserver`
        serve()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
