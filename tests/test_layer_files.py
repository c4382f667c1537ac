"""Masks of every sparse layer come back from files, configs, copies, conversion and export."""

import copy
import functools

import keras
import layer_twins
import pytest
from backends import each
from helpers import assert_same
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
    masks_of,
    model_of,
)

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.compute.mask_state import kernel_mask_of

backend = pytest.mark.backend
FILES = ["m.keras", "m.weights.h5"]
twins = functools.cache(layer_twins.twins)  # no test changes them


@each_kind
def test_configs_come_back(name):
    layer = KINDS[name].sparse(implementation="stock", name="a", dtype="mixed_float16")
    data = keras.saving.serialize_keras_object(layer)
    for again in (type(layer).from_config(layer.get_config()),
                  keras.saving.deserialize_keras_object(data)):  # fmt: skip
        assert type(again) is type(layer)
        assert again.get_config() == layer.get_config()
        assert again.implementation == "stock"
    assert data["registered_name"] == f"keras_sparse>Sparse{name.split()[0]}"


@each_kind
@each("file", FILES, on_jax=["m.keras"])
def test_masks_come_back_from_files(name, file, tmp_path):
    _, model = twins(name)
    (model.save if file == "m.keras" else model.save_weights)(tmp_path / file)
    if file == "m.keras":
        loaded = keras.models.load_model(tmp_path / file)
    else:
        loaded = model_of(KINDS[name].sparse(name="it"), name)
        loaded.load_weights(tmp_path / file)
    assert type(loaded.layers[1]) is type(model.layers[1])
    assert_same(masks_of(loaded.layers[1]), masks_of(model.layers[1]))
    assert_same(loaded.get_weights(), model.get_weights())


@each_kind
@each("file", FILES, on_jax=["m.weights.h5"])
def test_weight_files_fit_the_keras_layer_and_back(name, file, tmp_path):
    dense, sparse = twins(name)
    fresh = [model_of(make(name="it"), name) for make in (KINDS[name].dense, KINDS[name].sparse)]
    for one, other in ((sparse, fresh[0]), (dense, fresh[1])):
        (one.save if file == "m.keras" else one.save_weights)(tmp_path / file)
        other.load_weights(tmp_path / file)
        assert_same(other.get_weights(), one.get_weights())
    assert_same(masks_of(fresh[1].layers[1]), masks_of(sparse.layers[1]))


@each_kind
def test_tensorflow_checkpoints_carry_the_masks(name, tmp_path):
    import tensorflow as tf

    _, model = twins(name)
    other = model_of(KINDS[name].sparse(name="it"), name)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    assert_same(masks_of(other.layers[1]), masks_of(model.layers[1]))
    assert_same(other.get_weights(), model.get_weights())


@backend
@each_kind
def test_copies_have_the_masks_and_clones_have_fresh_ones(name):
    _, model = twins(name)
    copied, clone = copy.deepcopy(model), keras.models.clone_model(model)
    assert_same(masks_of(copied.layers[1]), masks_of(model.layers[1]))
    for kernel, original in zip(*(kernels_of(m.layers[1]) for m in (copied, model)), strict=True):
        assert kernel_mask_of(kernel) is not kernel_mask_of(original)
        assert kernel_mask_of(kernel).mask is not kernel_mask_of(original).mask
    assert type(clone.layers[1]) is type(model.layers[1])
    assert all(mask.all() for mask in masks_of(clone.layers[1]))
    close(copied(examples(name)), model(examples(name)))


@each("name", KINDS, on_jax=FULLY_TESTED)
def test_sparsify_and_densify_lead_there_and_back(name):
    dense, sparse = twins(name)
    converted = ks.sparsify(dense, verbose=False)
    assert [type(layer) for layer in layers_of(converted)] == [type(x) for x in layers_of(sparse)]
    assert_same(masks_of(converted.layers[1]), masks_of(sparse.layers[1]))
    again = ks.densify(converted)
    assert [type(layer) for layer in layers_of(again)] == [type(x) for x in layers_of(dense)]
    assert again.layers[1].get_config() == dense.layers[1].get_config()
    assert_same(again.get_weights(), dense.get_weights())
    for model in (converted, again):
        close(model(examples(name)), dense(examples(name)))


@each_kind
def test_an_exported_model_is_made_of_stock_operations(name, tmp_path):
    import tensorflow as tf

    _, model = twins(name, implementation="custom_op" if custom_ops else "auto")
    ks.export(model, tmp_path / "served", compare_dense=False, verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    graph = served.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(n for function in graph.library.function for n in function.node_def)]
    assert not any("KerasSparse" in node.op for node in nodes)
    close(served.serve(tf.constant(examples(name))), model(examples(name)))


@each_single_layer
def test_lora_and_quantization_ask_for_a_dense_layer(name):
    layer = built(KINDS[name].sparse(), name)
    with pytest.raises(NotImplementedError, match=r"Call `keras_sparse.densify\(model\)` first"):
        layer.enable_lora(2)
    with pytest.raises(NotImplementedError, match="cannot be quantized"):
        layer.quantize("int8")
    with pytest.raises(ValueError, match="`implementation` must be .auto., .*Received: .*'fast'"):
        KINDS[name].sparse(implementation="fast")
