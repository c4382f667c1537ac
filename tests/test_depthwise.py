"""Depthwise kernels stay dense, by the layer's type, its name, or its groups."""

import keras
import pytest
from helpers import compiled, fit, sgd, toy_data

import keras_sparse as ks
from keras_sparse.training.selection import Selection

layers = keras.layers


def depthwise(multiplier):
    inputs = keras.Input((8, 8, 2))
    x = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, name="taps")(inputs)
    return keras.Model(inputs, layers.Dense(4, name="head")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("by_hand", [True, False])
def test_depthwise_kernels_stay_dense(multiplier, by_hand):
    model = compiled(ks.SparseMomentum(sgd(), 0.5), depthwise(multiplier))
    if by_hand:
        model.optimizer.build(model)
    elif keras.backend.backend() != "tensorflow" and multiplier > 1:
        pytest.skip(
            "there Keras builds the optimizer before it calls a callback, and the guess is wrong: "
            "see the next test but one"
        )
    fit(model, ks.UpdateMasks(), data=toy_data((8, 8, 2)))
    assert list(model.optimizer.masks) == ["head/kernel"]


@pytest.mark.parametrize(("multiplier", "name"), [(1, "taps"), (2, "depthwise_taps")])
def test_without_the_model_depthwise_is_told_by_name_or_shape(multiplier, name):
    model = depthwise(multiplier)
    variables = [v for v in model.trainable_variables if multiplier == 1 or "taps" not in v.path]
    assert [variables[i].path for i in Selection().select(variables, None)] == ["head/kernel"]


@pytest.mark.parametrize(
    ("groups", "masked"),
    [
        (4, ["head/kernel"]),
        (2, ["taps/kernel", "head/kernel"]),
        (1, ["taps/kernel", "head/kernel"]),
    ],
)
def test_a_convolution_with_as_many_groups_as_channels_is_depthwise(groups, masked):
    inputs = keras.Input((8, 8, 4))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, groups=groups, name="taps")(inputs))
    model = compiled(
        ks.SparseMomentum(sgd(), 0.5), keras.Model(inputs, layers.Dense(4, name="head")(x))
    )
    model.optimizer.build(model)
    assert list(model.optimizer.masks) == masked


def test_two_groups_of_two_channels_are_depthwise_too():
    convolution = layers.Conv2D(4, 3, groups=2, name="taps")
    model = keras.Sequential([keras.Input((8, 8, 2)), convolution, layers.Dense(4, name="head")])
    variables = model.trainable_variables
    assert [variables[i].path.split("/")[-2] for i in Selection().select(variables, model)] == [
        "head"
    ]


def test_a_convolution_over_one_channel_gets_a_mask():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(8, 3, name="taps")])
    assert (
        Selection().select(model.trainable_variables, model)
        == Selection().select(model.trainable_variables, None)
        == [0]
    )


def test_a_guess_that_was_wrong_raises_in_fit():
    model = compiled(ks.SparseMomentum(sgd(), 0.5), depthwise(2))
    model.optimizer.build(
        model.trainable_variables
    )  # "taps", two channels per input channel: looks like any kernel
    with pytest.raises(
        ValueError,
        match=r"call `optimizer.build\(model\)` before `fit`. Received: \['taps/kernel'\]",
    ):
        fit(model, ks.UpdateMasks(), data=toy_data((8, 8, 2)))


def test_depthwise_kernels_within_a_model_in_the_model_stay_dense():
    part = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.DepthwiseConv2D(3)])
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="last")(part(inputs)))
    chosen = Selection().select(model.trainable_variables, model)
    assert [model.trainable_variables[i].path for i in chosen] == ["last/kernel"]
