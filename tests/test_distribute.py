"""tf.distribute in one process: one decision for all replicas."""

import pytest
import tensorflow as tf
from helpers import assert_same, compiled, fit
from replicas import run

import keras_sparse as ks

NETWORK = """
def network(kind):
    layers = [keras.Input((6, 6, 16)), keras.layers.Conv2D(16, 3, activation="tanh")]
    layers += [keras.layers.Flatten(), keras.layers.Dense(16), keras.layers.Dense(4)]
    model = keras.Sequential(layers)
    return ks.sparsify(model) if kind == "sparse" else model
"""


@pytest.mark.parametrize(
    ("kind", "devices"), [("sparse", 2), pytest.param("stock", 4, marks=pytest.mark.slow)]
)
def test_replicas_agree_and_train_as_one_device(kind, devices):
    """Gradients are summed in another order: weights agree to rounding, and masks are equal."""
    out = run(
        f"""{NETWORK}
models = []
for strategy, copies in ((one_device, 1), (mirrored, {devices})):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        optimizer = ks.SparseMomentum(sgd(), 0.1, growth_window=2, seed=0)
        model = compiled(optimizer, network("{kind}"), jit_compile=False)
    fit(model, ks.UpdateMasks(check_agreement=True), epochs=3, data=toy_data((6, 6, 16)))
    check(model, 646, copies)
    models.append(model)
assert_same(*[list(model.optimizer.masks.values()) for model in models])
states = [[*model.weights, *model.optimizer.inner_optimizer.variables] for model in models]
for one, other in zip(*states):
    np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=1e-6)
kernel_masks = [layer.kernel_mask for layer in models[1].layers if hasattr(layer, "kernel_mask")]
for kernel_mask in kernel_masks:
    assert {{len(replicas(variable)) for variable in kernel_mask.variables}} == {{{devices}}}
    assert array(kernel_mask.dense_weight_gradient)  # at the end of a training, for the next one
models[1].optimizer.open_growth_window(False)
assert not any(array(kernel_mask.dense_weight_gradient) for kernel_mask in kernel_masks)
print(len(kernel_masks), models[1].optimizer.step())
""",
        devices,
    )
    assert out == [{"stock": "0", "sparse": "3"}[kind], "12"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset", ["ACDC(sgd(), 0.1, borders=(0.25, 0.5, 0.75), seed=0)", "GraNet(sgd(), 0.1, seed=0)"]
)
def test_presets_whose_density_moves_agree_on_replicas(preset):
    out = run(
        f"""{NETWORK}
models = []
for strategy, copies in ((one_device, 1), (mirrored, 2)):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = compiled(ks.{preset}, network("sparse"), jit_compile=False)
    fit(model, ks.UpdateMasks(check_agreement=True), epochs=4, data=toy_data((6, 6, 16)))
    check(model, 646, copies)
    models.append(model)
assert_same(*[list(model.optimizer.masks.values()) for model in models])
states = [[*model.weights, *model.optimizer.inner_optimizer.variables] for model in models]
for one, other in zip(*states):
    np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=1e-6)
print(models[1].optimizer.step())
"""
    )
    assert out == ["16"]


def test_one_device_strategy_changes_nothing():
    arguments = {"jit_compile": True, "steps_per_execution": 2}
    models = [compiled(**arguments)]
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        models.append(compiled(**arguments))
    models[1].set_weights(models[0].get_weights())
    for model in models:
        fit(model, ks.UpdateMasks(check_agreement=True), epochs=3)
    assert_same(*[[*model.get_weights(), *model.optimizer.masks.values()] for model in models])


@pytest.mark.slow
def test_fit_on_replicas():
    steps = run("""
        for settings in ({"gradient_momentum": 0.9}, {"grow": "gradient", "redistribute": None}):
            with mirrored.scope():
                optimizer = ks.SparseMomentum(sgd(), 0.25, seed=0, **settings)
                model = compiled(optimizer, jit_compile=False)
            fit(model, ks.UpdateMasks(), epochs=3)
            check(model, 48, 2)
            print(model.optimizer.step())
    """)
    assert steps == ["12"] * 2


def test_the_callback_alone_wraps_under_a_strategy():
    out = run("""
        with mirrored.scope():
            model = compiled(sgd(), jit_compile=False)
        drawn = array(model.layers[0].kernel)
        callback = ks.UpdateMasks(every=3, density=0.25)
        callback.set_model(model)
        with mirrored.scope():
            model.optimizer.build(model)
        held = replicas(model.layers[0].kernel)
        kernels = [replica[replica != 0] / drawn[replica != 0] for replica in held]
        assert_same(kernels[:1], kernels[1:])
        fit(model, callback, epochs=3)
        check(model, 48, 2)
        print(type(model.optimizer).__name__, kernels[0].min() > 1.2)  # the initial scale
    """)
    assert out == ["SparseMomentum", "True"]


def test_a_model_without_input_shape_under_a_strategy():
    run("""
        with mirrored.scope():
            model = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)])
            model.compile(ks.SparseMomentum(sgd(), 0.25, seed=0), "mse", jit_compile=False)
        fit(model, ks.UpdateMasks(), epochs=3)
        check(model, 48, 2)
    """)


@pytest.mark.parametrize(
    ("policy", "network"),
    [("float32", "ks.sparsify(toy_model())"), ("mixed_float16", "toy_model()")],
)
def test_a_loop_of_your_own_on_replicas(policy, network):
    run(f"""
        keras.config.set_dtype_policy("{policy}")
        with mirrored.scope():
            optimizer = ks.SparseMomentum(sgd(), 0.25, growth_window=2, seed=0)
            model = compiled(optimizer, {network}, jit_compile=False)
            outer = model.optimizer
            optimizer = ks.training.find_optimizer.sparse_momentum_of(model)
            optimizer.build(model)
            outer.build(model.trainable_variables)
        x, y = toy_data()
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
        data = mirrored.experimental_distribute_dataset(data)

        def step(x, y):
            with tf.GradientTape() as tape:
                outputs = tf.cast(model(x, training=True), tf.float32)
                loss = outer.scale_loss(tf.reduce_sum((outputs - y) ** 2) / 32)
            outer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

        train = tf.function(lambda x, y: mirrored.run(step, (x, y)))
        optimizer.start_training(12)
        for epoch in range(3):
            for batch, (x, y) in enumerate(data):
                optimizer.open_growth_window(4 - batch <= optimizer.growth_window_steps())
                train(x, y)
                assert_masks_hold(optimizer)
            optimizer.update_masks()
            assert ks.check_agreement(optimizer).copies == 2
        for variable in [*model.variables, *optimizer.variables]:
            held = replicas(variable)
            assert_same(held, held[:1] * 2 if len(held) == 2 else held)
        assert active(optimizer) == 48
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


def test_a_constraint_on_replicas_sees_active_weights_alone():
    out = run(
        """
with mirrored.scope():
    unit = keras.constraints.UnitNorm(axis=0)
    dense = keras.layers.Dense(4, kernel_constraint=unit)
    model = keras.Sequential([keras.Input((20,)), dense])
    optimizer = ks.StaticSparsity(sgd(), 0.5, seed=0)
    model.compile(optimizer, "mse", jit_compile=False)
rng = np.random.default_rng(0)
data = rng.normal(size=(32, 20)).astype("float32"), np.ones((32, 4), "float32")
model.fit(*data, batch_size=8, epochs=2, verbose=0)
check(model, 40, 2)
np.testing.assert_allclose(np.linalg.norm(array(dense.kernel), axis=0), np.ones(4), atol=1e-5)
print(dense.kernel.constraint is unit)
"""
    )
    assert out == ["True"]
