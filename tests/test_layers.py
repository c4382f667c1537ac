"""Special cases of sparse layers; what all of them promise is in test_layer_conformance.py."""

import keras
import numpy as np
import pytest
from helpers import array
from two_layers import INPUTS, TARGETS, network, random_mask, sparse_momentum, train

import keras_sparse as ks

backend = pytest.mark.backend
available = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not ks.ops.available(), reason="no custom ops here"
)


# --- a Keras layer


@backend
def test_a_new_layer_has_the_name_of_the_keras_layer():
    keras.utils.clear_session()
    name = keras.layers.Conv2D(4, 3).name
    keras.utils.clear_session()
    assert ks.layers.SparseConv2D(4, 3).name == name


@backend
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ks.layers.SparseConv2D(4, 3, implementation="fast"),
            "`implementation` must be .auto., .*Received: implementation='fast'",
        ),
        (
            lambda: ks.layers.SparseConv2D(4, 3, lora_rank=2),
            "`lora_rank` must be None.*Received: lora_rank=2",
        ),
        (
            lambda: ks.layers.SparseDense(4, dtype="int8_from_float32"),
            "`quantization_mode` must be None",
        ),
    ],
)
def test_what_a_sparse_layer_cannot_be_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- values and gradients


@backend
@pytest.mark.parametrize(
    "inner", [lambda: keras.optimizers.SGD(0.1, momentum=0.9), lambda: keras.optimizers.Adam(0.01)]
)
def test_a_plain_optimizer_leaves_missing_weights_after_a_sparse_one(inner):
    model, optimizer = network(), ks.StaticSparsity(inner(), density=0.25, growth_window=None)
    optimizer.build(model)
    train(model, optimizer, steps=2)
    shared = keras.Sequential(
        [model.get_layer("conv"), keras.layers.Flatten(), keras.layers.Dense(16)]
    )  # while the first model keeps its optimizer
    train(shared, inner(), steps=3)
    train(model, inner(), steps=3)
    for layer in (model.get_layer("conv"), model.get_layer("dense")):
        kernel, mask = array(layer.kernel), array(layer.mask)
        assert kernel[mask].all()
        assert not kernel[~mask].any()


def test_in_the_step_of_its_optimizer_the_kernel_has_the_gradient_of_the_keras_layer():
    import tensorflow as tf

    model = network(implementation="stock")
    model.compile(sparse_momentum(), "mse")
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)
    step = tf.function(model.train_step).get_concrete_function(
        (tf.constant(INPUTS), tf.constant(TARGETS))
    )
    kernels = [model.get_layer(name).kernel.shape for name in ("conv", "dense")]
    masked = [
        operation
        for operation in step.graph.get_operations()
        if operation.type in ("Select", "SelectV2") and operation.outputs[0].shape in kernels
    ]
    assert not masked
    outside = tf.function(
        lambda x: tf.gradients(model(x), model.get_layer("dense").kernel.value)[0]
    )
    assert not outside(INPUTS).numpy()[~array(model.get_layer("dense").mask)].any()


def test_second_order_gradients_of_the_stock_operation_are_masked_too():
    import tensorflow as tf

    layer, x = (
        ks.layers.SparseDense(16, implementation="stock", use_bias=False),
        tf.constant(INPUTS[0, 0]),
    )
    layer.build(x.shape)
    layer.set_mask(random_mask((16, 16)))
    mask = tf.cast(array(layer.mask), "float32")

    def second(product):
        kernel = layer.kernel.value
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(product(x) ** 3)
            total = tf.reduce_sum(inner.gradient(loss, kernel) ** 2)
        return outer.gradient(total, kernel)

    expected = second(lambda x: tf.matmul(x, layer.kernel.value * mask))
    for run in (second, tf.function(second)):
        np.testing.assert_allclose(run(layer), expected, rtol=1e-4, atol=1e-5)


def test_the_switches_need_no_retracing():
    import tensorflow as tf

    model = network()
    layer = model.get_layer("dense")
    traces = []

    @tf.function
    def gradient():
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(INPUTS, training=True) ** 2)
        return tape.gradient(loss, layer.kernel)

    mask = random_mask(layer.mask.shape)
    assert gradient().numpy()[~mask].any()  # the mask is all True
    layer.set_mask(mask)
    assert not gradient().numpy()[~mask].any()
    layer.dense_weight_gradient.assign(True)
    assert gradient().numpy()[~mask].any()
    assert len(traces) == 1


def dense_pair(**settings):
    """A sparse and a dense layer of equal weights, so large that 512 rows run the custom op."""
    layer, oracle = ks.layers.SparseDense(256, **settings), keras.layers.Dense(256)
    layer.build((None, 64)), oracle.build((None, 64))
    layer.set_mask(random_mask((64, 256), 0.1))
    oracle.set_weights(layer.get_weights())
    return layer, oracle


@pytest.mark.parametrize(
    "implementation", ["auto", "stock"] + ["custom_op"] * bool(ks.ops.available())
)
def test_sparse_tensors_and_inputs_of_more_axes(implementation):
    import tensorflow as tf

    layer, oracle = dense_pair(implementation=implementation)
    x = np.random.default_rng(3).integers(0, 2, (512, 64)).astype("float32")
    for one in (x, tf.sparse.from_dense(x), x.reshape(8, 4, 16, 64)):
        np.testing.assert_allclose(layer(one), oracle(one), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tf.function(layer)(one), oracle(one), rtol=1e-4, atol=1e-5)


@backend
@pytest.mark.parametrize("implementation", ["auto"] + ["custom_op"] * bool(ks.ops.available()))
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool", "float16", "float64"])
def test_inputs_of_any_dtype_that_the_keras_layer_takes(dtype, implementation):
    layer, oracle = dense_pair(implementation=implementation)
    for rows in (2, 512):
        x = np.random.default_rng(3).integers(0, 2, (rows, 64)).astype(dtype)
        for one in (x, keras.ops.convert_to_tensor(x)):
            outputs = layer(one)
            assert (
                keras.backend.standardize_dtype(outputs.dtype)
                == keras.backend.standardize_dtype(oracle(one).dtype)
                == "float32"
            )
            np.testing.assert_allclose(array(outputs), array(oracle(one)), rtol=1e-4, atol=1e-5)


@backend
def test_inputs_that_are_promoted_beyond_the_dtype_of_the_layer_run_the_stock_operation():
    layer, x = ks.layers.SparseDense(256, autocast=False), np.ones((512, 64))
    layer.build((None, 64))
    layer.set_mask(random_mask((64, 256), 0.1))
    oracle = keras.layers.Dense(256, autocast=False)
    assert layer(x).dtype == oracle(x).dtype  # float64, but on JAX, which has none by default


@pytest.mark.parametrize("arguments", [{"groups": INPUTS.shape[-1]}])
def test_convolutions_that_the_custom_op_does_not_do(arguments):
    layer, oracle = (
        ks.layers.SparseConv2D(16, 3, **arguments),
        keras.layers.Conv2D(16, 3, **arguments),
    )
    layer.build(INPUTS.shape), oracle.build(INPUTS.shape)
    layer.set_mask(random_mask(layer.mask.shape))
    oracle.set_weights([array(layer.kernel) * array(layer.mask), array(layer.bias)])
    np.testing.assert_allclose(layer(INPUTS), oracle(INPUTS), rtol=1e-4, atol=1e-5)
    assert layer.implementation_used == "stock"


# --- who computes


@available
def test_auto_goes_by_the_density():
    layer = ks.layers.SparseConv2D(16, 3)
    layer.build(INPUTS.shape)
    assert layer.why_stock() == "density 1.00 is above 0.55"
    layer.set_mask(random_mask(layer.mask.shape))
    assert layer.why_stock() is None
    assert layer.implementation_used == "custom_op"
    assert array(layer.kernel_mask.mask_density) == np.float32(array(layer.mask).mean())


@available
@pytest.mark.parametrize("implementation", ["auto", "custom_op"])
def test_the_graph_runs_what_the_layer_says(implementation):
    import tensorflow as tf

    layer = ks.layers.SparseConv2D(16, 3, implementation=implementation)
    layer.build(INPUTS.shape)
    graph = tf.function(layer).get_concrete_function(INPUTS).graph
    ops = {node.op for node in graph.as_graph_def().node}
    functions = {
        node.op for function in graph.as_graph_def().library.function for node in function.node_def
    }
    assert ("Conv2D" in ops | functions) == (implementation == "auto")


@available
def test_why_stock_says_what_is_too_dense_and_what_too_small():
    layer = ks.layers.SparseDense(64)
    layer.build((None, 64))
    layer.set_mask(np.arange(64 * 64).reshape(64, 64) % 4 == 0)
    assert layer.why_stock((4, 64)) == "4 output positions are too few"
    assert layer.why_stock((16, 64, 64)) == "density 0.25 is above 0.25 for 1024 output positions"
    assert layer.why_stock((None, 64)) is layer.why_stock() is None
    assert layer.runs_as((4096, 64)) == "custom op"


@available
def test_a_frozen_dense_layer_runs_the_stock_operation_without_a_choice_in_the_graph():
    import tensorflow as tf

    layer = ks.layers.SparseConv2D(16, 3)
    layer.build((None, 5, 5, 64))
    for trainable, choices in ((True, 1), (False, 0)):
        layer.trainable = trainable
        graph = (
            tf.function(lambda x: layer(x), autograph=False)
            .get_concrete_function(tf.TensorSpec((None, 5, 5, 64)))
            .graph
        )
        assert (
            sum(operation.type in ("If", "StatelessIf") for operation in graph.get_operations())
            == choices
        )


@available
def test_few_channels_are_not_worth_the_custom_op():
    layer = ks.layers.SparseConv2D(64, 3)
    layer.build((None, 8, 8, 3))
    layer.set_mask(random_mask(layer.mask.shape, 0.1))
    assert layer.why_stock() == "fewer than 16 channels"
    assert layer.supports_jit


@backend
def test_the_custom_op_on_request_says_why_it_cannot():
    with pytest.raises(ValueError, match='cannot run the custom op: .* Pass implementation="auto"'):
        ks.layers.SparseConv2D(16, 3, data_format="channels_first", implementation="custom_op")
