"""keras.distribution: DataParallel on JAX, on four devices of one process."""

import os
import subprocess
import sys

PROGRAM = """
import keras, numpy as np, keras_sparse as ks
from helpers import array, assert_same, assert_sparse, compiled, fit, sgd, toy_data

def network(kind):
    layers = [keras.Input((6, 6, 16)), keras.layers.Conv2D(16, 3, activation="tanh")]
    layers += [keras.layers.Flatten(), keras.layers.Dense(16), keras.layers.Dense(4)]
    model = keras.Sequential(layers)
    return ks.sparsify(model) if kind == "sparse" else model

def copies(variable):
    return [np.asarray(shard.data) for shard in variable.value.addressable_shards]

devices = keras.distribution.list_devices()
for kind in ("stock", "sparse"):
    models = []
    for distribution in (None, keras.distribution.DataParallel(devices=devices)):
        keras.distribution.set_distribution(distribution)
        keras.utils.set_random_seed(0)
        model = compiled(ks.SparseMomentum(sgd(), 0.1, growth_window=2, seed=0), network(kind))
        fit(model, ks.UpdateMasks(check_agreement=True), epochs=3, data=toy_data((6, 6, 16)))
        assert_sparse(model, 646)
        models.append(model)
    alone, parallel = models
    assert_same(list(alone.optimizer.masks.values()), list(parallel.optimizer.masks.values()))
    states = [[*model.weights, *model.optimizer.inner_optimizer.variables] for model in models]
    for one, other in zip(*states, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=1e-6)
    for variable in [*parallel.variables, *parallel.optimizer.variables]:
        assert_same(copies(variable), copies(variable)[:1] * 4)
    found = [ks.check_agreement(model).copies for model in (alone, parallel)]
    print(*found, alone.optimizer.step())
"""


def test_data_parallel_trains_the_masks_of_one_device():
    paths = os.pathsep.join(["", os.getcwd(), os.path.dirname(__file__)])
    environment = {
        "PYTHONPATH": paths,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["1", "4", "12"] * 2
