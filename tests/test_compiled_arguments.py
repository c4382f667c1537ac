"""The compiled ops refuse arguments that Python did not see."""

import numpy as np
import pytest
from oracle import needs_ops

from keras_sparse.compute.cpu_kernels import DTYPES
from keras_sparse.compute.gradients import custom_ops

F, B = "float32", "bool"
CALLS = {  # op: (shape and dtype of each argument), attributes
    "conv2d": [((2, 6, 7, 4), F), ((3, 3, 4, 5), F), ((3, 3, 4, 5), B), ((), B)],
    "conv2d_input_gradient": [
        ((2, 6, 7, 4), F),
        ((3, 3, 4, 5), F),
        ((3, 3, 4, 5), B),
        ((2, 4, 5, 5), F),
        ((), B),
    ],
    "conv2d_kernel_gradient": [((2, 6, 7, 4), F), ((3, 3, 4, 5), B), ((2, 4, 5, 5), F)],
    "mat_mul": [((2, 4), F), ((4, 5), F), ((4, 5), B), ((), B)],
    "mat_mul_input_gradient": [((2, 4), F), ((4, 5), F), ((4, 5), B), ((2, 5), F), ((), B)],
    "mat_mul_kernel_gradient": [((2, 4), F), ((4, 5), B), ((2, 5), F)],
}
BAD = [
    (
        "conv2d",
        {0: (6, 7, 4)},
        {},
        (
            "`inputs` must have the shape .batch, height, width, channels.. "
            "Received: inputs.shape=.6,7,4."
        ),
    ),
    ("conv2d", {1: (3, 4, 5), 2: (3, 4, 5)}, {}, "`kernel` must have the shape .height, width"),
    (
        "conv2d",
        {1: (3, 3, 2, 5), 2: (3, 3, 2, 5)},
        {},
        "`kernel` must have the inputs' 4 channels in its third axis.*.3,3,2,5.",
    ),
    (
        "conv2d",
        {2: (3, 3, 5, 4)},
        {},
        "`mask` must have the shape of `kernel`, .3,3,4,5.. Received: mask.shape=.3,3,5,4.",
    ),
    ("conv2d", {2: ()}, {}, "`mask` must have the shape of `kernel`"),
    (
        "conv2d",
        {3: (1,)},
        {},
        "`dense_weight_gradient` must be a scalar. Received: dense_weight_gradient.shape=.1.",
    ),
    (
        "conv2d",
        {0: (2, 2, 7, 4)},
        {},
        "`kernel` must fit into the inputs, .2,2,7,4., for padding VALID",
    ),
    ("conv2d", {0: (2, 0, 7, 4)}, {}, "`kernel` must fit into the inputs"),
    (
        "conv2d",
        {1: (0, 3, 4, 5), 2: (0, 3, 4, 5)},
        {},
        "`kernel` must be at least 1 high and 1 wide",
    ),
    (
        "conv2d",
        {0: (2**31, 6, 7, 0), 1: (3, 3, 0, 5), 2: (3, 3, 0, 5)},
        {},
        "`inputs` must have sizes below 2.31",
    ),
    (
        "conv2d",
        {0: (2**30, 2**20, 1, 0), 1: (1, 1, 0, 2**30), 2: (1, 1, 0, 2**30)},
        {},
        "too large|overflow|too many|must be",
    ),
    (
        "conv2d",
        {},
        {"strides": [0, 1]},
        "`strides` must be two numbers in .1, 2.31.. Received: strides=.0, 1.",
    ),
    ("conv2d", {}, {"strides": [1, 1, 1]}, "`strides` must be two numbers"),
    ("conv2d", {}, {"strides": [1, 2**40]}, "`strides` must be two numbers"),
    (
        "conv2d",
        {},
        {"strides": [1, 1025]},
        (
            "`strides` must be at most 1024. Pass implementation=.stock.. "
            "Received: inputs.shape=.2,6,7,4.*strides=.1,1025."
        ),
    ),
    ("conv2d", {}, {"padding": "FULL"}, "padding.*SAME.*VALID|FULL"),
    (
        "conv2d",
        {},
        {"dilations": [1, 0]},
        "`dilations` must be two numbers in .1, 2.31.. Received: dilations=.1, 0.",
    ),
    ("conv2d", {}, {"dilations": [3, 1]}, "`kernel` must fit into the inputs, .2,6,7,4."),
    (
        "conv2d",
        {},
        {"dilations": [512, 1], "padding": "SAME"},
        "`kernel` must span at most 1024 pixels each way.*Received: .*dilations=.512,1.",
    ),
    ("conv2d", {}, {"structure": "rows"}, "structure.*rows"),
    (
        "conv2d",
        {},
        {"structure": "blocks"},
        "`block` must be 0, or .* Received: structure=blocks, block=0",
    ),
    ("mat_mul", {}, {"structure": "channel_pairs", "block": 2}, "Received: .*block=2"),
    (
        "conv2d_input_gradient",
        {3: (2, 5, 5, 5)},
        {},
        "`output_gradient` must have the shape of the outputs, .2,4,5,5.. Received: .*.2,5,5,5.",
    ),
    ("conv2d_input_gradient", {2: (3, 3, 4, 4)}, {}, "`mask` must"),
    ("conv2d_input_gradient", {4: (2,)}, {}, "`dense_weight_gradient` must be a scalar"),
    (
        "conv2d_kernel_gradient",
        {1: (3, 3, 3, 5)},
        {},
        "`mask` must have the inputs' 4 channels in its third axis",
    ),
    ("conv2d_kernel_gradient", {2: (2, 4, 5, 4)}, {}, "`output_gradient` must"),
    ("mat_mul", {0: (4,)}, {}, "`inputs` must have the shape ...., rows, inputs."),
    (
        "mat_mul",
        {0: (2**16, 2**16, 0), 1: (0, 5), 2: (0, 5)},
        {},
        "`inputs` must have less than 2.31 rows and channels. Received: .*65536,65536,0.",
    ),
    ("mat_mul", {0: (2, 3)}, {}, "`kernel` must have the inputs' 3 channels in its first axis"),
    ("mat_mul", {2: (5, 4)}, {}, "`mask` must have the shape of `kernel`"),
    (
        "mat_mul_input_gradient",
        {3: (3, 5)},
        {},
        "`output_gradient` must have the shape of the outputs, .2,5.",
    ),
    ("mat_mul_kernel_gradient", {2: (2, 4)}, {}, "`output_gradient` must"),
    ("mat_mul_kernel_gradient", {1: (4,)}, {}, "`mask` must have the shape .inputs, outputs."),
]


def call(op, shapes, attributes):
    import tensorflow as tf

    arguments = [
        tf.zeros(shapes.get(i, shape), dtype) for i, (shape, dtype) in enumerate(CALLS[op])
    ]
    attributes = {**({"strides": [1, 1], "padding": "VALID"} if "conv" in op else {}), **attributes}
    return getattr(custom_ops(), f"keras_sparse_{op}")(*arguments, **attributes)


@needs_ops
@pytest.mark.parametrize("op", CALLS)
def test_the_calls_that_the_bad_ones_differ_from_are_right(op):
    call(op, {}, {})


@needs_ops
@pytest.mark.parametrize(("op", "shapes", "attributes", "message"), BAD)
def test_the_compiled_op_refuses_what_python_did_not_see(op, shapes, attributes, message):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(op, shapes, attributes)


@needs_ops
@pytest.mark.parametrize(("op", "shapes", "attributes", "message"), BAD)
def test_graphs_refuse_it_when_they_are_traced(op, shapes, attributes, message):
    import tensorflow as tf

    too_large = ((2**31, 6, 7, 0), (2**30, 2**20, 1, 0), (2**16, 2**16, 0))
    if shapes.get(0) in too_large or shapes.get(1) == (0, 3, 4, 5):
        pytest.skip("a shape function does not count elements")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        tf.function(call)(op, shapes, attributes)


@needs_ops
@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [case for case in BAD if case[1] and case[0].startswith(("conv2d_", "mat_mul"))],
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_shapes_that_only_the_run_knows(op, shapes, attributes, message, jit_compile):
    import tensorflow as tf

    signature = [tf.TensorSpec(None, dtype) for _, dtype in CALLS[op]]
    options = {"strides": [1, 1], "padding": "VALID"} if "conv" in op else {}
    function = tf.function(
        lambda *arguments: getattr(custom_ops(), f"keras_sparse_{op}")(*arguments, **options),
        signature,
        jit_compile=jit_compile,
    )
    arguments = [
        tf.zeros(shapes.get(i, shape), dtype) for i, (shape, dtype) in enumerate(CALLS[op])
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(*arguments)


# --- attributes of the compiled op


@needs_ops
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("dilations", [[2, 1], [1, 3], [2, 2]])
def test_the_compiled_op_dilates(padding, dilations):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inputs, kernel = (
        rng.standard_normal(shape, dtype="float32") for shape in ((2, 9, 10, 4), (3, 3, 4, 5))
    )
    mask = rng.random(kernel.shape) < 0.5
    options = {"strides": [1, 1], "padding": padding, "dilations": dilations}

    def outputs_and_gradients(product):
        inputs_, kernel_ = tf.constant(inputs), tf.constant(kernel)
        with tf.GradientTape() as tape:
            tape.watch((inputs_, kernel_))
            outputs = product(inputs_, kernel_)
            loss = tf.reduce_sum(outputs**2)
        return outputs, *tape.gradient(loss, (inputs_, kernel_))

    def compiled(inputs, kernel):
        return custom_ops().keras_sparse_conv2d(inputs, kernel, mask, True, **options)

    def stock(inputs, kernel):
        masked = kernel + tf.stop_gradient(kernel * mask - kernel)  # its gradient is dense
        return tf.nn.convolution(inputs, masked, padding=padding, dilations=dilations)

    for found, expected in zip(
        outputs_and_gradients(compiled), outputs_and_gradients(stock), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@needs_ops
@pytest.mark.parametrize("block", [1, 16])
def test_a_block_alone_is_what_graphs_have_that_are_older_than_structure(block):
    call("conv2d", {}, {"block": block})


@pytest.mark.parametrize(
    "op", ["KerasSparse>Conv2D", "KerasSparse>MatMul", "KerasSparse>BatchNorm"]
)
def test_the_ops_have_the_types_that_python_knows(op):
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    custom_ops()
    (attribute,) = (one for one in op_def_registry.get(op).attr if one.name == "T")
    types = [tf.as_dtype(number).name for number in attribute.allowed_values.list.type]
    assert types == list(DTYPES)
