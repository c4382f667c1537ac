"""The message of a user's mistake names the argument, the rule and what was received."""

import keras
import numpy as np
import pytest
from helpers import sgd

import keras_sparse as ks


def small():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="a")], name="net")


def two():
    layers = [keras.layers.Dense(4, name="a"), keras.layers.Dense(4, name="b")]
    return keras.Sequential([keras.Input((4,)), *layers], name="net")


def built(model):
    optimizer = ks.SparseMomentum(sgd(), 0.5)
    optimizer.build(model)
    return optimizer


ONES = np.ones((2, 2))

# the argument: (call, what the message says beside it)
MISTAKES = {
    "inner_optimizer": (lambda: ks.SparseMomentum("sdg", 0.5), ["'sdg'", "Keras optimizer"]),
    "inner_optimizer, missing": (lambda: ks.SparseMomentum(None, 0.5), ["None"]),
    "inner_optimizer, a model": (lambda: ks.SparseMomentum(small(), 0.5), ["Sequential"]),
    "density": (lambda: ks.SparseMomentum(sgd(), "5%"), ["(0, 1]", "'5%'"]),
    "density, RigL": (lambda: ks.RigL(sgd(), 3), ["(0, 1]", "density=3"]),
    "density, ACDC": (lambda: ks.ACDC(sgd(), 2), ["(0, 1]", "density=2"]),
    "density, GraNet": (lambda: ks.GraNet(sgd(), 2), ["(0, 1]", "density=2"]),
    "density, GradualPruning": (lambda: ks.GradualPruning(sgd(), 2), ["(0, 1]", "density=2"]),
    "final": (lambda: ks.CubicOverTraining("low"), ["[0, 1]", "'low'"]),
    "seed": (lambda: ks.SparseMomentum(sgd(), 0.5, seed="x"), ["integer", "'x'"]),
    "seed, negative": (lambda: ks.SparseMomentum(sgd(), 0.5, seed=-1), ["integer", "-1"]),
    "budget": (lambda: ks.SparseMomentum(sgd(), 0.5, budget="flops"), ["multiply_adds", "'flops'"]),
    "structure": (lambda: ks.SparseMomentum(sgd(), 0.5, structure="4x4"), ["Blocks(4, 4", "'4x4'"]),
    "grow": (lambda: ks.SparseMomentum(sgd(), 0.5, grow="grad"), ["'gradient'", "'grad'"]),
    "dense": (
        lambda: ks.SparseMomentum(sgd(), 0.5, dense="head").build(small()),
        ["'head'", "net/a/kernel"],
    ),
    "masks": (
        lambda: built(small()).set_masks({"head": np.ones((4, 4), bool)}),
        ["'head'", "net/a"],
    ),
    "model": (lambda: ks.summary("net"), ["Keras model", "'net'"]),
    "model, snip_masks": (lambda: ks.snip_masks("net", 0, 0, 0.5), ["Keras model", "'net'"]),
    "model, snip_scores": (lambda: ks.snip_scores("net", 0, 0), ["Keras model", "'net'"]),
    "model, prune": (lambda: ks.prune("net", 0.5), ["Keras model", "'net'"]),
    "model, export": (lambda: ks.export("net", "folder"), ["Keras model", "'net'"]),
    "model, save_compressed": (lambda: ks.save_compressed("net", "file"), ["Keras model", "'net'"]),
    "model, density": (lambda: ks.density("net"), ["Keras model", "'net'"]),
    "trained": (lambda: ks.sparse_optimizer("net"), ["an optimizer", "'net'"]),
    "model, sparsify": (lambda: ks.sparsify("net"), ["keras.Model", "'net'"]),
    "every": (lambda: ks.UpdateMasks(every="epochs"), ['"epoch"', "'epochs'"]),
    "optimizer": (lambda: ks.UpdateMasks(optimizer=[]), ["SparseMomentum", "optimizer=[]"]),
    "density, UpdateMasks": (lambda: ks.UpdateMasks(prune_rate=0.1), ["UpdateMasks(density="]),
    "density, ks.density.uniform": (lambda: ks.density.uniform([(2, 2)], 2), ["(0, 1]", "=2"]),
    "density, ks.density.erdos_renyi": (lambda: ks.density.erdos_renyi([(2, 2)], 0), ["(0, 1]"]),
    "density, small blocks": (
        lambda: ks.prune(two(), 0.1, block_shape=(4, 4)),
        ["(3)", "(32)", "net/b/kernel", "smaller blocks"],
    ),
    "density, one block of all": (
        lambda: ks.prune(two(), 0.1, block_shape=(4, 4), scope="global"),
        ["(3)", "(32)", "net/b/kernel", "smaller blocks"],
    ),
    "dense, a hint": (lambda: ks.density.uniform([(2, 2), (2, 2)], 0.1), ["a higher density"]),
    "masks, a list": (lambda: built(small()).set_masks([np.ones((4, 4), bool)]), ["list"]),
    "is_open": (lambda: built(small()).open_growth_window("yes"), ["bool", "'yes'"]),
    "density, a schedule to 0": (
        lambda: ks.GradualPruning(sgd(), ks.CubicOverTraining(0.0)),
        ["(0, 1]", "from 1 to 0"],
    ),
    "density, a schedule that rises": (
        lambda: ks.SparseMomentum(sgd(), ks.CubicOverTraining(0.5, initial=0.1)),
        ["no larger at the end", "from 0.1 to 0.5"],
    ),
    "density, phases to 0": (
        lambda: ks.SparseMomentum(sgd(), ks.AlternatingOverTraining(0.0)),
        ["(0, 1]", "from 1 to 0"],
    ),
    "path": (lambda: ks.export(small(), 3), ["a path", "path=3"]),
    "path, save_compressed": (lambda: ks.save_compressed(small(), 3), ["a path", "path=3"]),
    "path, load_compressed": (lambda: ks.load_compressed(3), ["a path", "path=3"]),
    "path, report": (lambda: ks.report(small(), 3), ["a path", "path=3"]),
    "to_file": (lambda: ks.plot_history({"density": [0.5]}, 3), ["a path", "to_file=3"]),
    "backup_dir": (lambda: ks.BackupAndRestore(3), ["a path", "backup_dir=3"]),
    "x": (
        lambda: ks.snip_masks(small(), ONES[:0], ONES[:0], 0.5, loss="mse"),
        ["one example", "(0, 2)"],
    ),
    "trained, not built": (
        lambda: ks.check_agreement(ks.SparseMomentum(sgd(), 0.5)),
        ["optimizer.build(model)", "<Sparse"],
    ),
    "what": (lambda: ks.scores.needs("grad"), ['"gradient"', "'grad'"]),
    "mask": (lambda: ks.MaskedLayer("a", ONES, ONES), ["bool", "float64"]),
    "weight": (lambda: ks.MaskedLayer("a", ONES, ONES[:1] > 0), ["(2, 2)", "(1, 2)"]),
    "optimizer, momentum_of": (lambda: ks.momentum_of(sgd(), 0), ["built", "SGD"]),
    "implementation": (lambda: ks.sparsify(small(), implementation="fast"), ["stock", "'fast'"]),
}


@pytest.mark.parametrize("argument", MISTAKES)
def test_a_mistake_is_answered_with_the_argument_the_rule_and_the_value(argument):
    call, parts = MISTAKES[argument]
    with pytest.raises((ValueError, TypeError)) as raised:
        call()
    message = str(raised.value)
    for part in (f"`{argument.partition(',')[0]}`", "Received: ", *parts):
        assert part in message


@pytest.mark.parametrize(
    "call",
    [
        lambda optimizer: optimizer.update_masks(),
        lambda optimizer: optimizer.set_masks({}),
        lambda optimizer: optimizer.prune_to_density(0.1),
        lambda optimizer: optimizer.start_training(10),
        lambda optimizer: optimizer.open_growth_window(True),
    ],
)
def test_an_optimizer_that_is_not_built_has_no_masks(call):
    with pytest.raises(ValueError, match="has no masks yet.*optimizer.build.*Received: <Sparse"):
        call(ks.SparseMomentum(sgd(), 0.5))


def test_an_attribute_that_neither_optimizer_has_is_missed_by_the_outer_one():
    with pytest.raises(AttributeError, match="'SparseMomentum' object has no attribute 'set_mode"):
        getattr(ks.SparseMomentum(sgd(), 0.5), "set_model")  # noqa: B009


def test_an_optimizer_is_not_built_again_for_another_model():
    optimizer = built(small())
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)], name="other")
    with pytest.raises(ValueError, match="built for another model.*Received: model='other'"):
        optimizer.build(other)


def test_an_optimizer_of_another_model_says_so():
    model, other = small(), keras.layers.Dense(2)
    optimizer = built(model)
    other.build((None, 4))
    gradients = [np.zeros(v.shape, "float32") for v in other.trainable_variables]
    with pytest.raises(ValueError, match="built for another model.*Received: unknown variables"):
        optimizer.apply(gradients, other.trainable_variables)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ks.SparseMomentum(sgd(), 0.5, "weights"),
        lambda: ks.GraNet(sgd(), 0.1, 0.5),
        lambda: ks.ACDC(sgd(), 0.1, (0.2,)),
        lambda: ks.UpdateMasks("epoch", None),
        lambda: ks.snip_masks("net", 0, 0, 0.5, None),
        lambda: ks.snip_scores("net", 0, 0, None),
    ],
)
def test_options_are_given_by_name(call):
    with pytest.raises(TypeError, match="positional argument"):
        call()


def test_a_layer_without_weights_has_no_mask_to_set():
    with pytest.raises(ValueError, match="must be built before .*Received: layer='early', not"):
        ks.layers.SparseDense(2, name="early").set_mask(ONES > 0)
