"""The ops have kernels for GPUs, and XLA lowers all types for every device."""

import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks

pytestmark = [needs_ops]


def test_the_ops_have_kernels_on_gpus():
    from tensorflow.python.framework import kernels

    for op in ("Conv2D", "MatMul"):
        for part in ("", "InputGradient", "KernelGradient"):
            registered = kernels.get_registered_kernels_for_op(f"KerasSparse>{op}{part}").kernel
            types = sorted(
                kernel.constraint[0].allowed_values.list.type[0]
                for kernel in registered
                if kernel.device_type == "GPU"
            )
            assert types == [1, 14, 19]  # float32, bfloat16, float16
            # a switch in the host's memory would make each step wait for the GPU
            on_gpu = [kernel for kernel in registered if kernel.device_type == "GPU"]
            assert not any(kernel.host_memory_arg for kernel in on_gpu)


def by_xla(structure, block):
    """A convolution and its two gradients, which XLA compiles."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def products(inputs, kernel, mask):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = ks.compute.gradients.custom_ops().keras_sparse_conv2d(
                inputs,
                kernel,
                mask,
                False,
                strides=[1, 1],
                padding="SAME",
                structure=structure,
                block=block,
            )
        return outputs, *tape.gradient(outputs, [inputs, kernel])

    return products


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_xla_lowers_all_types_for_every_device(dtype):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inputs, kernel = (
        tf.cast(rng.standard_normal(shape), dtype) for shape in ((2, 5, 5, 16), (3, 3, 16, 16))
    )
    mask = rng.random(kernel.shape) < 0.5

    outputs, by_inputs, by_kernel = (
        tf.cast(tensor, "float32").numpy() for tensor in by_xla("blocks", 16)(inputs, kernel, mask)
    )
    effective = tf.where(mask, tf.cast(kernel, "float32"), 0.0)
    np.testing.assert_allclose(
        outputs, tf.nn.conv2d(tf.cast(inputs, "float32"), effective, 1, "SAME"), atol=0.1
    )
    assert by_inputs.shape == inputs.shape
    assert (by_kernel[~mask] == 0).all()
    assert (by_kernel[mask] != 0).any()


def calls_of(platform, dtype, structure, block, channels=32):
    """How often the program that XLA gets for three products calls a kernel of ours."""
    import tensorflow as tf

    shape = (3, 3, channels, channels)
    specs = [tf.TensorSpec((2, 8, 8, channels), dtype), tf.TensorSpec(shape, dtype)]
    lower = by_xla(structure, block).experimental_get_compiler_ir(
        *specs, tf.TensorSpec(shape, "bool")
    )
    return lower(stage="hlo", platform_name=platform).count('target="keras_sparse_product"')


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_programs_of_xla_call_the_kernels_on_gpus_alone(dtype):
    if ks.ops.available().without:
        pytest.skip("the ops were built without kernels for GPUs")
    assert calls_of("GPU", dtype, "blocks", 16) == 3
    assert calls_of("GPU", dtype, "weights", 0) == (3 if dtype == "float32" else 0)
    assert calls_of("GPU", dtype, "blocks", 32, channels=48) == 0  # no whole blocks
    assert calls_of("CPU", dtype, "blocks", 16) == 0
