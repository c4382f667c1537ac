"""sparsify, densify and export of every kind of model: same outputs and state, nothing shared."""

import warnings

import keras
import numpy as np
import pytest
from backends import each
from helpers import array, arrays, assert_same
from model_kinds import KINDS, ROWS, L
from own_classes import Block, OwnStep, sequence_of

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.conversion.convertible import AROUND_SPARSE, SPARSE_TYPES
from keras_sparse.conversion.copy_model import copy_model

ON_TENSORFLOW = {
    "vocabularies",
    "two_optimizers",
}  # strings; on JAX Keras reads learning rates with a warning


def made(name):
    make, inputs = KINDS[name]
    if name in ON_TENSORFLOW and keras.backend.backend() != "tensorflow":
        pytest.skip("not on this backend")
    return make(), inputs


def outputs(model, inputs):
    """Arrays of what the model predicts, from a recurrent state of zeros."""
    for layer in layers_of(model):
        if getattr(layer, "stateful", False):
            layer.reset_state()
    inputs = inputs if isinstance(inputs, dict) else keras.ops.convert_to_tensor(inputs)
    predicted = model(inputs, training=False)
    return [array(keras.ops.cast(value, "float32")) for value in keras.tree.flatten(predicted)]


def sparsified(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ks.sparsify(model)


def assert_twins(new, old, inputs):
    """The same outputs, names, classes and trainable weights, without an object in common."""
    for one, other in zip(outputs(new, inputs), outputs(old, inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert type(new) is type(old)
    for what in ("weights", "trainable_variables"):
        assert [v.path for v in getattr(new, what)] == [v.path for v in getattr(old, what)]
    assert_same(new.get_weights(), old.get_weights())
    new_layers, old_layers = layers_of(new), layers_of(old)
    for one, other in zip(new_layers, old_layers, strict=True):
        assert (one.name, one.path, one.trainable) == (other.name, other.path, other.trainable)
        assert one.dtype_policy.name == other.dtype_policy.name
    assert set(map(id, new_layers)).isdisjoint(map(id, old_layers))
    assert set(map(id, new.variables)).isdisjoint(map(id, old.variables))


@each("name", KINDS, on_jax=["branches_and_shared_layers", "subclassed", "adapted", "own_cells"])
def test_converted_models_are_twins_of_the_model_given(name):
    model, inputs = made(name)
    outputs(model, inputs)
    sparse = sparsified(model)
    assert_twins(sparse, model, inputs)
    assert any(isinstance(layer, ks.layers.SparseLayer) for layer in layers_of(sparse))
    assert not any(type(layer) in {**SPARSE_TYPES, **AROUND_SPARSE} for layer in layers_of(sparse))
    dense = ks.densify(sparse)
    assert_twins(dense, sparse, inputs)
    assert [type(layer) for layer in layers_of(dense)] == [
        type(layer) for layer in layers_of(model)
    ]


@pytest.mark.backend
@pytest.mark.parametrize("name", ["branches_and_shared_layers", "subclassed", "adapted"])
def test_a_change_of_the_copy_leaves_the_original(name):
    model, inputs = made(name)
    before, predicted = arrays(model.variables), outputs(model, inputs)
    copied, _ = copy_model(model)
    for variable in copied.weights:
        variable.assign(array(variable) + 1)
    assert_same(arrays(model.variables), before)
    assert_same(outputs(model, inputs), predicted)
    assert not np.allclose(outputs(copied, inputs)[0], predicted[0])


@pytest.mark.backend
@pytest.mark.parametrize(
    "name",
    [
        "branches_and_shared_layers",
        "subclassed",
        "time_distributed",
        "spectral_normalization",
        "own_cells",
    ],
)
def test_weight_files_load_both_ways(name, tmp_path):
    model, inputs = made(name)
    outputs(model, inputs)
    sparse = sparsified(model)
    for one, other in ((model, sparse), (sparse, model)):
        one.set_weights([array(variable) + 0.1 for variable in one.weights])
        one.save_weights(tmp_path / "m.weights.h5")
        other.load_weights(tmp_path / "m.weights.h5")
        assert_same(other.get_weights(), one.get_weights())


def test_functional_subclasses_keep_their_train_step_and_attributes():
    model, _ = made("functional_subclass")
    sparse = sparsified(model)
    assert isinstance(sparse, OwnStep)
    assert sparse.extra == {"settings": [1, 2]}
    assert sparse.extra is not model.extra
    sparse.compile("sgd", "mse")
    assert sparse.fit(ROWS, ROWS[:, :3], verbose=0).history["own"] == [7.0]
    assert float(model.tracker.result()) == 0


@pytest.mark.backend
def test_closures_partials_and_references_lead_to_the_copy():
    model = sequence_of(Block(8))
    model(ROWS)
    block = sparsified(model).layers[0]
    assert block.call_first.__closure__[0].cell_contents is block
    assert block.partial.func.__self__ is block
    assert block.reference() is block.first
    assert block.lock is model.layers[0].lock
    assert block.constant is not model.layers[0].constant


@pytest.mark.backend
def test_attributes_may_begin_like_those_that_tensorflow_adds():
    class Encoder(L.Layer):  # KerasHub's TransformerEncoder has such an attribute
        def __init__(self):
            super().__init__()
            self._self_attention_layer = L.Dense(8)

        def call(self, x):
            return self._self_attention_layer(x)

    model = sequence_of(Encoder())
    model(ROWS)
    sparse = sparsified(model)
    assert_twins(sparse, model, ROWS)
    assert_twins(ks.densify(sparse), model, ROWS)


def test_variables_and_functions_of_tensorflow_are_copied():
    import tensorflow as tf

    class Raw(L.Layer):
        def __init__(self):
            super().__init__()
            self.raw, self.module = tf.Variable(2.0), tf.Module()
            self.module.inside = [tf.Variable(3.0)]
            self.function = tf.function(self.scaled)

        def scaled(self, x):
            return x * self.raw * self.module.inside[0]

        def call(self, x):
            return self.function(x)

    model = sequence_of(Raw(), L.Dense(4))
    copied = sparsified(model)
    assert_twins(copied, model, ROWS)
    copied.layers[0].raw.assign(0.0)
    copied.layers[0].module.inside[0].assign(0.0)
    assert (float(model.layers[0].raw), float(model.layers[0].module.inside[0])) == (2, 3)
    assert not np.allclose(outputs(copied, ROWS)[0], outputs(model, ROWS)[0])


@pytest.mark.backend
def test_the_copy_is_not_compiled_and_the_original_is():
    model, _ = made("trained")
    copied, _ = copy_model(model)
    assert (model.compiled, copied.compiled) == (True, False)
    assert getattr(copied, "optimizer", None) is None
    assert len(copied.metrics) == 0
    copied.compile("sgd", "mse")
    before = model.get_weights()
    copied.fit(ROWS, ROWS[:, :2], verbose=0)
    assert_same(model.get_weights(), before)


@pytest.mark.backend
def test_optimizers_in_attributes_are_made_anew():
    model, _ = made("two_optimizers")
    copied, _ = copy_model(model)
    assert not copied.optimizer_of_one.built
    copied.optimizer_of_one.build(copied.one.trainable_variables)
    assert model.optimizer_of_one.built


@pytest.mark.backend
def test_layers_that_other_models_use_too_are_not_copied_with_them():
    inputs = keras.Input((8,))
    middle = L.Dense(6, name="shared")(inputs)
    keras.Model(inputs, L.Dense(9, name="elsewhere")(middle))
    model = keras.Model(inputs, L.Dense(2, name="here")(middle))
    copied, copies = copy_model(model)
    assert {layer.name for layer in copies.values() if isinstance(layer, L.Dense)} == {
        "shared",
        "here",
    }
    assert copied.get_layer("shared").output is copied.get_layer("here").input
    assert copied.get_config() == model.get_config()


@pytest.mark.backend
def test_a_copy_can_be_saved_and_loaded(tmp_path):
    model, inputs = made("branches_and_shared_layers")
    sparsified(model).save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for one, other in zip(outputs(loaded, inputs), outputs(model, inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.backend
def test_keras_still_refuses_lambdas_in_files(tmp_path):
    model, _ = made("with_lambda")
    sparsified(model).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="Lambda"):
        keras.models.load_model(tmp_path / "m.keras")


def test_a_saved_model_in_a_model_is_refused_by_name(tmp_path):
    sequence_of(L.Dense(4)).export(str(tmp_path / "served"), verbose=False)
    model = sequence_of(L.TFSMLayer(str(tmp_path / "served"), name="served"), L.Dense(2))
    with pytest.raises(ValueError, match="Convert the models around it.*'served'"):
        ks.sparsify(model)


@pytest.mark.backend
def test_weights_that_are_held_in_a_way_of_their_own_are_refused():
    elsewhere = [keras.Variable(np.ones(3), name="elsewhere")]

    class Odd(keras.Sequential):
        @property
        def weights(self):
            return [*super().weights, *elsewhere]

    with pytest.raises(ValueError, match="weight files fit both.*elsewhere"):
        copy_model(Odd([keras.Input((8,)), L.Dense(4)]))


def test_masks_of_wrapped_layers_survive_training():
    model, inputs = made("spectral_normalization")
    sparse = sparsified(model)
    sparse.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.25), "mse")
    sparse.fit(inputs, inputs[:, :2], epochs=3, verbose=0, callbacks=[ks.UpdateMasks()])
    kernel, mask = sparse.layers[0].layer.kernel, sparse.layers[0].layer.mask
    assert not array(kernel)[~array(mask)].any()
    assert sparse.optimizer.total_density() == pytest.approx(0.25)


@pytest.mark.backend
def test_what_was_frozen_trains_in_the_copy_when_it_is_unfrozen():
    model = sequence_of(L.Dense(4))
    model.trainable = False
    sparse = sparsified(model)
    assert not sparse.trainable_weights
    sparse.trainable = True
    sparse.compile("sgd", "mse")
    sparse.fit(ROWS, ROWS[:, :4] + 1, verbose=0)
    for before, after in zip(model.get_weights(), sparse.get_weights(), strict=True):
        assert np.abs(before - after).max() > 0


def test_variables_of_a_strategy_are_copied_under_it():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = sequence_of(L.Dense(4), L.BatchNormalization())
    sparse = sparsified(model)
    assert sparse.distribute_strategy is model.distribute_strategy
    assert all(
        type(v.value) is type(w.value) for v, w in zip(sparse.weights, model.weights, strict=True)
    )
    assert_same(sparse.get_weights(), model.get_weights())
    sparse.compile("sgd", "mse")
    sparse.fit(ROWS, ROWS[:, :4], verbose=0)


@pytest.mark.parametrize("name", ["subclassed", "vocabularies", "with_lambda"])
def test_every_kind_is_exported_as_stock_operations(name, tmp_path):
    import tensorflow as tf

    model, inputs = made(name)
    outputs(model, inputs)
    sparse = sparsified(model)
    ks.export(sparse, tmp_path / "served", compare_dense=False, verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    graph = served.signatures["serving_default"].graph.as_graph_def()
    operations = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    assert not any("KerasSparse" in operation for operation in operations)
    np.testing.assert_allclose(
        array(served.serve(tf.constant(inputs))), outputs(sparse, inputs)[0], rtol=1e-4, atol=1e-5
    )
    assert any(isinstance(layer, ks.layers.SparseLayer) for layer in layers_of(sparse))
