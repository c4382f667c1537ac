"""An error shows in one short line what was given, also where it is an array or a long list."""

import keras
import numpy as np
import pytest
from helpers import sgd

import keras_sparse as ks
from keras_sparse.rules.flags import check_word
from keras_sparse.rules.received import MOST, received, shown


def small():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="a")], name="net")


def product(**arguments):
    images, kernel = np.ones((1, 3, 3, 4), "f"), np.ones((3, 3, 4, 5), "f")
    return ks.ops.sparse_conv2d(images, kernel, kernel > 0, **arguments)


def optimizer(**arguments):
    return ks.SparseMomentum(sgd(), **{"density": 0.5, **arguments})


# what takes a word, a flag or a number
OPTIONS = {
    "begin": lambda given: ks.CubicOverTraining(0.5, begin=given),
    "borders": lambda given: ks.AlternatingOverTraining(0.5, borders=given),
    "budget": lambda given: optimizer(budget=given),
    "budget, prune": lambda given: ks.prune(small(), 0.5, budget=given),
    "data_format": lambda given: product(data_format=given),
    "density": lambda given: optimizer(density=given),
    "distribution": lambda given: ks.prune(small(), 0.5, scope="global", distribution=given),
    "dtype": lambda given: ks.save_compressed(small(), "unused", dtype=given),
    "dtype, export": lambda given: ks.export(small(), "unused", dtype=given),
    "every": lambda given: ks.UpdateMasks(every=given),
    "format": lambda given: ks.export(small(), "unused", given),
    "growth_batch": lambda given: optimizer(growth_batch=given),
    "growth_window": lambda given: optimizer(growth_window=given),
    "implementation": lambda given: ks.sparsify(small(), implementation=given),
    "implementation, ops": lambda given: product(implementation=given),
    "initial_masks": lambda given: optimizer(initial_masks=given),
    "initial_scale": lambda given: optimizer(initial_scale=given),
    "output": lambda given: ks.summary(small(), given),
    "padding": lambda given: product(padding=given),
    "prune": lambda given: optimizer(prune=given),
    "scope": lambda given: optimizer(scope=given),
    "scope, prune": lambda given: ks.prune(small(), 0.5, scope=given),
    "seed": lambda given: optimizer(seed=given),
    "side": lambda given: ks.Channels(given),
    "sparsity": lambda given: ks.export(small(), "unused.tflite", "litert", sparsity=given),
    "strides": lambda given: product(strides=given),
    "structure": lambda given: optimizer(structure=given),
    "time_step": lambda given: ks.summary(small(), batch=8, time_step=given),
    "tolerance": lambda given: ks.export(small(), "unused", tolerance=given),
    "verbose": lambda given: ks.sparsify(small(), verbose=given),
    "verbose, compact": lambda given: ks.compact(small(), verbose=given),
}
OBJECTS = {
    "history": lambda given: ks.plot_history(given),
    "inner_optimizer": lambda given: ks.SparseMomentum(given, 0.5),
    "model": lambda given: ks.summary(given),
    "model, export": lambda given: ks.export(given, "unused"),
    "model, from_tfmot": lambda given: ks.from_tfmot(given),
    "model, prune": lambda given: ks.prune(given, 0.5),
    "model, sparsify": lambda given: ks.sparsify(given),
    "model_or_history": lambda given: ks.report(given),
    "path": lambda given: ks.load_compressed(given),
    "trained": lambda given: ks.sparse_optimizer(given),
}


@pytest.mark.parametrize("given", [np.zeros((64, 64)), list(range(10_000))], ids=["array", "list"])
@pytest.mark.parametrize("argument", [*OPTIONS, *OBJECTS])
def test_an_array_or_a_long_list_is_refused_by_a_short_message(argument, given):
    name = argument.partition(",")[0]
    with pytest.raises((TypeError, ValueError), match=f"`{name}`") as raised:
        (OPTIONS | OBJECTS)[argument](given)
    assert f"{name}={type(given).__name__} " in str(raised.value)
    assert len(str(raised.value)) < MOST + 400


def test_what_was_given_is_shown_in_one_line_of_a_limited_length():
    assert received(density=1.5, scope="all") == "Received: density=1.5, scope='all'"
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 198) == f"'{'x' * 198}'"
    assert shown("x" * 199) == f"str '{'x' * 199}..."
    assert shown(np.zeros((64, 64), "f")) == "ndarray of the shape (64, 64) and dtype float32"
    assert shown({"a": np.zeros(100)}).startswith("dict {'a': array([0., 0., 0., ")
    assert len(shown({"a": np.zeros(100)})) == MOST + len("dict ...")


def test_a_word_is_one_of_those_that_are_named():
    check_word("scope", np.str_("layer"), "layer", "global")
    check_word("initial_scale", None, "auto", None)
    with pytest.raises(ValueError, match=r'^`a` must be "x", "y" or None. Received: a=0$'):
        check_word("a", 0, "x", "y", None)
    with pytest.raises(ValueError, match=r'^`a` must be "x". Received: a=None$'):
        check_word("a", None, "x")
