"""Runs a test's program in its own process: XLA registers its backends only once."""

import json
import os
import textwrap
from pathlib import Path

import pytest
from forked import Program

from keras_sparse.tpu_check.cxx import compiler

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "cache"  # the library that lowers is compiled once
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

PROLOGUE = """
import json, sys
import numpy as np
from keras_sparse import tpu_check
from keras_sparse.tpu_check import cluster, compile, lower, replica, train_step
{load}
import keras, tensorflow as tf, keras_sparse as ks
import tpu_networks as networks

def traced(make, replicas, batch=8):
    with tpu_check.strategy(replicas).scope():
        model = make()
    return train_step.trace(model, tpu_check.batch_of(model, batch))

def why_not(ask):  # the reason, or ""
    try:
        ask()
    except tpu_check.NotForTpuError as error:
        return str(error)
    return ""

def tell(answer):
    print("\\n" + json.dumps(answer))
"""


def run(body, loads=True, timeout=600, **environment):
    """Runs a program; what it tells.

    Args:
        body: of the program; `tell(answer)` is its last word.
        loads: can it lower?
        timeout: seconds.
        environment: more variables.
    """
    paths = [
        str(ROOT),
        str(ROOT / "tests"),
        str(Path(__file__).parent),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    environment = {
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XDG_CACHE_HOME": str(CACHE),
        **environment,
    }
    program = PROLOGUE.format(load="tpu_check.load()" if loads else "") + textwrap.dedent(body)
    ended = Program(program, **environment).wait(timeout)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return json.loads(ended.stdout.splitlines()[-1])
