"""What else differs on a GPU: XLA compiles sparse layers, and float32 is rounded to 11 bits."""

import keras
import numpy as np
import pytest
from helpers import sgd
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute import gpu_kernels, gradients, layer_choice, masked_gradient, sparse_layer
from keras_sparse.compute.choice import Choice
from keras_sparse.exporting.checks import tolerance_for

pytestmark = [needs_ops]


@pytest.fixture
def gpu(monkeypatch):
    """Python sees a GPU; the ops still run on the CPU."""
    for module in (gpu_kernels, gradients, layer_choice, masked_gradient, sparse_layer):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu_kernels, "_compute_capability", lambda: "9.0")
    monkeypatch.setattr(gpu_kernels, "_allows_tf32", lambda: True)
    everything = ks.ops.Availability(None, without={})
    monkeypatch.setattr(gpu_kernels, "available", lambda: everything)


def test_xla_compiles_sparse_layers_on_a_gpu_and_not_on_a_cpu(monkeypatch):
    assert not ks.layers.SparseDense(64).supports_jit
    monkeypatch.setattr(sparse_layer, "has_gpu", lambda: True)
    assert ks.layers.SparseDense(64).supports_jit


@pytest.mark.parametrize("wanted", [True, False])
def test_the_masked_gradient_has_no_condition_on_a_gpu(monkeypatch, wanted):
    import tensorflow as tf

    monkeypatch.setattr(masked_gradient, "has_gpu", lambda: True)
    kernel, mask = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([True, False, True])
    is_dense = tf.Variable(wanted)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(5.0 * masked_gradient.with_masked_gradient(kernel, mask, is_dense))
        return tape.gradient(loss, kernel)

    np.testing.assert_array_equal(gradient(), [5.0, 5.0 * wanted, 5.0])
    operations = gradient.get_concrete_function().graph.get_operations()
    assert not any("If" in one.type for one in operations)


@pytest.mark.parametrize(("allows_tf32", "tolerance"), [(True, 1e-2), (False, 1e-4)])
def test_an_export_allows_what_a_gpu_rounds(monkeypatch, allows_tf32, tolerance):
    monkeypatch.setattr(gpu_kernels, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu_kernels, "_allows_tf32", lambda: allows_tf32)
    assert tolerance_for("float32", computes_in_16_bits=False) == tolerance
    assert tolerance_for("float16", computes_in_16_bits=False) == 1e-2
    assert tolerance_for("int8", computes_in_16_bits=False) == 0.05


def network(growth_window="auto", growth_batch=1.0, builds=True):
    """Two sparse convolutions in blocks, compiled without XLA."""
    layers, blocks = keras.layers, ks.Blocks(16, 16)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 16)),
            ks.layers.SparseConv2D(64, 3, implementation="custom_op", structure=blocks, name="a"),
            ks.layers.SparseConv2D(32, 3, implementation="custom_op", structure=blocks, name="b"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    settings = {"growth_window": growth_window, "growth_batch": growth_batch, "seed": 0}
    optimizer = ks.SparseMomentum(sgd(), 0.5, structure=blocks, dense=["*dense*"], **settings)
    model.compile(optimizer, "mse", jit_compile=False)
    if builds:
        optimizer.build(model)
    return model


def traced(model):
    """The model's training step for a batch of 8."""
    import tensorflow as tf

    step = tf.function(lambda x, y: model.train_step((x, y)))
    return step.get_concrete_function(tf.zeros((8, 6, 6, 16)), tf.zeros((8, 2)))


def traced_operations(model):
    return operations_of(traced(model))


def operations_of(step):
    """The operations of a step, those of all its functions included."""
    of = step.graph.as_graph_def()
    nodes = [node.op for node in of.node]
    return nodes + [node.op for one in of.library.function for node in one.node_def]


@pytest.mark.parametrize("growth_batch", [1.0, 0.5])
def test_a_step_on_a_gpu_has_no_condition_and_computes_the_same(monkeypatch, request, growth_batch):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6, 6, 16)).astype("f"), rng.normal(size=(8, 2)).astype("f")

    def trained():
        model = network(growth_batch=growth_batch)
        step = traced(model)
        for is_open in (True, False, True):
            model.optimizer.open_growth_window(is_open)
            step(tf.constant(x), tf.constant(y))
        momenta = [m.numpy() for m in model.optimizer.inner_optimizer.momentums]
        assert any(
            momentum[~mask].any()
            for mask, momentum in zip(model.optimizer.masks.values(), momenta[::2], strict=False)
        )
        has_condition = any("If" in one for one in operations_of(step))
        return [*map(np.asarray, model.get_weights()), *momenta], has_condition

    on_cpu, has_condition = trained()
    assert has_condition
    request.getfixturevalue("gpu")
    on_gpu, has_condition = trained()
    assert not has_condition
    for expected, found in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_window_that_never_closes_takes_the_dense_operation_on_a_gpu(gpu):
    ours = "KerasSparse>Conv2DKernelGradient"
    assert ours in traced_operations(network())
    operations = traced_operations(network(growth_window=None))
    assert ours not in operations
    assert operations.count("Conv2DBackpropFilter") == 2
    assert not any("If" in one for one in operations)


@pytest.mark.parametrize("builds", [True, False])  # False: while its step is traced
def test_a_layer_chooses_when_its_step_is_traced_on_a_gpu(gpu, monkeypatch, builds):
    row = {"kind": "convolution", "dtype": "tensorfloat32", "block": 16}
    row |= {"smallest_channels": 16, "smallest_multiplications": 0, "density": 0.4}
    table = [{"compute_capability": "9.0", "rows": [row]}]
    monkeypatch.setattr(gpu_kernels, "_measured", lambda: table)
    for layer in (model := network(builds=builds)).layers[:2]:
        layer.implementation = "auto"
    ours = "KerasSparse>Conv2D"
    assert ours not in traced_operations(model)  # half of the weights are active
    assert model.layers[0].kernel_mask.traced_density == 0.5
    assert not any(layer.chooses_otherwise() for layer in model.layers[:2])
    masks = {name: np.zeros_like(mask) for name, mask in model.optimizer.masks.items()}
    for mask in masks.values():
        mask[:, :, :16, :16] = True
    model.optimizer.set_masks(masks)
    assert all(layer.chooses_otherwise() for layer in model.layers[:2])
    operations = traced_operations(model)
    assert ours in operations
    assert not any("If" in one for one in operations)
    assert not any(layer.chooses_otherwise() for layer in model.layers[:2])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("builds", [True, False])
def test_a_density_that_equals_the_break_even_runs_the_kernel_in_16_bits(
    gpu, monkeypatch, policy, builds
):
    row = {"kind": "1x1 convolution", "dtype": policy.split("_")[1], "block": 16}
    row |= {"smallest_channels": 16, "smallest_multiplications": 0, "density": 0.1}
    table = [{"compute_capability": "9.0", "rows": [row]}]
    monkeypatch.setattr(gpu_kernels, "_measured", lambda: table)
    blocks, layers = ks.Blocks(16, 16, per_tap=True), keras.layers
    sparse = ks.layers.SparseConv2D(160, 1, dtype=policy, structure=blocks)
    model = keras.Sequential(
        [keras.Input((6, 6, 16)), sparse, layers.Flatten(), layers.Dense(2, dtype="float32")]
    )
    optimizer = ks.SparseMomentum(sgd(), 0.1, structure=blocks, dense=["*dense*"], seed=0)
    model.compile(optimizer, "mse", jit_compile=False)
    if builds:
        optimizer.build(model)
    assert "KerasSparse>Conv2D" in traced_operations(model)
    assert sparse.kernel_mask.traced_density == np.float32(0.1)
    assert sparse.kernel_mask.traced_break_even == 0.1
    assert sparse.runs_as((8, 6, 6, 16)) == "custom op"


@pytest.mark.parametrize(("batch", "runs_kernel"), [(2, False), (64, True)])
def test_xla_leaves_out_a_condition_on_the_size_of_the_batch(batch, runs_kernel):
    import tensorflow as tf

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((None, 8))])
    def product(inputs):
        break_even = tf.where(tf.shape(inputs)[0] >= 8, 0.25, 0.0)
        choice = Choice(gpu_kernels.GpuBlocks(), break_even=break_even)
        return choice.run(lambda: 0.1, lambda: tf.sin(inputs), lambda: inputs)

    lower = product.experimental_get_compiler_ir(tf.zeros((batch, 8)))
    assert "conditional" in lower(stage="hlo")
    compiled = lower(stage="optimized_hlo")
    assert "conditional" not in compiled
    assert ("sine" in compiled) == runs_kernel
