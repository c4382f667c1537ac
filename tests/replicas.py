"""Programs with several CPUs, which TensorFlow creates at its start: each is a process.

And a process has one MirroredStrategy: its collectives refuse groups of another size.
"""

import textwrap

from forked import Program

PROLOGUE = """
import os, warnings
warnings.simplefilter("error", UserWarning)
import tensorflow as tf
devices = int(os.environ["DEVICES"])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import keras, numpy as np, keras_sparse as ks
from helpers import active, array, assert_masks_hold, assert_same, assert_sparse
from helpers import compiled, fit, sgd, toy_data, toy_model

def replicas(variable):  # its values, one a replica
    return [copy.numpy() for copy in getattr(variable.value, "values", [variable.value])]

def check(model, count, copies):  # masks, weights, momenta, counters: equal to the last bit
    assert_sparse(model, count)
    for variable in [*model.variables, *model.optimizer.variables]:
        values = replicas(variable)
        assert_same(values, values[:1] * len(values))
    optimizer = model.optimizer
    inner = optimizer.inner_optimizer.variables[2:]
    variables = [*model.weights, *optimizer.mask_variables, *inner]
    assert {len(replicas(v)) for v in variables} == {copies}
    assert ks.check_agreement(model).copies == copies

one_device = tf.distribute.OneDeviceStrategy("CPU:0")
mirrored = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])
"""


def run(body, devices=2):
    """Runs a program with this many CPUs and a strategy for all of them; the words it prints."""
    ended = Program(PROLOGUE + textwrap.dedent(body), DEVICES=str(devices)).wait()
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout.split()
