"""The ops name the wrong argument, what must hold and what they received; they never crash."""

import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks

IMAGES, KERNEL, MASK = (
    np.ones((2, 6, 7, 4), "f"),
    np.ones((3, 3, 4, 5), "f"),
    np.ones((3, 3, 4, 5), bool),
)


def conv(inputs=IMAGES, kernel=KERNEL, mask=MASK, **options):
    return ks.ops.sparse_conv2d(inputs, kernel, mask, **options)


def dense(**arguments):
    shapes = {"inputs": (2, 4), "kernel": (4, 5), "mask": (4, 5)}
    ones = {name: np.ones(shape, bool if name == "mask" else "f") for name, shape in shapes.items()}
    return ks.ops.sparse_matmul(**{**ones, **arguments})


@pytest.mark.backend
@pytest.mark.parametrize(
    ("product", "arguments", "message"),
    [
        (
            conv,
            {"inputs": IMAGES[0]},
            "`inputs` must have four axes.*Received: inputs.shape=\\(6, 7, 4\\)",
        ),
        (
            conv,
            {"kernel": KERNEL[0], "mask": MASK[0]},
            "`kernel` must have the shape \\(height, width.*kernel.shape=\\(3, 4, 5\\)",
        ),
        (
            conv,
            {"kernel": KERNEL[:, :, :3], "mask": MASK[:, :, :3]},
            "`kernel` must have the 4 channels.*kernel.shape=\\(3, 3, 3, 5\\)",
        ),
        (
            conv,
            {"mask": MASK[:2]},
            "`mask` must have the shape of `kernel`, \\(3, 3, 4, 5\\).*mask.shape=\\(2, 3, 4, 5\\)",
        ),
        (conv, {"mask": KERNEL}, "`mask` must be bool.*float32"),
        (conv, {"strides": 0}, "`strides` must be one or two ints of at least 1.*strides=0"),
        (conv, {"strides": (1, 2, 3)}, "`strides`.*strides=\\(1, 2, 3\\)"),
        (conv, {"dilation_rate": -1}, "`dilation_rate`.*dilation_rate=-1"),
        (conv, {"padding": "causal"}, "`padding` must be.*padding='causal'"),
        (conv, {"data_format": "NHWC"}, "`data_format` must be.*data_format='NHWC'"),
        (
            conv,
            {"inputs": IMAGES[:, :2]},
            "`kernel` must fit into the inputs.*kernel.shape=\\(3, 3, 4, 5\\)",
        ),
        (conv, {"dilation_rate": 3}, "`kernel` must fit into the inputs"),
        (
            conv,
            {"implementation": "fast"},
            "`implementation` must be .auto., .*implementation='fast'",
        ),
        (
            dense,
            {"kernel": np.ones((3, 5), "f"), "mask": np.ones((3, 5), bool)},
            "`kernel` must have the 4 channels.*kernel.shape=\\(3, 5\\)",
        ),
        (dense, {"kernel": KERNEL, "mask": MASK}, "`kernel` must have the shape \\(in, out\\)"),
        (dense, {"mask": np.ones((5, 4), bool)}, "`mask` must have the shape of `kernel`"),
        (dense, {"inputs": np.float32(1)}, "`inputs` must have the shape \\(..., in\\)"),
    ],
)
def test_arguments_that_do_not_fit(product, arguments, message):
    with pytest.raises(ValueError, match=message):
        product(**arguments)


@needs_ops
@pytest.mark.parametrize(
    ("product", "arguments", "message"),
    [
        (
            conv,
            {"data_format": "channels_first", "inputs": IMAGES.transpose(0, 3, 1, 2)},
            "data_format is channels_first",
        ),
        (
            conv,
            {"strides": 2, "dilation_rate": 2},
            "strides are \\(2, 2\\) and dilation_rate is \\(2, 2\\)",
        ),
        (
            conv,
            {"kernel": KERNEL[:, :, :1, :4], "mask": MASK[:, :, :1, :4]},
            "groups is 4, of one channel each",
        ),
        (
            conv,
            {"inputs": IMAGES.astype("float16")},
            "dtype is float16 and float32, not one of float32, bfloat16, float16",
        ),
        (dense, {"inputs": np.ones((2, 4), "float64")}, "dtype is float64, not one of float32"),
    ],
)
def test_the_custom_op_says_why_it_cannot(product, arguments, message):
    with pytest.raises(
        ValueError,
        match=f'`implementation` must be "auto" or "stock" here: {message}.*'
        "Received: implementation='custom_op'",
    ):
        product(**arguments, implementation="custom_op")
