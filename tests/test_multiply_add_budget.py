"""``budget="multiply_adds"``: trainings by every method, files, and costs that are unknown."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import assert_same, sgd
from steps_by_hand import go_on, training_by_hand

import keras_sparse as ks

layers = keras.layers
X = np.random.default_rng(0).normal(size=(32, 8, 8, 2)).astype("float32")
Y = np.random.default_rng(1).integers(4, size=32)
COSTS = [64, 16, 1]  # 8x8 output positions, 4x4, and one
DENSE = 144 * 64 + 576 * 16 + 512  # 3x3x2x8, 3x3x8x8 and 128x4 weights
LOSS = "sparse_categorical_crossentropy"


def network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def spent(optimizer):
    return sum(int(m.sum()) * c for m, c in zip(optimizer.masks.values(), COSTS, strict=True))


class WithUnusedKernel(layers.Layer):
    def build(self, shape):
        self.unused = layers.Dense(4, name="unused")
        self.unused.build(shape)

    def call(self, x):
        return x


def assert_costs_all_that_it_may(optimizer, group=1):
    """No weight, or block of this many, could be added to the masks."""
    assert [one.cost for one in optimizer.masked_weights] == COSTS
    masks = optimizer.masks.values()
    room = [cost for cost, mask in zip(COSTS, masks, strict=True) if not mask.all()]
    assert 0 <= 0.07 * DENSE - spent(optimizer) < group * min(room)


def trained(optimizer, epochs=4, callbacks=()):
    model = network()
    model.compile(optimizer, LOSS)
    ours = ks.UpdateMasks("epoch")
    model.fit(X, Y, 8, epochs=epochs, verbose=0, callbacks=[ours, *callbacks])
    return model


ASKED = {"density": 0.07, "budget": "multiply_adds"}
METHODS = {
    "SparseMomentum": lambda: ks.SparseMomentum(sgd(), **ASKED),
    "ERK": lambda: ks.SparseMomentum(sgd(), **ASKED, distribution="erk"),
    "blocks": lambda: ks.SparseMomentum(sgd(), **ASKED, structure=ks.Blocks(2, 2, per_tap=True)),
    "RigL": lambda: ks.RigL("adam", **ASKED),
    "SET": lambda: ks.SET("sgd", **ASKED),
    "static": lambda: ks.StaticSparsity("sgd", **ASKED),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_training_costs_what_its_density_allows_and_hardly_less(method):
    optimizer, group = METHODS[method](), 4 if method == "blocks" else 1
    for _ in training_by_hand(optimizer, network()):
        assert_costs_all_that_it_may(optimizer, group)
    assert len({mask.sum() for mask in optimizer.masks.values()}) > 1


def test_masks_that_fit_makes_by_a_batch_cost_it_too():
    optimizer = ks.StaticSparsity("sgd", **ASKED, initial_masks="snip")
    trained(optimizer, epochs=1)
    assert_costs_all_that_it_may(optimizer)


@pytest.mark.parametrize("method", [ks.GraNet, ks.GradualPruning, ks.ACDC])
def test_a_density_schedule_ends_at_its_share_of_the_multiply_adds(method):
    optimizer = method("sgd", **ASKED)
    first, *_ = [spent(optimizer) for _ in training_by_hand(optimizer, network(), every=1)]
    assert first > 0.3 * DENSE
    assert_costs_all_that_it_may(optimizer)


def test_weights_move_to_cheap_layers_at_the_same_cost():
    """The number of active weights changes, and the share of multiply-adds does not."""
    optimizer = ks.SparseMomentum(sgd(), **ASKED)
    check = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: assert_costs_all_that_it_may(optimizer)
    )
    model = trained(optimizer, callbacks=[check])
    total = ks.summary(model, "dict")["total"]
    assert total["budget"] == "multiply_adds"
    assert total["multiply_adds_density"] == spent(optimizer) / DENSE == optimizer.budget_density()
    assert total["density"] == optimizer.total_density() != pytest.approx(0.07, abs=0.005)


def test_the_table_of_summary_names_the_budget_and_both_densities(capsys):
    model = network()
    model.compile(ks.StaticSparsity("sgd", **ASKED), LOSS)
    model.optimizer.build(model)
    ks.summary(model)
    text = " ".join(capsys.readouterr().out.split())
    assert "0.0700 of their multiply-adds (the budget is in multiply-adds)" in text
    assert "budget" not in ks.summary(network(), "dict")["total"]


def test_equal_costs_are_the_weights_budget_to_the_bit():
    """All layers of this network cost 1 a weight, and 5 % of them are a whole number."""

    def masks(budget):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((20,)), layers.Dense(40), layers.Dense(20)])
        model.compile(ks.SparseMomentum(sgd(), 0.05, budget=budget, seed=0), "mse")
        model.optimizer.build(model)
        return [list(model.optimizer.masks.values()), go_on(model)]

    (first, later), (first_by_costs, later_by_costs) = masks("weights"), masks("multiply_adds")
    assert_same(first, first_by_costs)
    assert_same(later, later_by_costs)
    assert any((one != other).any() for one, other in zip(first, later[-2:], strict=True))


# --- files


def test_a_saved_training_goes_on_with_its_masks_and_its_budget(tmp_path):
    model = trained(ks.SparseMomentum(sgd(), **ASKED, seed=0), epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.budget == "multiply_adds"
    before = list(loaded.optimizer.masks.values())
    assert_same(before, list(model.optimizer.masks.values()))
    assert_same(go_on(loaded), go_on(model))
    after = list(loaded.optimizer.masks.values())
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    assert 0 <= 0.07 * DENSE - spent(loaded.optimizer) < 1


def test_a_model_saved_before_its_training_gets_its_masks_in_fit(tmp_path):
    model = network()
    model.compile(ks.StaticSparsity("sgd", **ASKED), LOSS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(X, Y, 8, verbose=0)
    assert 0 <= 0.07 * DENSE - spent(loaded.optimizer) < 1


def test_the_config_of_an_optimizer_has_the_budget():
    optimizer = ks.SparseMomentum(sgd(), 0.1, budget="multiply_adds")
    assert "of multiply_adds" in repr(optimizer)
    config = optimizer.get_config()
    assert ks.SparseMomentum.from_config(config).budget == "multiply_adds"
    del config["budget"]  # as older files
    assert ks.SparseMomentum.from_config(config).budget == "weights"


def test_weights_of_an_earlier_epoch_bring_masks_that_cost_no_more():
    """More weights may have been active then, at the same cost."""
    model = network()
    model.compile(ks.SparseMomentum(sgd(), **ASKED), LOSS)
    model.optimizer.build(model)
    go_on(model)
    early, masks = model.get_weights(), list(model.optimizer.masks.values())
    go_on(model)
    assert any((m != e).any() for m, e in zip(model.optimizer.masks.values(), masks, strict=True))
    model.set_weights(early)
    model.optimizer.follow_weights()
    for one, other in zip(model.optimizer.masks.values(), masks, strict=True):
        np.testing.assert_array_equal(one, other)


# --- where the model comes from


def test_a_custom_loop_must_build_the_optimizer_with_the_model():
    model, optimizer = network(), ks.SparseMomentum(sgd(), **ASKED)
    variables = model.trainable_variables
    optimizer.build(variables)
    zeros = [keras.ops.zeros_like(v) for v in variables]
    named = (
        rf"needs the model.*optimizer.build\(model\).*Received: '{variables[0].path}' of a model"
    )
    with pytest.raises(ValueError, match=named):
        optimizer.apply(zeros, variables)
    optimizer.build(model)
    optimizer.start_training(10)
    optimizer.apply(zeros, variables)
    optimizer.update_masks()
    assert 0 <= 0.07 * DENSE - spent(optimizer) < 1


def test_the_given_model_says_the_costs_where_fit_has_another():
    model, optimizer = network(), ks.SparseMomentum(sgd(), **ASKED)
    optimizer.build(model)
    optimizer.start_training(10)
    optimizer.attach(keras.Sequential([keras.Input((8, 8, 2)), layers.Lambda(lambda x: x), model]))
    optimizer.update_masks()
    assert 0 <= 0.07 * DENSE - spent(optimizer) < 1


def test_under_a_strategy_a_training_costs_the_same():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = network()
        model.compile(ks.SparseMomentum(sgd(), **ASKED), LOSS)
    callback = ks.UpdateMasks("epoch", check_agreement=True)
    model.fit(X, Y, 8, epochs=2, verbose=0, callbacks=[callback])
    assert 0 <= 0.07 * DENSE - spent(model.optimizer) < 1


def test_frozen_layers_keep_their_masks_and_their_cost():
    optimizer, model = ks.SparseMomentum(sgd(), **ASKED), network()
    model.compile(optimizer, LOSS)
    optimizer.build(model)
    go_on(model)
    model.layers[0].trainable = False
    first = list(optimizer.masks.values())
    model.compile(optimizer, LOSS)
    model.fit(X, Y, 8, epochs=2, verbose=0, callbacks=[ks.UpdateMasks("epoch")])
    moved = [(m != f).any() for m, f in zip(optimizer.masks.values(), first, strict=True)]
    assert (moved[0], any(moved)) == (False, True)
    assert 0 <= 0.07 * DENSE - spent(optimizer) < 1


def test_a_shared_layer_costs_all_its_calls():
    shared, inputs = layers.Dense(8), keras.Input((5, 8))
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(shared(shared(inputs)))))
    optimizer = ks.StaticSparsity("sgd", **ASKED)
    optimizer.build(model)
    assert [one.cost for one in optimizer.masked_weights] == [10, 1]


def test_unknown_costs_are_errors_that_name_the_weight():
    conv = layers.Conv2D(8, 3)
    model = keras.Sequential(
        [keras.Input((None, None, 2)), conv, layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )
    with pytest.raises(ValueError, match="conv.*part of the input shape is unknown"):
        ks.SparseMomentum(sgd(), **ASKED).build(model)
    unused = keras.Sequential([keras.Input((8,)), layers.Dense(4), WithUnusedKernel()])
    with pytest.raises(ValueError, match="unused/kernel', and it is in no product of the model's"):
        ks.SparseMomentum(sgd(), **ASKED).build(unused)
    optimizer = ks.SparseMomentum(sgd(), 0.5, budget="multiply_adds", dense=WithUnusedKernel)
    optimizer.build(unused)
    assert [one.cost for one in optimizer.masked_weights] == [1]


def test_another_budget_is_an_error():
    with pytest.raises(ValueError, match="`budget` must be .*Received: budget='flops'"):
        ks.UpdateMasks(density=0.1, budget="flops")


# --- without an optimizer


def test_a_trained_model_is_pruned_to_a_share_of_its_multiply_adds():
    for scope in ("layer", "global"):
        model = network()
        masks = ks.prune(model, 0.2, budget="multiply_adds", scope=scope)
        cost = sum(int(m.sum()) * c for m, c in zip(masks.values(), COSTS, strict=True))
        assert 0 <= 0.2 * DENSE - cost < 1
        assert ks.summary(model, "dict")["total"]["multiply_adds_density"] == cost / DENSE


def test_snip_masks_cost_a_share_of_the_multiply_adds():
    model = network()
    masks = ks.snip_masks(model, X, Y, 0.07, loss=LOSS, budget="multiply_adds")
    cost = sum(int(m.sum()) * c for m, c in zip(masks.values(), COSTS, strict=True))
    assert 0 <= 0.07 * DENSE - cost < 1
    model.compile(ks.StaticSparsity("sgd", **ASKED, initial_masks=masks), LOSS)
    model.optimizer.build(model)


def test_given_masks_must_have_the_density_in_multiply_adds():
    model = network()
    given = {v.path: np.ones(v.shape, bool) for v in model.weights if v.path.endswith("kernel")}
    optimizer = ks.StaticSparsity("sgd", **ASKED, initial_masks=given)
    with pytest.raises(ValueError, match=f"the masks have {DENSE} multiply-adds"):
        optimizer.build(model)
