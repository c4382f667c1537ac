"""The example networks have the paper's weights and multiply-adds, and its recipes."""

import dataclasses
import math

import keras
import numpy as np
import pytest

import keras_sparse as ks
from examples import feeds, training
from examples.data import Images
from examples.models import build
from examples.recipes import METHODS, RECIPES, recipe

# Dettmers & Zettlemoyer 2019: weights that get a mask, and multiply-adds of an image in millions.
PAPER = {
    "lenet-300-100": (266_200, 0.266),
    "lenet-5": (430_500, 2.3),
    "alexnet-s": (5_066_784, None),
    "alexnet-b": (8_484_896, None),
    "vgg16-c": (11_307_712, None),
    "vgg16-d": (15_239_872, 313.7),
    "vgg16-like": (14_977_728, None),
    "wrn-16-8": (10_954_160, 1_548),
    "wrn-16-10": (17_107_632, 2_410),
    "wrn-22-2": (1_076_912, 158),
    "wrn-22-8": (17_147_312, 2_450),
    "wrn-28-2": (1_463_984, 214),
}


@pytest.mark.parametrize("name", PAPER)
def test_a_network_has_the_papers_weights_and_multiply_adds(name):
    weights, millions = PAPER[name]
    model = build(name)
    sizes = [math.prod(w.shape) for w in model.trainable_variables if len(w.shape) > 1]
    assert sum(sizes) == weights
    if millions is not None:
        counted = ks.summary(model, "dict")["total"]["multiply_adds_dense"]
        assert counted == pytest.approx(1e6 * millions, rel=0.005)


def test_every_kernel_is_masked():
    model = training.compiled("lenet-5", "SparseMomentum", 0.1, steps=100, seed=0)
    model.optimizer.build(model)
    assert sum(mask.size for mask in model.optimizer.masks.values()) == 430_500
    assert model.optimizer.total_density() == 0.1


@pytest.mark.parametrize("name", ["lenet-7", "wrn-16", "vgg16", "wrn-12-2"])
def test_unknown_networks_are_refused(name):
    with pytest.raises(ValueError, match="Received: "):
        build(name)


@pytest.mark.parametrize("name", ["lenet-5", "alexnet-s"])
def test_weights_and_biases_start_uniform_with_the_fan_in(name):
    first = next(layer for layer in training.network(name).layers if layer.weights)
    if name == "alexnet-s":
        first = training.network(name).get_layer("conv_1")
    limit = 1 / math.sqrt(math.prod(first.kernel.shape[:-1]))
    for values in map(keras.ops.convert_to_numpy, (first.kernel, first.bias)):
        assert 0.8 * limit < np.abs(values).max() <= limit * (1 + 1e-6)


def test_wide_resnets_start_as_their_authors_did():
    model = training.network("wrn-10-1")
    kernel = model.get_layer("stage_3_block_1_conv_2").kernel
    deviation = np.std(keras.ops.convert_to_numpy(kernel))
    assert deviation == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert np.all(keras.ops.convert_to_numpy(model.get_layer("head").bias) == 0)


def test_the_penalty_is_on_all_parameters():
    model = training.network("wrn-10-1")
    squares = [float(keras.ops.sum(w * w)) for w in model.trainable_variables]
    assert float(sum(model.losses)) == pytest.approx(5e-4 / 2 * sum(squares), rel=1e-4)


def test_logits_are_float32_under_bfloat16(policy):
    policy("mixed_bfloat16")
    model = training.network("lenet-5")
    assert model.get_layer("conv_1").compute_dtype == "bfloat16"
    assert model.outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    ("name", "step", "rate"),
    [
        ("lenet-5", 24_999, 0.1),
        ("lenet-5", 25_000, 0.01),
        ("vgg16-d", 29_999, 0.1),
        ("vgg16-d", 30_000, 0.01),
        ("wrn-22-8", 60_000, 0.001),
        ("wrn-28-2", 29_999, 0.1),
        ("wrn-28-2", 30_000, 0.02),
        ("wrn-28-2", 80_000, 0.0008),
        ("resnet-50", 5 * 5004 - 1, 0.1),
        ("resnet-50", 30 * 5004, 0.01),
    ],
)
def test_the_learning_rate_of_a_whole_training_falls_as_published(name, step, rate):
    schedule = training.learning_rate(recipe(name), recipe(name).steps)
    assert float(schedule(step)) == pytest.approx(rate, rel=1e-5)


def test_a_shorter_training_keeps_the_proportions():
    schedule = training.learning_rate(recipe("wrn-28-2"), 1_000)
    rates = [round(float(schedule(step)), 6) for step in (0, 299, 300, 600, 799, 800)]
    assert rates == [0.1, 0.1, 0.02, 0.004, 0.004, 0.0008]


def test_recipes_are_as_published():
    found = {name: (one.batch, one.epochs, one.l2) for name, one in RECIPES.items()}
    assert found == {
        "mnist": (100, 100, 5e-4),
        "cifar10": (128, 250, 5e-4),
        "wrn-28": (100, 200, 5e-4),
        "imagenet": (256, 100, 1e-4),
    }
    assert [recipe(f"wrn-{kind}").dropout for kind in ("16-8", "28-2")] == [0.3, 0.3]
    assert training.sgd(recipe("vgg16-d"), 100).nesterov


def test_the_last_tenth_of_the_training_images_validates():
    x, y = np.zeros((50, 2, 2, 3), "float32"), np.arange(50)
    images = Images("", x, y, x[:1], y[:1])
    small = dataclasses.replace(recipe("vgg16-d"), batch=5)
    feed = feeds.feed(small, images, seed=0)
    assert feed.validation[1].tolist() == [45, 46, 47, 48, 49]
    labels = [label for _, labels in feed.batches.as_numpy_iterator() for label in labels]
    assert (sorted(labels), feed.steps) == (list(range(45)), 9)
    whole = dataclasses.replace(recipe("wrn-28-2"), batch=5)
    assert feeds.feed(whole, images, seed=0).validation is None


@pytest.mark.parametrize("method", [method for method in METHODS if method != "SNIP"])
def test_every_method_makes_a_sparse_model(method):
    model = training.compiled("lenet-300-100", method, 0.1, steps=100, seed=0)
    model.optimizer.build(model)
    pruned_later = {"GradualPruning": 1.0, "ACDC": 1.0, "GraNet": 0.5}
    first = pruned_later.get(method, 0.1)
    assert model.optimizer.total_density() == first


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="Received: method='Rigl'"):
        training.compiled("lenet-300-100", "Rigl", 0.1, steps=100, seed=0)


def test_fine_tuning_starts_with_the_largest_trained_weights(tmp_path):
    trained = build("lenet-300-100")
    trained.save(tmp_path / "dense.keras")
    options = {"steps": 100, "seed": 1, "start": tmp_path / "dense.keras"}
    model = training.compiled("lenet-300-100", "SparseMomentum", 0.1, **options)
    model.optimizer.build(model)
    kernels = [one.get_layer("dense_2").kernel for one in (trained, model)]
    before, after = map(keras.ops.convert_to_numpy, kernels)
    kept = after != 0
    assert kept.sum() == 3_000
    with pytest.raises(ValueError, match="`start` must be a file of lenet-5. Received: start="):
        training.compiled("lenet-5", "SparseMomentum", 0.1, **options)
    np.testing.assert_array_equal(after[kept], before[kept])
    assert np.abs(before[kept]).min() >= np.abs(before[~kept]).max()
