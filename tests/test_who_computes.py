"""The summary, the layer and the graph name the same implementation."""

import collections

import keras
import numpy as np
import pytest
from layer_kinds import KINDS
from oracle import needs_ops
from test_choice import OP, mask_of

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of

pytestmark = needs_ops

CONV = {"filters": 64, "kernel_size": 3, "padding": "same"}
GROUPED = {**CONV, "groups": 2}
LAYERS = {  # settings of the layer, shape of an input, what may run at some batch and density
    "3x3": (CONV, (4, 4, 64), True),
    "3x3 few channels": ({**CONV, "filters": 8}, (4, 4, 64), False),
    "3x3 tiny": ({**CONV, "filters": 16}, (2, 2, 16), False),
    "3x3 strided": ({**CONV, "strides": (2, 1), "padding": "valid"}, (9, 6, 64), True),
    "1x1": ({**CONV, "kernel_size": 1, "filters": 128}, (8, 8, 128), True),
    "dilated": ({**CONV, "dilation_rate": (1, 2)}, (8, 8, 64), True),
    "bfloat16": ({**CONV, "dtype": "mixed_bfloat16"}, (8, 8, 64), True),
    "float16": ({**CONV, "dtype": "mixed_float16"}, (8, 8, 64), True),
    "float64": ({**CONV, "dtype": "float64"}, (8, 8, 64), False),
    "dense": ({"units": 512}, (512,), True),
    "dense, more axes": ({"units": 256}, (4, 256), True),
    "dense bfloat16": ({"units": 512, "dtype": "mixed_bfloat16"}, (512,), True),
    "dense float64": ({"units": 512, "dtype": "float64"}, (512,), False),
}


def layer_of(settings, library, **more):
    is_dense = "units" in settings
    name = ("Sparse" if library is ks.layers else "") + ("Dense" if is_dense else "Conv2D")
    return getattr(library, name)(**settings, **more)


@pytest.mark.parametrize("name", LAYERS)
def test_the_summary_the_layer_and_the_graph_agree_on_who_computes(name, ran):
    import tensorflow as tf

    settings, shape, can_run = LAYERS[name]
    layer = layer_of(settings, ks.layers)
    model = keras.Sequential([keras.Input(shape), layer])
    any_batch = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec((None, *shape))])
    this_batch, found = tf.function(layer, autograph=False), {}
    for density, batches in ((0.05, (1, 8, 128)), (0.3, (8, 128)), (0.9, (1,))):
        layer.set_mask(mask_of(layer.mask.shape, density))
        for batch in batches:
            said = layer.runs_as((batch, *shape))
            (row,) = ks.summary(model, "dict", batch=batch)["layers"]
            assert row["runs_as"] == said
            for run in (any_batch, this_batch, layer):
                run(tf.ones((batch, *shape)))
                assert bool(ran) == (said == "custom op"), (density, batch, said)
                ran.clear()
            found[density, batch] = said
    assert ("custom op" in found.values()) == can_run == (found[0.05, 128] == "custom op")
    assert found[0.9, 1].startswith("stock: ")


@pytest.mark.parametrize("name", KINDS)
def test_each_kernel_of_each_kind_of_layer_is_computed_by_whom_the_summary_says(name, ran):
    import tensorflow as tf

    kind = KINDS[name]
    inputs = keras.Input(kind.shape)
    model = keras.Model(inputs, kind.call(kind.sparse(), inputs))
    kernels = [weight for weight in model.weights if kernel_mask_of(weight) is not None]
    spec = tf.TensorSpec((None, *kind.shape))
    any_batch, found = tf.function(lambda x: model(x), input_signature=[spec]), set()
    for density in (0.1, 0.5):
        for kernel in kernels:
            kernel_mask_of(kernel).assign(mask_of(kernel.shape, density))
        for batch in (1, 8, 128):
            said = [row["runs_as"] for row in ks.summary(model, "dict", batch=batch)["layers"]]
            expected = {who_is(k) for k, text in zip(kernels, said, strict=True) if text == OP}
            found.update(said)
            for run in (any_batch, model):
                run(tf.ones((batch, *kind.shape)))
                assert set(ran) == expected, (density, batch, said)
                ran.clear()
    assert OP in found
    assert len(found) > 1


def test_a_prediction_of_few_rows_runs_the_custom_op_where_a_training_does_not(ran):
    import tensorflow as tf

    layer = ks.layers.SparseDense(2048)
    model = keras.Sequential([keras.Input((1024,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layer.set_mask(mask_of((1024, 2048), 0.1))
    said = [ks.summary(model, "dict", batch=batch)["layers"][0]["runs_as"] for batch in (16, 17)]
    in_training = "stock: density 0.10 is above 0.051 for 16 output positions"
    assert said[0] == f"training: {in_training}; prediction: custom op"
    assert said[1] == "stock: density 0.10 is above 0.054 for 17 output positions"
    row = ks.summary(model, "dict")["layers"][0]
    assert row["runs_as"].startswith("training: custom op from batch")
    assert "; prediction: custom op up to batch 16 and from batch" in row["runs_as"]
    assert layer.runs_as((16, 1024), training=False) == OP
    spec = tf.TensorSpec((None, 1024))
    traced = tf.function(lambda x: model(x), input_signature=[spec])

    def in_a_tape(x):
        with tf.GradientTape():
            return model(x, training=False)

    def predict(x):
        return model.predict(x, batch_size=32, verbose=0)

    def fit(x):
        model.fit(x, x[:, :1], verbose=0)

    predictions = (model, predict, traced, lambda x: model(x, training=False))
    trainings = (in_a_tape, tf.function(in_a_tape), fit, lambda x: model(x, training=True))
    for runs, rows, expected in (
        (predictions, 16, True), (predictions, 17, False), (trainings, 16, False)
    ):  # fmt: skip
        for run in runs:
            run(tf.ones((rows, 1024)))
            assert bool(ran) == expected, (rows, run)
            ran.clear()
    layer.trainable = False
    model.compile("sgd", "mse")
    for run in (in_a_tape, tf.function(in_a_tape), fit, trainings[3]):
        run(tf.ones((16, 1024)))
        assert bool(ran), run
        ran.clear()
    assert ks.summary(model, "dict", batch=16)["layers"][0]["runs_as"] == OP


def who_is(kernel):
    """As ``ran`` names a kernel: its layer and its number of weights."""
    return kernel.path.split("/")[-2], int(np.prod(kernel.shape))


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        ({"sparse": True}, {}),
        ({"dtype": "float64"}, {"autocast": False}),
        ({"dtype": "int32"}, {}),
        ({"dtype": "bfloat16"}, {"autocast": False}),
        ({"dtype": "bfloat16"}, {"autocast": False, "dtype": "mixed_bfloat16"}),
    ],
    ids=str,
)
def test_inputs_of_other_types_than_the_kernel(inputs, settings, ran):
    """Integers and bfloat16 are promoted to the kernel's float32; float64 promotes the kernel."""
    import tensorflow as tf

    layer, example = ks.layers.SparseDense(512, **settings), tf.ones((128, 512))
    model = keras.Sequential([keras.Input((512,), **inputs), layer])
    layer.set_mask(mask_of((512, 512), 0.05))
    (row,) = ks.summary(model, "dict", batch=128)["layers"]
    if "sparse" in inputs:
        layer(tf.sparse.from_dense(example))
    else:
        layer(tf.cast(example, inputs["dtype"]))
    assert (row["runs_as"] == "custom op") == bool(ran)
    assert bool(ran) == (inputs.get("dtype") in ("bfloat16", "int32"))


def test_groups_are_computed_by_the_custom_op_in_trainings_alone(ran):
    import tensorflow as tf

    layer = layer_of(GROUPED, ks.layers)
    model = keras.Sequential([keras.Input((8, 8, 64)), layer])
    layer.set_mask(mask_of(layer.mask.shape, 0.05))
    (row,) = ks.summary(model, "dict", batch=128)["layers"]
    assert row["runs_as"].startswith("training: custom op; prediction: stock: ")
    example = tf.ones((128, 8, 8, 64))
    model(example)
    assert not ran
    with tf.GradientTape():
        model(example)
    assert ran


@pytest.mark.parametrize("name", ["grouped", "float64", "channels first", "dense"])
def test_where_stock_always_computes_the_graph_is_that_of_the_keras_layer(name):
    """Inference: operations that compute something, with those of functions that are called."""
    first = {**CONV, "data_format": "channels_first"}
    more = {"channels first": (first, (64, 8, 8), False), "grouped": (GROUPED, (8, 8, 64), False)}
    settings, shape, _ = {**LAYERS, **more}[name]
    more = {"implementation": "stock"} if name == "dense" else {}
    counts = []
    for layer in (layer_of(settings, keras.layers), layer_of(settings, ks.layers, **more)):
        layer.build((None, *shape))
        counts.append(computing_operations(layer, shape))
    assert counts[0] == counts[1]
    assert counts[0]["Conv2D"] + counts[0]["MatMul"] == 1


def computing_operations(layer, shape):
    """How many of each type a graph has, without those that pass a tensor on."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *shape))
    graph = tf.function(lambda x: layer(x), autograph=False).get_concrete_function(spec).graph
    definition = graph.as_graph_def()
    nodes = [node.op for node in definition.node]
    nodes += [node.op for function in definition.library.function for node in function.node_def]
    passing = {"Identity", "IdentityN", "ReadVariableOp", "StatefulPartitionedCall", "NoOp"}
    return collections.Counter(op for op in nodes if op not in {*passing, "PartitionedCall"})
