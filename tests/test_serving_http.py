"""MLServer answers over HTTP what the model predicts, with stock operations and with the ops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from oracle import needs_ops
from test_serving import network

import keras_sparse as ks

pytest.importorskip("mlserver", reason="mlserver is not installed")
PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "serving" / "mlserver_runtime.py"
PATIENCE = 120  # seconds until the server has loaded TensorFlow and the model


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answer(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as found:
        return found.read()


def wait_for(server, url):
    for _ in range(PATIENCE):
        assert server.poll() is None
        try:
            return answer(f"{url}/ready")
        except urllib.error.URLError:
            time.sleep(1)
    raise TimeoutError(f"no answer within {PATIENCE} s")


@pytest.mark.slow
@pytest.mark.parametrize("custom_ops", [False, pytest.param(True, marks=needs_ops)])
def test_mlserver_answers_what_the_model_predicts(custom_ops, tmp_path):
    model, folder = network(), tmp_path / "net"
    ks.export(model, folder, custom_ops=custom_ops, verbose=False, compare_dense=False)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 16)).astype("float32")
    own = {"name": model.inputs[0].name, "shape": x.shape, "datatype": "FP32"}
    for name in ("keras", "keras_sparse"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}/v2/models/net"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(PROGRAM), str(folder), "--port", str(port)]
    with subprocess.Popen(command, env=environment) as server:
        try:
            wait_for(server, url)
            body = {"inputs": [{**own, "data": x.ravel().tolist()}]}
            (output,) = json.loads(answer(f"{url}/infer", body))["outputs"]
        finally:
            server.send_signal(signal.SIGINT)
    found = np.array(output["data"], "float32").reshape(output["shape"])
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
