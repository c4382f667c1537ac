"""Every sparse layer computes what Keras' does; a new layer needs only a row in layer_kinds.py."""

import inspect
import itertools

import keras
import numpy as np
import pytest
from helpers import array
from layer_kinds import VARIANTS
from layer_twins import (
    FULLY_TESTED,
    KINDS,
    built,
    close,
    custom_ops,
    each_kind,
    each_single_layer,
    examples,
    kernels_of,
    model_of,
    twins,
)

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.compute.mask_state import kernel_mask_of

backend = pytest.mark.backend
available = pytest.mark.skipif(not custom_ops, reason="no custom ops here")
PRODUCTS = [(name, "stock") for name in FULLY_TESTED] + [
    (name, "custom_op" if custom_ops else "stock") for name in (KINDS if custom_ops else VARIANTS)
]


def test_every_sparse_layer_has_a_row():
    public = {getattr(ks.layers, name) for name in ks.layers.__all__}
    layers = {c for c in public if inspect.isclass(c) and issubclass(c, keras.layers.Layer)}
    without = {ks.layers.SparseLayer, ks.layers.FusedBatchNormalization}
    rows = [layers_of(model_of(kind.sparse(), name)) for name, kind in KINDS.items()]
    assert layers - without == {type(layer) for found in rows for layer in found} & layers


# --- values and gradients


def outputs_and_gradients(model, inputs, variables):
    """Of the sum of squares: by the inputs, and by the variables."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
    return outputs, tape.gradient(loss, [inputs, *(variable.value for variable in variables)])


@pytest.mark.parametrize(("name", "implementation"), PRODUCTS)
def test_outputs_and_gradients_are_those_of_the_keras_layer(name, implementation):
    import tensorflow as tf

    dense, sparse = twins(name, implementation=implementation)
    masks = [kernel_mask_of(variable) for variable in sparse.trainable_variables]
    inputs = tf.constant(examples(name))
    expected, by_dense = outputs_and_gradients(dense, inputs, dense.trainable_variables)

    def run(x):
        return outputs_and_gradients(sparse, x, sparse.trainable_variables)

    anything = tf.TensorSpec((None, *KINDS[name].shape))
    graph = tf.function(run, input_signature=[anything])
    runs = ((False, run), (False, graph), (True, graph))
    for wanted, function in runs if implementation == "custom_op" else ((False, run), (True, run)):
        for kernel_mask in filter(None, masks):
            kernel_mask.want_dense_weight_gradient(wanted)
        outputs, gradients = function(inputs)
        close(outputs, expected)
        for mask, got, other in zip([None, *masks], gradients, by_dense, strict=True):
            close(got, array(other) * (True if mask is None or wanted else array(mask.mask)))


@backend
@pytest.mark.parametrize("name", KINDS)
def test_outputs_are_those_of_the_keras_layer(name):
    dense, sparse = twins(name, implementation="custom_op" if custom_ops else "stock")
    inputs = examples(name)
    close(sparse(inputs), dense(inputs))
    assert sparse.compute_output_shape(inputs.shape) == dense.compute_output_shape(inputs.shape)


@backend
@pytest.mark.parametrize(
    ("name", "policy"),
    list(zip(FULLY_TESTED, itertools.cycle(["mixed_bfloat16", "mixed_float16"]))),
)
def test_mixed_precision_runs_the_custom_op_where_it_is_worth_it(name, policy):
    dense, sparse = twins(name, dtype=policy)
    one, other = sparse(examples(name)), dense(examples(name))
    assert one.dtype == other.dtype
    close(keras.ops.cast(one, "float32"), keras.ops.cast(other, "float32"), 2e-2)
    said = [row["runs_as"] for row in ks.summary(sparse, "dict", batch=1024)["layers"]]
    assert ("custom op" in said) == custom_ops


@available
@each_kind
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_in_16_bits_the_custom_op_has_outputs_and_gradients_of_the_keras_layer(name, policy):
    import tensorflow as tf

    dense, sparse = twins(name, dtype=policy, implementation="custom_op")
    exact, _ = twins(name)
    exact.set_weights(dense.get_weights())
    masks = [kernel_mask_of(variable) for variable in sparse.trainable_variables]
    inputs = tf.constant(examples(name))
    of_keras, of_ours, of_exact = (
        [output, *gradients]
        for layer in (dense, sparse, exact)
        for output, gradients in [outputs_and_gradients(layer, inputs, layer.trainable_variables)]
    )
    # Some gradients are 0 but for rounding: no attention depends on the bias of the keys.
    least = max(np.abs(array(each)).max() for each in of_exact[1:]) / 20
    for expected, got, right, mask in zip(
        of_keras, of_ours, of_exact, [None, None, *masks], strict=True
    ):
        assert got.dtype == expected.dtype
        active = mask is None or array(mask.mask)
        expected, got = (array(tf.cast(each, "float32")) for each in (expected, got))
        assert mask is None or not got[~active].any()
        right = array(right) * active
        largest = max(np.abs(right).max(), least)
        of_keras_layer = np.abs(expected * active - right).max()
        assert np.abs(got - right).max() <= max(2e-2 * largest, of_keras_layer)


@available
@each_kind
def test_xla_compiles_the_layer(name):
    import tensorflow as tf

    dense, sparse = twins(name, implementation="custom_op")
    inputs = tf.constant(examples(name))
    compiled = tf.function(lambda x: sparse(x), jit_compile=True)
    close(compiled(inputs), dense(inputs))


@each_kind
def test_a_layer_that_is_called_twice_has_the_gradients_of_both_calls(name):
    import tensorflow as tf

    dense, sparse = twins(name)
    inputs = tf.constant(examples(name))
    found = [
        outputs_and_gradients(both_calls, inputs, model.trainable_variables)[1]
        for model in (dense, sparse)
        for both_calls in [lambda x, training, model=model: model(x) + model(2 * x)]
    ]
    masks = [kernel_mask_of(variable) for variable in sparse.trainable_variables]
    for by_dense, by_sparse, mask in zip(*found, [None, *masks], strict=True):
        close(by_sparse, array(by_dense) * (True if mask is None else array(mask.mask)))


# --- who computes


@available
@each_kind
def test_the_graph_runs_what_the_layer_and_the_summary_say(name):
    """The custom op never reads missing weights; the stock operation reads them, not 0 here."""
    import tensorflow as tf

    _, model = twins(name)
    layer, shape = model.layers[1], KINDS[name].shape
    expected = {batch: array(model(tf.ones((batch, *shape)))) for batch in (1, 8, 128)}
    felt = KINDS[name].felt
    for kernel in kernels_of(layer)[felt : felt + 1]:
        kernel.value.assign(tf.where(kernel_mask_of(kernel).mask.value, kernel.value, 1e3))
    anything, said = tf.TensorSpec((None, *shape)), []
    function = tf.function(lambda x: model(x), autograph=False, input_signature=[anything])
    for batch, outputs in expected.items():
        is_custom_op = np.allclose(function(tf.ones((batch, *shape))), outputs, 1e-3, 1e-3)
        rows = ks.summary(model, "dict", batch=batch)["layers"]
        said.append(rows[felt]["runs_as"])
        assert (said[-1] == "custom op") == is_custom_op
    assert said[0].startswith("stock: ")
    assert said[-1] == "custom op"


@available
@pytest.mark.parametrize("name", ["Conv2D dilated", "Dense", "EinsumDense", "SeparableConv1D"])
def test_both_branches_pass_on_values_of_the_same_dtype(name):
    """At any other place TensorFlow logs a failed type inference when the step is first run."""
    import tensorflow as tf

    _, model = twins(name)
    specs = [tf.TensorSpec((128, *KINDS[name].shape))]
    step = tf.function(
        lambda x: outputs_and_gradients(model, x, model.trainable_variables),
        autograph=False,
        input_signature=specs,
    )
    functions = step.get_concrete_function().graph.as_graph_def()
    library = {function.signature.name: function for function in functions.library.function}
    choices = [node for node in functions.node if node.op in ("If", "StatelessIf")]
    assert choices
    for node in choices:
        branches = [library[node.attr[f"{b}_branch"].func.name] for b in ("then", "else")]
        for one, other in zip(*map(passed_on, branches), strict=True):
            assert one == other or None in (one, other)


def passed_on(branch):
    """The dtype of each optional value that a branch returns; None for any other output."""
    nodes = {node.name: node for node in branch.node_def}
    names = [branch.ret[output.name].split(":")[0] for output in branch.signature.output_arg]
    made = [nodes.get(name) for name in names]
    return [
        tuple(node.attr["Toutput_types"].list.type)
        if node is not None and node.op == "OptionalFromValue"
        else None
        for node in made
    ]


@available
@each_single_layer
def test_the_custom_op_on_request_is_what_runs(name):
    layer = built(KINDS[name].sparse(implementation="custom_op"), name)
    assert layer.runs_as((1, *KINDS[name].shape)) == "custom op"
    assert layer.implementation_used == "custom_op"
    assert not layer.supports_jit


@backend
@each_single_layer
def test_the_stock_operation_on_request_is_what_runs(name):
    layer = built(KINDS[name].sparse(implementation="stock"), name)
    assert layer.runs_as() == 'stock: implementation="stock"'
    assert layer.supports_jit
