"""The choice of who computes on a GPU: TensorFlow reports one, and nothing is computed."""

import keras
import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute import (
    gpu_kernels,
    gpu_structure,
    layer_choice,
    library,
    masked_gradient,
    ops,
    sparse_layer,
)
from keras_sparse.compute.choice import choose
from keras_sparse.compute.product import Product
from keras_sparse.rules.structure_arguments import as_structure

pytestmark = [needs_ops]


def row(kind, dtype, block, channels, density, multiplications=0):
    """A row of the table of densities, for layers of at least this size."""
    return {
        "kind": kind,
        "dtype": dtype,
        "block": block,
        "smallest_channels": channels,
        "smallest_multiplications": multiplications,
        "density": density,
    }


MEASURED = [
    {
        "compute_capability": "9.0",
        "rows": [
            row("convolution", "bfloat16", 32, 64, 0.25),
            row("convolution", "bfloat16", 32, 256, 0.5),
            row("convolution", "float16", 64, 64, 0.3, multiplications=1000 * 9 * 64 * 64),
            row("convolution", "float32", "weights", 64, 0.1),
            row("matmul", "float32", "channel_pairs", 64, 0.2),
            row("convolution", "tensorfloat32", 32, 64, 0.25),
            row("matmul", "tensorfloat32", 64, 64, 0.1),
        ],
    }
]


@pytest.fixture
def h200(monkeypatch):
    """A GPU whose kernels have been built, and measured as MEASURED says."""
    for module in (gpu_kernels, layer_choice, masked_gradient, sparse_layer):
        monkeypatch.setattr(module, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu_kernels, "_compute_capability", lambda: "9.0")
    monkeypatch.setattr(gpu_kernels, "_measured", lambda: MEASURED)
    without(monkeypatch)


def without(monkeypatch, **parts):
    """The library was built without these parts."""
    for module in (gpu_kernels, library):
        monkeypatch.setattr(module, "available", lambda: ks.ops.Availability(None, without=parts))


def product(shape, dtype, block_shape, trains=False):
    kind, structure = "matmul" if len(shape) == 2 else "conv2d", as_structure(block_shape)
    return Product(kind, shape, dtype, structure=structure, trains=trains)


def break_even(shape, dtype, block_shape):
    """The density up to which the kernel on GPUs runs; 0 where none does."""
    choice = choose(product(shape, dtype, block_shape))
    return 0 if choice.is_stock else choice.break_even


@pytest.mark.parametrize(
    ("block_shape", "attributes"),
    [
        (None, ("weights", 0)),
        ((1, 1), ("channel_pairs", 0)),
        ((1, 8), ("channel_pairs", 0)),
        ((16, 16), ("blocks", 16)),
        ((32, 16), ("blocks", 16)),
        ((64, 128), ("blocks", 64)),
        ((96, 32), ("blocks", 32)),
        ((8, 8), ("channel_pairs", 0)),
    ],
)
def test_the_largest_square_block_that_fits(block_shape, attributes):
    found = gpu_structure.kernel_structure(as_structure(block_shape))
    assert (found.structure, found.block) == attributes


@pytest.mark.parametrize(
    ("structure", "attributes"),
    [
        (ks.Blocks(32, 32, per_tap=True), ("blocks", 32)),
        (ks.Blocks(64, 16, per_tap=True), ("blocks", 16)),
        (ks.Blocks(4, 4, per_tap=True), ("weights", 0)),
    ],
)
def test_blocks_per_tap_run_as_blocks_where_those_fit(structure, attributes):
    found = gpu_structure.kernel_structure(structure)
    assert (found.structure, found.block) == attributes


def test_nothing_measured_is_nothing_claimed(h200, monkeypatch):
    monkeypatch.setattr(gpu_kernels, "_compute_capability", lambda: "12.0")
    choice = choose(product((3, 3, 256, 256), "bfloat16", (32, 32)))
    assert choice.is_stock
    assert "12.0 nobody has measured it to be faster" in choice.why


@pytest.mark.parametrize(
    ("shape", "dtype", "block_shape", "density"),
    [
        ((3, 3, 64, 128), "bfloat16", (32, 32), 0.25),
        ((3, 3, 512, 256), "bfloat16", (32, 32), 0.5),
        ((3, 3, 32, 256), "bfloat16", (32, 32), 0),
        ((3, 3, 64, 128), "bfloat16", (64, 64), 0),
        ((3, 3, 64, 128), "float16", (32, 32), 0),
        ((1, 1, 64, 128), "bfloat16", (32, 32), 0),
        ((128, 64), "float32", (64, 64), 0.1),
        ((128, 64), "float32", (1, 1), 0),
    ],
)
def test_the_density_is_that_of_the_measured_row(h200, shape, dtype, block_shape, density):
    assert break_even(shape, dtype, block_shape) == density


@pytest.mark.parametrize(
    ("positions", "density"), [(np.inf, 0.3), (1000, 0.3), (999, 0.0), (None, 0.0)]
)
def test_a_small_layer_or_batch_is_not_covered_by_what_large_ones_measured(
    h200, positions, density
):
    of_layer = product((3, 3, 64, 64), "float16", (64, 64))
    if positions is None:  # known only when it runs
        positions = keras.ops.convert_to_tensor(500.0)
    choice = choose(of_layer.with_positions(positions))
    assert float(choice.break_even) == pytest.approx(density)


def test_the_shipped_table_has_what_was_measured_on_an_h100():
    (h100,) = [t for t in gpu_kernels._measured() if t["compute_capability"] == "9.0"]
    assert "H100" in h100["gpu"]
    for row in h100["rows"]:
        assert row["kind"] in ("convolution", "1x1 convolution", "matmul")
        assert 0 < row["density"] < 1
        assert row["smallest_channels"] >= 64
        assert row["smallest_multiplications"] > 1e9
        assert row["layers"] >= 1


def test_exact_float32_is_compared_with_exact_float32(h200, monkeypatch):
    monkeypatch.setattr(gpu_kernels, "_allows_tf32", lambda: False)
    assert break_even((3, 3, 64, 64), "float32", None) == 0.1
    assert break_even((128, 64), "float32", (1, 1)) == 0.2


@pytest.mark.parametrize(
    ("dtype", "block_shape", "why"),
    [
        ("float32", None, None),
        ("float32", (1, 1), None),
        ("bfloat16", None, "masks of single weights run in float32 on GPUs"),
        ("float16", (1, 1), "masks of pairs of channels run in float32 on GPUs"),
        ("bfloat16", (32, 32), None),
        ("float32", (32, 32), None),
        ("float64", (32, 32), "dtype is float64, not one of float32, bfloat16, float16"),
    ],
)
def test_which_masks_have_kernels(h200, dtype, block_shape, why):
    said = ops.why_stock_matmul(dtype, block_shape)
    assert said is None if why is None else why in said


def test_tensor_float_32_is_asked_for(h200):
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        assert "TensorFloat-32" in ops.why_stock_matmul("float32", (32, 32))
        assert ops.why_stock_matmul("float32") is None
        assert ops.why_stock_matmul("bfloat16", (32, 32)) is None
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_what_was_left_out_of_the_build_is_said(h200, monkeypatch):
    without(monkeypatch, blocks="Triton is not installed", cuda_cores="nvcc was not found")
    assert ops.why_stock_matmul("float32", (32, 32)).endswith(
        "without these kernels for GPUs: Triton is not installed"
    )
    assert ops.why_stock_matmul("float32").endswith(
        "without these kernels for GPUs: nvcc was not found"
    )


def conv(dtype, block_shape, channels=64, **arguments):
    layer = ks.layers.SparseConv2D(64, 3, dtype=dtype, block_shape=block_shape, **arguments)
    layer.build((None, 8, 8, channels))
    return layer


def block_mask(layer, density):
    rows, columns = (n // 32 for n in layer.mask.shape[2:])
    chosen = np.arange(rows * columns).reshape(rows, columns) < round(density * rows * columns)
    return np.broadcast_to(np.kron(chosen, np.ones((32, 32))) > 0, layer.mask.shape).copy()


def test_a_layer_runs_what_was_measured_to_be_faster(h200):
    layer = conv("float32", (32, 32))
    assert layer.why_stock() == "density 1.00 is above 0.25"
    layer.set_mask(block_mask(layer, 0.25))
    assert layer.why_stock() is None
    assert layer.supports_jit


@pytest.mark.parametrize(
    ("before", "now", "passed"),
    [
        (0.5, 0.26, False),
        (0.5, 0.25, True),
        (0.25, 0.1, False),
        (0.25, 0.5, False),  # not twice as dense
        (0.25, 0.51, True),
    ],
)
def test_a_step_is_traced_anew_when_a_mask_has_passed_a_break_even_density(
    h200, before, now, passed
):
    layer = conv("float32", (32, 32), channels=640)
    assert gpu_kernels.GpuBlocks().has_passed(layer.product(), before, now) == passed
    layer.set_mask(np.zeros(layer.mask.shape, bool))
    layer.kernel_mask.mask_density.assign(now)
    assert not layer.chooses_otherwise()  # no step was traced
    layer.kernel_mask.traced_density = before
    assert layer.chooses_otherwise() == passed
    layer.kernel_mask.traced_break_even = 0.4  # of the batch, where nobody measured it
    assert layer.chooses_otherwise() == (now <= 0.4 < before or before <= 0.4 < now / 2)
    layer.kernel_mask.traced_break_even = None
    layer.implementation = "custom_op"
    assert layer.chooses_otherwise() == passed
    layer.implementation = "stock"
    assert not layer.chooses_otherwise()


def test_a_layer_that_nobody_measured_stays_dense(h200):
    layer = conv("mixed_float16", (32, 32))
    assert "nobody has measured it to be faster" in layer.why_stock()
    assert layer.supports_jit
    assert conv("mixed_float16", (32, 32), implementation="custom_op").why_stock() is None


def test_asking_for_what_cannot_be_had_raises(h200):
    with pytest.raises(ValueError, match="masks of single weights run in float32 on GPUs"):
        ks.layers.SparseConv2D(64, 3, dtype="mixed_bfloat16", implementation="custom_op")
    with pytest.raises(ValueError, match="not whole blocks of 32"):
        ops.sparse_matmul(
            np.ones((2, 48), "f"),
            np.ones((48, 32), "f"),
            np.ones((48, 32), bool),
            implementation="custom_op",
            block_shape=(32, 32),
        )
    with pytest.raises(ValueError, match="block_shape"):
        ks.layers.SparseConv2D(64, 3, block_shape=(32, 0))


def test_layers_that_blocks_do_not_divide_run_stock_operations(h200):
    layers = [keras.layers.Dense(96, name="wide"), keras.layers.Dense(10, name="head")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    sparse = ks.sparsify(model, "custom_op", block_shape=(32, 32), verbose=False)
    wide, head = sparse.layers
    assert (wide.implementation, head.implementation) == ("custom_op", "auto")
    assert wide.structure == head.structure == ks.Blocks(32, 32)
    why = "stock: the channels of a kernel of shape (96, 10) are not whole blocks of 32"
    assert head.runs_as() == why
