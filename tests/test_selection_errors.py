"""Selections that mask nothing are errors, which name the argument and the weights there are."""

import keras
import numpy as np
import pytest
from helpers import assert_same, toy_model

import keras_sparse as ks
from keras_sparse.training.selection import Selection
from keras_sparse.training.selectors import selectors_of_config

pytestmark = pytest.mark.backend
layers = keras.layers


@pytest.mark.parametrize(
    ("selectors", "message"),
    [
        (
            {"dense": "haed"},
            "`dense` selects no trainable weight. Received: 'haed'; the weights are .*head/kernel",
        ),
        ({"sparse": layers.LSTM}, "`sparse` selects no trainable weight. Received: <class .*LSTM"),
        (
            {"dense": "*"},
            "no kernel of two or more axes is left. Received: sparse=.*dense=.*'\\*'.*head/kernel",
        ),
    ],
)
def test_what_selects_nothing(selectors, message):
    model = toy_model()
    with pytest.raises(ValueError, match=message):
        Selection(**selectors).select(model.trainable_variables, model)


@pytest.mark.parametrize("selector", [3, [None], int, [layers.Dense(2), 5]])
def test_what_is_no_selector(selector):
    with pytest.raises(
        TypeError,
        match="`dense` takes globs on a variable's path, layers, or layer types, one or a "
        "collection. "
        "Received: dense=",
    ):
        Selection(dense=selector)


@pytest.mark.parametrize("dense", ["*", keras.layers.Dense])
def test_a_model_in_which_nothing_is_left_to_mask_is_an_error(dense):
    model = toy_model()
    with pytest.raises(ValueError, match="There is nothing to mask"):
        Selection(dense=dense).select(model.trainable_variables, model)


def test_variables_of_which_nothing_is_left_to_mask_are_an_error_unless_types_wait_for_a_model():
    variables = toy_model().trainable_variables
    with pytest.raises(ValueError, match="There is nothing to mask"):
        Selection(dense="*").select(variables, None)
    biases = [variable for variable in variables if len(variable.shape) == 1]
    assert Selection(dense=keras.layers.Conv2D).select(biases, None) == []


@pytest.mark.parametrize("change", ["freeze", "quantize"])
def test_a_model_whose_kernels_are_all_frozen_or_quantized_is_an_error(change):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    if change == "freeze":
        model.layers[0].trainable = False
    else:
        model.layers[0].quantize("int8")
    before = model.get_weights()
    with pytest.raises(ValueError, match="must have trainable kernels. Unfreeze"):
        ks.prune(model, 0.5)
    with pytest.raises(ValueError, match="must have trainable kernels. Unfreeze"):
        ks.snip_masks(model, np.ones((2, 4)), np.ones((2, 3)), 0.5, loss="mse")
    assert_same(model.get_weights(), before)


def test_a_layer_type_of_a_file_must_be_known():
    with pytest.raises(ValueError, match="Unknown layer type.*Received: NoLayer"):
        selectors_of_config([{"layer_type": "NoLayer"}])


def test_a_model_without_trainable_weights_is_an_error():
    model = toy_model()
    model.trainable = False
    with pytest.raises(ValueError, match="must have trainable weights.*Received: model=toy"):
        Selection().of_trainable(model)
