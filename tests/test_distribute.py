"""tf.distribute: one decision for all replicas. Logical devices must be made before TensorFlow starts, so each test is a process."""

import os
import subprocess
import sys
import textwrap

import pytest

PROLOGUE = """
import warnings
warnings.simplefilter("error", UserWarning)
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np, keras_sparse as ks
from helpers import active, array, assert_same, assert_sparse, compiled, fit, sgd, toy_data, toy_model

def replicas(variable):  # its values, one a replica
    return [copy.numpy() for copy in getattr(variable.value, "values", [variable.value])]

def check(model, count, copies):
    assert_sparse(model, count)
    for variable in [*model.variables, *model.optimizer.variables]:
        values = replicas(variable)
        assert_same(values, values[:1] * len(values))
    assert {len(replicas(v)) for v in [*model.weights, *model.optimizer.mask_variables]} == {copies}

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one_device = tf.distribute.OneDeviceStrategy("CPU:0")
"""


def run(body):
    """Runs a program with two CPUs; its standard output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", os.getcwd(), os.path.dirname(__file__)]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", PROLOGUE + textwrap.dedent(body)], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


@pytest.mark.slow
def test_fit_on_replicas():
    steps = run("""
        for strategy, copies in ((mirrored, 2), (one_device, 1)):
            for settings in ({}, {"gradient_momentum": 0.9}, {"grow": "gradient", "redistribute": None}):
                with strategy.scope():
                    model = compiled(ks.SparseMomentum(sgd(), 0.25, **settings), jit_compile=False)
                fit(model, ks.UpdateMasks(), epochs=3)
                check(model, 48, copies)
                print(model.optimizer.step())
    """)
    assert steps == ["12"] * 6


def test_the_callback_alone_wraps_under_a_strategy():
    out = run("""
        with mirrored.scope():
            model = compiled(sgd(), jit_compile=False)
        fit(model, ks.UpdateMasks(every=3, density=0.25), epochs=3)
        check(model, 48, 2)
        print(type(model.optimizer).__name__)
    """)
    assert out == ["SparseMomentum"]


def test_two_replicas_train_as_one():
    run("""
        models = []
        for strategy in (mirrored, one_device):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                models.append(compiled(jit_compile=False))
            fit(models[-1], ks.UpdateMasks(), epochs=3)
        assert_same(*[list(model.optimizer.masks.values()) for model in models])
        for one, other in zip(*[model.get_weights() for model in models]):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    """)


def test_a_model_without_input_shape_under_a_strategy():
    run("""
        with mirrored.scope():
            model = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)])
            model.compile(ks.SparseMomentum(sgd(), 0.25), "mse", jit_compile=False)
        fit(model, ks.UpdateMasks(), epochs=3)
        check(model, 48, 2)
    """)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_loop_of_your_own_on_replicas(policy):
    run(f"""
        keras.config.set_dtype_policy("{policy}")
        with mirrored.scope():
            model = compiled(jit_compile=False)
            outer = model.optimizer
            optimizer = ks.compiled.sparse_momentum_of(model)
            optimizer.build(model)
            outer.build(model.trainable_variables)
        x, y = toy_data()
        data = mirrored.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((x, y)).batch(8))

        def step(x, y):
            with tf.GradientTape() as tape:
                loss = outer.scale_loss(tf.reduce_sum((tf.cast(model(x, training=True), tf.float32) - y) ** 2) / 32)
            outer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        train = tf.function(lambda x, y: mirrored.run(step, (x, y)))
        optimizer.start_training(12)
        for epoch in range(3):
            for x, y in data:
                train(x, y)
            optimizer.update_masks()
        for variable in [*model.variables, *optimizer.variables]:
            assert_same(replicas(variable), replicas(variable)[:1] * 2 if len(replicas(variable)) == 2 else replicas(variable))
        assert active(optimizer) == 48
        for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values()):
            assert not array(variable)[~mask].any()
        assert optimizer.step() == 12, optimizer.step()
    """)


@pytest.mark.slow
def test_a_checkpoint_moves_between_strategies(tmp_path):
    run(f"""
        path = r"{tmp_path}/all.weights.h5"
        with mirrored.scope():
            model = compiled(jit_compile=False)
        fit(model, ks.UpdateMasks(), epochs=2)
        model.save_weights(path)
        alone = compiled()
        alone.optimizer.build(alone)
        alone.load_weights(path)
        assert_same(list(alone.optimizer.masks.values()), list(model.optimizer.masks.values()))
        with mirrored.scope():
            again = compiled(jit_compile=False)
            again.optimizer.build(again)
            again.load_weights(path)
        check(again, 48, 2)
        for one in (model, again):
            fit(one, ks.UpdateMasks(), epochs=2)
        assert_same(again.get_weights(), model.get_weights())
    """)


@pytest.mark.parametrize("implementation", ["auto", "stock"])
def test_sparse_layers_on_replicas(implementation):
    out = run(f"""
        def network():
            layers = [keras.Input((6, 6, 16)), keras.layers.Conv2D(16, 3), keras.layers.Flatten(), keras.layers.Dense(16), keras.layers.Dense(4)]
            return ks.sparsify(keras.Sequential(layers), "{implementation}")

        models = []
        for strategy in (mirrored, one_device):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                model = compiled(ks.SparseMomentum(sgd(), 0.1, growth_window=2), network(), jit_compile=False)
            fit(model, ks.UpdateMasks(), epochs=3, data=toy_data((6, 6, 16)))
            models.append(model)
        check(models[0], active(models[1].optimizer), 2)
        for layer in models[0].layers:
            if hasattr(layer, "kernel_mask"):
                assert {{len(replicas(variable)) for variable in layer.kernel_mask.variables}} == {{2}}
                assert not array(layer.dense_weight_gradient)
        same = np.concatenate([(one == other).reshape(-1) for one, other in zip(*[model.optimizer.masks.values() for model in models])])
        assert same.mean() > 0.99, same.mean()
        print(models[0].optimizer.step())
    """)
    assert out == ["12"]
