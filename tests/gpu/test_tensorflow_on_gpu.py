"""What TensorFlow computes with the ops on a GPU: needs one, and the tests are skipped without."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.compute import gpu_kernels

pytestmark = [pytest.mark.skipif(not gpu_kernels.has_gpu(), reason="TensorFlow sees no GPU")]
STRUCTURES = {
    "blocks of 16": ks.Blocks(16, 16),
    "blocks of 32": ks.Blocks(32, 32),
    "blocks of 64": ks.Blocks(64, 64),
    "blocks of 32 per tap": ks.Blocks(32, 32, per_tap=True),
    "pairs of channels": ks.Blocks(1, 1),
    "single weights": None,
}
# The norm of the error, as a share of the norm of the result. TensorFloat-32 and float16 round to
# 11 bits, bfloat16 to 8.
TOLERANCES = {"float32": 1e-3, "float16": 1e-3, "bfloat16": 8e-3}
CONVOLUTIONS = [
    {"taps": 3, "strides": 1, "padding": "same"},
    {"taps": 3, "strides": 2, "padding": "same"},
    {"taps": 1, "strides": 2, "padding": "valid"},
    {"taps": 5, "strides": 1, "padding": "valid"},
]


def mask_of(structure, shape, density, rng):
    """A random mask of this structure."""
    if structure is None:
        return rng.random(shape) < density
    taps = shape[:-2] if structure.per_tap else (1,) * (len(shape) - 2)
    grid = (*taps, shape[-2] // structure.in_, shape[-1] // structure.out)
    active = rng.random(grid) < density
    active = active.repeat(structure.in_, -2).repeat(structure.out, -1)
    return np.broadcast_to(active, shape).copy()


def both(product, inputs, kernel, mask, wanted, dtype, jit_compile):
    """Outputs and both gradients, in double precision on the CPU and in this type on the GPU."""
    import tensorflow as tf

    def on(device, of, tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            used = tensors[1]
            if of == "float64":
                used = used * tf.cast(mask, of)
            tape.watch(used)
            outputs = product(tensors[0], used, device)
        down = tf.cast(tf.cast(np.cos(np.arange(outputs.shape.num_elements())), dtype), of)
        by = [tensors[0], used if of == "float64" and wanted else tensors[1]]
        return outputs, *tape.gradient(outputs, by, tf.reshape(down, outputs.shape))

    found = []
    for device, of in (("CPU:0", "float64"), ("GPU:0", dtype)):
        with tf.device(device):
            tensors = [tf.cast(tf.cast(x, dtype), of) for x in (inputs, kernel)]
            run = on
            if jit_compile is not None and device == "GPU:0":
                run = tf.function(on, jit_compile=jit_compile)
            results = run(device, of, tensors)
        if device == "GPU:0":
            assert all("GPU" in one.device for one in results)
        found.append([tf.cast(x, "float64").numpy() for x in results])
    return found


def assert_close(found, dtype):
    for expected, result in zip(*found, strict=True):
        error = np.linalg.norm(result - expected) / np.linalg.norm(expected)
        assert error < TOLERANCES[dtype]


def on_kernels(structure, wanted):
    """Arguments of an operation that runs our kernels for masks of this structure."""
    block_shape = None if structure is None else (structure.in_, structure.out)
    options = {"implementation": "custom_op", "block_shape": block_shape}
    return {"dense_weight_gradient": wanted, **options}


def dtypes_of(structure):
    in_blocks = isinstance(structure, ks.Blocks) and structure.in_ >= 16
    return ("float32", "bfloat16", "float16") if in_blocks else ("float32",)


CASES = [
    (name, dtype)
    for name, of in STRUCTURES.items()
    if "per tap" not in name  # which layers declare, and operations do not
    for dtype in dtypes_of(of)
]


@pytest.mark.parametrize("jit_compile", [None, True], ids=["eagerly", "by XLA"])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_convolution_agrees_with_double_precision(name, dtype, options, wanted, jit_compile):
    rng, structure = np.random.default_rng(0), STRUCTURES[name]
    taps, strides, padding = options["taps"], options["strides"], options["padding"]
    inputs = rng.standard_normal((3, 13, 11, 128)).astype("f")
    kernel = rng.standard_normal((taps, taps, 128, 192)).astype("f")
    mask = mask_of(structure, kernel.shape, 0.3, rng)

    def product(inputs, kernel, device):
        if device == "CPU:0":
            return keras.ops.conv(inputs, kernel, strides, padding)
        how = on_kernels(structure, wanted)
        return ks.ops.sparse_conv2d(inputs, kernel, mask, strides, padding, **how)

    assert_close(both(product, inputs, kernel, mask, wanted, dtype, jit_compile), dtype)


@pytest.mark.parametrize("jit_compile", [None, True], ids=["eagerly", "by XLA"])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_matrix_product_agrees_with_double_precision(name, dtype, wanted, jit_compile):
    rng, structure = np.random.default_rng(1), STRUCTURES[name]
    inputs = rng.standard_normal((37, 256)).astype("f")
    kernel = rng.standard_normal((256, 320)).astype("f")
    mask = mask_of(structure, kernel.shape, 0.3, rng)

    def product(inputs, kernel, device):
        if device == "CPU:0":
            return inputs @ kernel
        return ks.ops.sparse_matmul(inputs, kernel, mask, **on_kernels(structure, wanted))

    assert_close(both(product, inputs, kernel, mask, wanted, dtype, jit_compile), dtype)


def network(structure, implementation, density=0.3, jit_compile="auto"):
    """A compiled network of two sparse convolutions and a sparse dense layer."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(64, 3, padding="same", name="stem"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Conv2D(128, 3, padding="same", strides=2, activation="relu", name="a"),
            layers.Conv2D(128, 3, padding="same", activation="relu", name="b"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(128, activation="relu", name="c"),
            layers.Dense(10, dtype="float32", name="head"),
        ]
    )
    declared = structure if implementation == "custom_op" else None
    model = ks.sparsify(model, implementation=implementation, structure=declared)
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(0.05, momentum=0.9),
        density,
        structure=structure,
        dense=["stem", "head"],
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=jit_compile)
    return model


def masks_of(model):
    optimizer = model.optimizer
    while not isinstance(optimizer, ks.SparseMomentum):  # of mixed_float16, which scales the loss
        optimizer = optimizer.inner_optimizer
    return optimizer.masks


def trained(model, epochs=3, **options):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 10, 64)
    images = rng.standard_normal((64, 12, 12, 3)) * 0.3 + (labels / 5 - 1)[:, None, None, None]
    outside = []

    class Looks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for name, mask in masks_of(model).items():
                layer = model.get_layer(name.split("/")[-2])
                outside.append(float(np.abs(np.where(mask, 0, layer.kernel.numpy())).max()))

    watch = [ks.UpdateMasks(), Looks()]
    history = model.fit(
        images.astype("f"), labels, 16, epochs, verbose=0, callbacks=watch, shuffle=False, **options
    )
    assert max(outside) == 0
    return history.history["loss"]


@pytest.mark.parametrize("policy_name", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", [name for name in STRUCTURES if "64" not in name])
def test_a_training_learns_and_keeps_its_masks(name, policy_name, policy):
    if policy_name != "float32" and policy_name.split("_")[1] not in dtypes_of(STRUCTURES[name]):
        pytest.skip("these kernels are for float32")
    policy(policy_name)
    losses = {}
    for implementation in ("custom_op", "stock"):
        model = network(STRUCTURES[name], implementation)
        losses[implementation] = trained(model, epochs=6)
        weights = sum(int(np.prod(layer.kernel.shape)) for layer in map(model.get_layer, "abc"))
        active = sum(int(np.sum(mask)) for mask in masks_of(model).values())
        assert active == pytest.approx(0.3 * weights, rel=0.02)
    assert losses["custom_op"][-1] < 0.9 * losses["custom_op"][0]
    np.testing.assert_allclose(losses["custom_op"][:2], losses["stock"][:2], rtol=0.05)


def test_a_training_goes_on_from_its_file(tmp_path):
    model = network(ks.Blocks(32, 32), "custom_op")
    trained(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(3).standard_normal((8, 12, 12, 3)).astype("f")
    np.testing.assert_allclose(
        model.predict(images, verbose=0), loaded.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )
    trained(loaded)


def test_a_mirrored_strategy_trains_on_the_gpu():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["GPU:0"])
    with strategy.scope():
        model = network(ks.Blocks(32, 32), "custom_op")
    losses = trained(model, epochs=6)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("implementation", ["auto", "custom_op"])
@pytest.mark.parametrize("jit_compile", [True, False])
def test_xla_computes_the_same_training(jit_compile, implementation):
    model = network(ks.Blocks(32, 32), implementation, jit_compile=jit_compile)
    assert model.jit_compile == jit_compile
    losses = trained(model, epochs=6)
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(losses[:2], trained(network(None, "stock"))[:2], rtol=0.2)


def test_keras_compiles_sparse_models_by_xla_unless_told_otherwise():
    assert network(ks.Blocks(32, 32), "custom_op").jit_compile


def test_an_exported_model_predicts_on_the_gpu(tmp_path):
    import tensorflow as tf

    model = network(ks.Blocks(32, 32), "custom_op")
    trained(model)
    images = np.random.default_rng(3).standard_normal((8, 12, 12, 3)).astype("f")
    expected = model.predict(images, verbose=0)
    ks.export(model, tmp_path / "stock", verbose=0)
    served = tf.saved_model.load(str(tmp_path / "stock")).serve(images)
    np.testing.assert_allclose(served, expected, rtol=1e-2, atol=1e-2)


def test_the_kernel_runs_where_the_summary_says_so():
    model = network(ks.Blocks(32, 32), "custom_op")
    trained(model)
    rows = ks.summary(model, output="dict", batch=64)["layers"]
    assert all("custom op" in row["runs_as"] for row in rows), rows
