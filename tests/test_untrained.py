"""Which weights get their initial scale: those that the initializer of their layer draws again."""

import keras
import numpy as np
import pytest
from helpers import apply_ones, array, assert_same, assert_sparse, compiled, fit, sgd
from keras import layers

import keras_sparse as ks
from keras_sparse.rules.initial_scale import plain, scale_factors
from keras_sparse.training import untrained

backend = pytest.mark.backend


def masked(model, **settings):
    """{path: (weight before, weight after, mask)} of the weights that an optimizer masks."""
    before = {variable.path: array(variable) for variable in model.trainable_variables}
    optimizer = ks.SparseMomentum(
        settings.pop("inner", None) or sgd(),
        settings.pop("density", 0.25),
        **{"seed": 0, **settings},
    )
    optimizer.build(model)
    pairs = zip(optimizer.masked_variables, optimizer.masks.values(), strict=True)
    return {
        variable.path: (before[variable.path], array(variable), mask) for variable, mask in pairs
    }


def assert_scaled_by(factor, model, rtol=1e-6):
    """Each active weight of the model's one kernel is ``factor(mask)`` times what it was."""
    ((before, after, mask),) = masked(model).values()
    np.testing.assert_allclose(after, before * mask * factor(mask), rtol=rtol)


def by_inputs(count, axes=0):
    """The factor of units with this many inputs, of which the active ones are over these axes."""
    return lambda mask: np.sqrt(count / np.maximum(mask.sum(axis=axes), 1))


def is_scaled(before, after, mask):
    """Has every active weight grown?  False if all are as they were; else all must have."""
    assert not after[~mask].any()
    ratio = after[mask].astype("float64") / before[mask]
    if (ratio == 1).all():
        return False
    assert ratio.min() >= 1
    assert np.median(ratio) > 1.2
    return True


def scaled(model, **settings):
    """{path of a masked weight, without the model: is it scaled}."""
    return {
        path.split("/", 1)[1]: is_scaled(*found)
        for path, found in masked(model, **settings).items()
    }


def sequential(shape, *body):
    return keras.Sequential([keras.Input(shape), *body])


@backend
@pytest.mark.parametrize(
    "initializer", ["he_normal", "he_uniform", "lecun_normal", "lecun_uniform"]
)
def test_a_fan_in_initializer_is_scaled_by_the_active_inputs_of_each_unit(initializer):
    model = sequential((32,), layers.Dense(64, kernel_initializer=initializer))
    assert_scaled_by(by_inputs(32), model)


@backend
@pytest.mark.parametrize("initializer", ["glorot_normal", "glorot_uniform"])
def test_a_glorot_initializer_is_scaled_by_the_active_inputs_and_outputs(initializer):
    def factor(mask):
        inputs, outputs = (mask.sum(axis=(0, 1, i), keepdims=True) for i in (2, 3))
        return np.sqrt((72 + 144) / np.maximum(inputs + outputs, 1))

    model = sequential((8, 8, 8), layers.Conv2D(16, 3, kernel_initializer=initializer))
    assert_scaled_by(factor, model)


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal"])
def test_variance_scaling_follows_its_mode(distribution):
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", distribution)
    model = sequential((32,), layers.Dense(64, kernel_initializer=initializer))
    assert_scaled_by(lambda mask: scale_factors(mask, plain(2), "fan_out"), model)


@backend
def test_an_orthogonal_weight_is_scaled_by_the_active_inputs():
    initializer = keras.initializers.Orthogonal(2.0)
    model = sequential((32,), layers.Dense(64, kernel_initializer=initializer))
    assert_scaled_by(lambda mask: scale_factors(mask, plain(2), "fan_in"), model, rtol=1e-5)


def test_every_layer_that_gets_masks_is_scaled():
    convolutions = [
        sequential((9, 9, 9, 8), layers.Conv3D(16, 2, groups=2), layers.Conv3DTranspose(8, 2)),
        sequential(
            (9, 9, 8),
            layers.Conv2DTranspose(32, 3),
            layers.SeparableConv2D(16, 3),
            layers.Dense(16),
        ),
        sequential(
            (9, 8),
            layers.Conv1D(16, 3),
            layers.Conv1DTranspose(32, 3),
            layers.SeparableConv1D(16, 3),
        ),
        sequential((2, 6, 6, 8), layers.ConvLSTM2D(8, 3)),
    ]
    recurrent = sequential(
        (5, 16),
        layers.Bidirectional(layers.LSTM(16, return_sequences=True)),
        layers.GRU(16, return_sequences=True),
        layers.TimeDistributed(layers.Dense(16)),
        layers.SimpleRNN(16),
    )
    inputs = keras.Input((5, 32))
    attended = layers.MultiHeadAttention(4, 8)(inputs, inputs)
    attention = keras.Model(
        inputs,
        layers.EinsumDense("abc,cd->abd", (None, 16), kernel_initializer="he_normal")(attended),
    )
    found = [scaled(model) for model in (*convolutions, recurrent, attention)]
    assert [len(kernels) for kernels in found] == [2, 3, 3, 2, 9, 5]
    assert all(all(kernels.values()) for kernels in found), found


def test_transposed_convolutions_count_the_inputs_of_each_output():
    layer = layers.Conv2DTranspose(8, 3, kernel_initializer="he_normal")
    assert_scaled_by(
        lambda mask: np.sqrt(144 / mask.sum(axis=(0, 1, 3), keepdims=True)),  # (..., out, in)
        sequential((4, 4, 16), layer),
    )


def test_attention_counts_over_the_axes_of_its_equation():
    layer = layers.EinsumDense("abc,cde->abde", (None, 2, 8), kernel_initializer="he_normal")
    assert_scaled_by(by_inputs(32), sequential((5, 32), layer))


@pytest.mark.parametrize(
    "initializer", ["random_normal", "random_uniform", "truncated_normal", "ones", "identity"]
)
def test_weights_whose_size_the_user_has_set_are_not_scaled(initializer):
    model = sequential((32,), layers.Dense(32, kernel_initializer=initializer))
    ((before, after, mask),) = masked(model).values()
    np.testing.assert_array_equal(after, before * mask)


def test_blocks_and_sparse_layers_are_scaled():
    model = ks.sparsify(
        sequential(
            (6, 6, 16),
            layers.Conv2D(32, 3, kernel_initializer="he_normal"),
            layers.Flatten(),
            layers.Dense(16),
        )
    )
    (kernel, *rest) = masked(model, block_shape=(8, 8)).values()
    before, after, mask = kernel
    np.testing.assert_allclose(after, before * mask * by_inputs(144, (0, 1, 2))(mask), rtol=1e-6)
    assert all(is_scaled(*found) for found in rest)
    assert_same([array(model.layers[0].mask)], [mask])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_policies_change_nothing(policy):
    model = sequential((32,), layers.Dense(64, dtype=policy, kernel_initializer="he_uniform"))
    ((before, after, mask),) = masked(model).values()
    expected = before.astype("float32") * mask * by_inputs(32)(mask)
    rtol = 0.01 if policy == "bfloat16" else 1e-6
    np.testing.assert_allclose(after.astype("float32"), expected, rtol=rtol)


# --- where outputs are normalized


def test_before_normalization_the_published_method_stays():
    """Normalization gives the signal its size; larger weights would only make smaller steps."""
    body = [
        layers.Conv2D(8, 3, activation="relu", name="through_pooling"),
        layers.MaxPooling2D(),
        layers.BatchNormalization(),
        layers.Conv2D(8, 3, activation="tanh", name="through_tanh"),
        layers.LayerNormalization(),
        layers.Flatten(),
        layers.Dense(16, name="normalized"),
        layers.GroupNormalization(4),
        layers.Dense(16, name="plain"),
    ]
    model = sequential((12, 12, 8), *body)
    expected = {"through_pooling": False, "through_tanh": True, "normalized": False, "plain": True}
    for network in (model, ks.sparsify(model)):
        assert {path.split("/")[0]: found for path, found in scaled(network).items()} == expected


def test_an_output_that_is_also_used_without_normalization_is_scaled():
    inputs = keras.Input((32,))
    hidden = layers.Dense(32, name="both")(inputs)
    outputs = layers.Add()([layers.BatchNormalization()(hidden), hidden])
    assert all(scaled(keras.Model(inputs, outputs)).values())


# --- who tells the optimizer of the model


@backend
@pytest.mark.parametrize("callbacks", [0, 1])
def test_fit_scales_a_model_without_input_shape(callbacks):
    body = [
        layers.Dense(16, kernel_initializer=keras.initializers.HeNormal(seed=1)),
        layers.Dense(4),
    ]
    model = compiled(ks.StaticSparsity(keras.optimizers.SGD(0.0), 0.25), keras.Sequential(body))
    fit(model, *[ks.UpdateMasks()] * callbacks, epochs=1)
    weight, mask = array(model.layers[0].kernel), next(iter(model.optimizer.masks.values()))
    drawn = array(keras.initializers.HeNormal(seed=1)((8, 16)))
    np.testing.assert_allclose(weight, drawn * mask * by_inputs(8)(mask), rtol=1e-6)
    assert_sparse(model, count=48)


@backend
def test_the_callback_scales_what_was_built_without_its_model():
    model = compiled(ks.StaticSparsity(keras.optimizers.SGD(0.0), 0.25))
    before = array(model.layers[0].kernel)
    model.optimizer.build(model.trainable_variables)
    fit(model, ks.UpdateMasks(), epochs=1)
    assert is_scaled(
        before, array(model.layers[0].kernel), next(iter(model.optimizer.masks.values()))
    )


@backend
def test_a_loop_that_scales_nothing_need_not_name_the_model():
    model = compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"))
    model.optimizer.build(model.trainable_variables)
    apply_ones(model.optimizer, model)  # without a warning
    assert model.optimizer.step() == 1


@backend
def test_a_loop_that_never_names_the_model_is_warned():
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    with pytest.warns(
        UserWarning,
        match=r"Call `optimizer.build\(model\)` before training, or pass `initial_scale=None`",
    ):
        apply_ones(model.optimizer, model)
    apply_ones(model.optimizer, model)  # once


def test_the_signal_of_a_deep_network_reaches_its_outputs():
    """Under a density of 0.1 it would shrink by sqrt(0.1) a layer: by 1,000 in six."""
    x = np.random.default_rng(0).normal(size=(64, 128)).astype("float32")
    sizes = {}
    for scale in ("auto", None):
        keras.utils.set_random_seed(0)
        model = sequential(
            (128,), *[layers.Dense(128, "relu", kernel_initializer="he_normal") for _ in range(6)]
        )
        dense = array(model(x)).std()
        masked(model, density=0.1, initial_scale=scale)
        sizes[scale] = array(model(x)).std() / dense
    assert 0.4 < sizes["auto"] < 2.5
    assert 0.0004 < sizes[None] < 0.0025


@pytest.mark.parametrize(
    ("mask", "expected"),
    [([[1, 1], [1, 1], [1, 1], [1, 1]], None), ([[1, 1], [1, 0], [1, 0], [1, 0]], [[1.0, 2.0]])],
)
def test_one_unit_that_lost_inputs_is_enough_to_scale(mask, expected):
    layer = keras.layers.Dense(2, kernel_initializer="he_normal")
    layer.build((None, 4))
    factors = untrained._factors(layer, layer.kernel, np.array(mask, bool))
    assert (factors if factors is None else factors.tolist()) == expected


def test_a_masked_draw_is_judged_by_its_active_weights_and_a_dense_one_by_all():
    initializer = keras.initializers.HeUniform(seed=0)
    drawn = array(initializer((16, 16)))
    mask = np.indices(drawn.shape).sum(axis=0) % 2 == 0
    values = {
        "masked": drawn * mask,
        "dense": drawn,
        "half of it": np.where(mask, drawn, drawn / 2),
    }
    follow = {name: untrained._may_be_drawn(initializer, v, mask) for name, v in values.items()}
    assert follow == {"masked": True, "dense": True, "half of it": False}
