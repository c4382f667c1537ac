"""Compares a step that was lowered for TPUs, run on a CPU by jax, with Keras' train_on_batch."""

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxlib import _jax, xla_client

from keras_sparse import tpu_check
from keras_sparse.tpu_check._libtpu import stablehlo
from keras_sparse.tpu_check._tensorflow import build
from keras_sparse.tpu_check.lower import lower
from keras_sparse.tpu_check.replica import cut_out
from keras_sparse.tpu_check.train_step import TrainStep, trace

jax.config.update("jax_enable_x64", True)  # TensorFlow counts in int64


def execute(lowered, given):
    """[{variable: its new value} of each replica].

    Args:
        lowered: a lowered step.
        given: [{name of a parameter: its value} of each replica].
    """
    devices = jax.devices("cpu")[: len(given)]
    options = xla_client.CompileOptions()
    options.num_replicas, options.num_partitions = len(devices), 1
    options.device_assignment = xla_client.DeviceAssignment.create(
        np.array([[device.id] for device in devices], np.int32)
    )
    module = stablehlo(lowered.hlo)
    with module.context:
        program = devices[0].client.compile_and_load(
            module, executable_devices=_jax.DeviceList(tuple(devices)), compile_options=options
        )
    # "Replicated" arrays, whose copies may differ: replicas know nothing of each other's.
    everywhere = NamedSharding(Mesh(np.array(devices), ("replica",)), PartitionSpec())
    arguments = []
    for one in lowered.parameters:
        copies = [
            jax.device_put(np.asarray(values[one.name]).astype(one.dtype.as_numpy_dtype), device)
            for values, device in zip(given, devices, strict=True)
        ]
        arguments.append(
            jax.make_array_from_single_device_arrays(tuple(one.shape), everywhere, copies)
        )
    results = program.execute_sharded(arguments).disassemble_into_single_device_arrays()[
        lowered.outputs :
    ]
    return [
        {
            one.name: np.asarray(copies[i])
            for one, copies in zip(lowered.updates, results, strict=True)
        }
        for i in range(len(devices))
    ]


def set_up(make, batch):
    """A model outside any strategy, with some momentum, and {name: variable} of its state."""
    model = make()
    if hasattr(model.optimizer, "mask_variables"):
        model.optimizer.build(model)
    build(model, batch)
    rng = np.random.default_rng(1)
    named = TrainStep(None, model, 1).variables
    for name, variable in named.items():
        if name.endswith("_momentum"):
            variable.assign(rng.normal(0, 0.01, variable.shape))
        # not 0: Adam would turn the rounding error of a vanishing gradient into a full step
        elif name.endswith("_velocity"):
            variable.assign(rng.uniform(0.01, 0.02, variable.shape))
    return model, named


def compare(make, replicas, batch=8):
    """{variable: largest difference} after a step of Keras and of the lowered program.

    It also returns the names of variables that the program does not update.

    Args:
        make: returns a compiled model.
        replicas: number of replicas; each gets its part of the batch.
        batch: number of examples.
    """
    rng = np.random.default_rng(0)
    x, y = (
        rng.normal(size=(batch, 8, 8, 16)).astype("float32"),
        rng.integers(0, 4, batch).astype("int32"),
    )
    with tpu_check.strategy(replicas).scope():
        model = make()
    step = trace(model, tpu_check.batch_of(model, batch))
    lowered = lower(cut_out(step))
    reference, variables = set_up(
        make, (keras.KerasTensor(x.shape), keras.KerasTensor(y.shape, "int32"))
    )
    names = dict(
        zip(step.variables, variables.values(), strict=True)
    )  # Keras numbers the layers of a second model on
    before = {name: variable.numpy() for name, variable in names.items()}
    parts = enumerate(zip(np.split(x, replicas), np.split(y, replicas), strict=True))
    after = execute(
        lowered,
        [
            {**before, "replica": i, "batch 0": images, "batch 1": classes}
            for i, (images, classes) in parts
        ],
    )
    reference.train_on_batch(x, y)
    expected = {name: variable.numpy() for name, variable in names.items()}
    differences = {
        name: float(np.abs(value.astype("float64") - expected[name]).max())
        for name, value in combined(after).items()
    }
    moved = {name for name in expected if not np.array_equal(expected[name], before[name])}
    return {
        "differences": differences,
        "forgotten": sorted(moved - differences.keys()),
        "moved": sorted(moved),
    }


def combined(after):
    """One value of each variable: metrics are per replica, all others must be equal."""
    result = {}
    for name, value in after[0].items():
        values = [one[name] for one in after]
        if name.rsplit("/", 1)[1] in ("total", "count"):
            result[name] = sum(values)
        else:
            np.testing.assert_array_equal(values, [value] * len(values), err_msg=name)
            result[name] = value
    return result
