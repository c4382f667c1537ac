"""Files of sparse runs of every kind: read before the optimizer is built, and small."""

import functools
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from helpers import (
    active,
    array,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sparse,
    toy_data,
    toy_model,
)
from steps_by_hand import go_on, state_of

import keras_sparse as ks
from keras_sparse._keras import layers_of

backend = pytest.mark.backend
LAYERS = ["keras", "sparse"]
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


class Run(NamedTuple):
    """Files of a training of three epochs; weights, masks and state at its end, and later."""

    folder: Path
    weights: list[np.ndarray]
    masks: list[np.ndarray]
    state: list[np.ndarray]
    later: list[np.ndarray]


def new(kind="keras", seed=7, **settings):
    """A compiled toy model, not built; by default with other weights and masks."""
    keras.utils.set_random_seed(seed)
    if kind == "average":
        settings = {"inner": keras.optimizers.SGD(0.05), "gradient_momentum": 0.9}
    model = ks.sparsify(toy_model()) if kind == "sparse" else toy_model()
    loss = keras.losses.MeanSquaredError()
    return compiled(sparse(growth_window=None, **settings), model, loss)


def ended(model, folder):
    """The Run of this model, which goes on a little."""
    weights = [weight.copy() for weight in model.get_weights()]
    masks = [mask.copy() for mask in model.optimizer.masks.values()]
    return Run(folder, weights, masks, state_of(model), go_on(model))


def toy_run(temporary, kind):
    folder, model = temporary.mktemp(kind), new(kind, seed=0)
    best = keras.callbacks.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True)
    fit(model, ks.UpdateMasks(), best)
    save_checkpoints(model, folder)
    model.save(folder / "model.h5")
    return ended(model, folder)


def save_checkpoints(model, folder):
    import tensorflow as tf

    everything = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    tf.train.CheckpointManager(everything, str(folder / "all"), 2).save()
    tf.train.Checkpoint(model).save(str(folder / "model"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The Run of a toy model of Keras' layers, or sparse ones, or by an average of gradients."""
    return functools.cache(functools.partial(toy_run, tmp_path_factory))


def assert_is_that_of(run, model):
    """The same weights and masks, wherever they are."""
    assert_same(model.get_weights(), run.weights)
    assert_same(list(model.optimizer.masks.values()), run.masks)
    layers = [layer for layer in layers_of(model) if hasattr(layer, "mask")]
    for layer, mask in zip(layers, run.masks, strict=len(layers) > 0):
        np.testing.assert_array_equal(array(layer.mask), mask)
        assert float(array(layer.kernel_mask.mask_density)) == pytest.approx(mask.mean())


# --- TensorFlow's checkpoints


@pytest.mark.parametrize("kind", ["sparse", "average"])
def test_a_checkpoint_read_before_build_brings_weights_and_masks(kind, run):
    import tensorflow as tf

    resumed = new(kind)
    checkpoint = tf.train.Checkpoint(model=resumed, optimizer=resumed.optimizer)
    manager = tf.train.CheckpointManager(checkpoint, str(run(kind).folder / "all"), 2)
    status = checkpoint.restore(manager.latest_checkpoint)
    resumed.optimizer.build(resumed)
    status.assert_consumed()
    assert_is_that_of(run(kind), resumed)
    assert_same(state_of(resumed), run(kind).state)
    assert_same(go_on(resumed), run(kind).later)


def test_a_checkpoint_of_the_model_alone_and_fit(run):
    import tensorflow as tf

    resumed = new()
    path = tf.train.latest_checkpoint(str(run("keras").folder))
    tf.train.Checkpoint(resumed).restore(path).expect_partial()
    resumed.optimizer.build(resumed)
    assert_same(list(resumed.optimizer.masks.values()), run("keras").masks)
    fit(resumed, ks.UpdateMasks())
    assert resumed.optimizer.step() == 24
    assert_sparse(resumed, count=48)


def test_weights_alone_of_a_checkpoint_are_not_taken_for_a_run(tmp_path):
    import tensorflow as tf

    model = toy_model()
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    other = new(initial_masks="magnitude")
    tf.train.Checkpoint(model=other).restore(path).expect_partial()
    other.optimizer.build(other)
    assert active(other.optimizer) == 48
    assert_sparse(other)


# --- .h5


@pytest.mark.parametrize("kind", LAYERS)
def test_h5_files_bring_back_the_whole_run(kind, run, tmp_path):
    loaded = keras.models.load_model(run(kind).folder / "model.h5")
    assert_same(loaded.get_weights(), run(kind).weights)
    loaded.save(tmp_path / "again.keras")  # before anything is built: nothing is lost
    with pytest.warns(
        UserWarning, match="Skipping variable loading"
    ):  # Keras' own, of what we have put back
        again = keras.models.load_model(tmp_path / "again.keras")
    loaded.optimizer.build(loaded)
    for one in (loaded, again):
        assert_is_that_of(run(kind), one)
        assert one.optimizer.step() == 12
        assert_same(go_on(one), run(kind).later)


# --- weights files and subclassed models


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("to", LAYERS)
def test_weight_files_of_the_best_epoch_into_a_new_compiled_model(kind, to, run):
    other = new(to)
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # Keras' own
        other.load_weights(run(kind).folder / "best.weights.h5")
    assert_same(other.get_weights(), run(kind).weights)
    other.optimizer.build(other)
    assert_is_that_of(run(kind), other)
    go_on(other)
    assert_masks_hold(other.optimizer)
    assert active(other.optimizer) == 48


class Net(keras.Model):
    """A built backbone, and a head that is built in the first step."""

    def __init__(self, convert=None, **kwargs):
        super().__init__(**kwargs)
        backbone = keras.Sequential(
            [keras.Input((8,)), keras.layers.Dense(16, "tanh", name="hidden")], name="backbone"
        )
        self.backbone = ks.sparsify(backbone) if convert else backbone
        self.zhead = (ks.layers.SparseDense if convert else keras.layers.Dense)(4, name="head")
        self.convert = convert

    def call(self, inputs):
        return self.zhead(self.backbone(inputs))

    def get_config(self):
        return {"convert": self.convert}


keras.saving.register_keras_serializable("tests")(Net)


def run_of_net(temporary, convert):
    keras.utils.set_random_seed(0)
    model, folder = compiled(sparse(growth_window=None), Net(convert)), temporary.mktemp("net")
    fit(model, ks.UpdateMasks())
    model.save(folder / "model.keras")
    model.save_weights(folder / "all.weights.h5")
    return ended(model, folder)


@pytest.fixture(scope="module")
def net_run(tmp_path_factory):
    """The Run of a Net."""
    return functools.cache(functools.partial(run_of_net, tmp_path_factory))


@backend
@pytest.mark.parametrize("convert", [None, True])
def test_variables_that_come_in_the_first_step_are_masked(convert, net_run):
    weights, masks = net_run(convert).weights, net_run(convert).masks
    kernels = [weight for weight in weights if weight.dtype == "float32" and weight.ndim == 2]
    assert len(masks) == 2
    for kernel, mask in zip(kernels, masks, strict=True):
        assert not kernel[~mask].any()
        assert np.count_nonzero(kernel) > 0.5 * np.count_nonzero(mask)
    assert sum(mask.sum() for mask in masks) == 48


@pytest.mark.parametrize("convert", [None, True])
def test_subclassed_models_come_back(convert, net_run):
    """Keras loads the optimizer of this one before its head."""
    run = net_run(convert)
    loaded = keras.models.load_model(run.folder / "model.keras")
    assert_is_that_of(run, loaded)
    assert_same(go_on(loaded), run.later)


@pytest.mark.parametrize("convert", [None, True])
def test_weight_files_of_subclassed_models_bring_masks(convert, net_run):
    fresh = compiled(sparse(growth_window=None), Net(convert))
    fresh(toy_data()[0])
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        fresh.load_weights(net_run(convert).folder / "all.weights.h5")
    fresh.optimizer.build(fresh)
    assert_same(list(fresh.optimizer.masks.values()), net_run(convert).masks)
    assert_same(fresh.get_weights(), net_run(convert).weights)


def test_layers_that_come_after_build_are_an_error_that_says_what_to_do():
    model = Net()
    optimizer = sparse()
    optimizer.build(model)  # the head is not there yet
    compiled(optimizer, model)
    with pytest.raises(
        ValueError,
        match=r"Build all layers first, by a call of the model.*"
        r"Received: unknown variables \['net/head/kernel'",
    ):
        fit(model, ks.UpdateMasks())


# --- weights that do not match


def test_masks_are_found_by_path_where_layers_were_added():
    model = built(growth_window=None)
    store = {}
    model.optimizer.save_own_variables(store)
    layers = [keras.Input((8,)), keras.layers.Dense(8, name="new"), *model.layers]
    longer = compiled(sparse(), keras.Sequential(layers, name="longer"))
    longer.optimizer.build(longer)
    with pytest.raises(
        ValueError, match=r"of another model: no mask fits 'longer/new/kernel' of shape \(8, 8\)"
    ):
        longer.optimizer.load_own_variables(store)
    shorter = compiled(
        sparse(), keras.Sequential([keras.Input((16,)), model.layers[1]], name="shorter")
    )
    shorter.optimizer.build(shorter)
    shorter.optimizer.load_own_variables(store)
    assert_same(list(shorter.optimizer.masks.values()), [model.optimizer.masks[HEAD]])


def test_masks_that_may_belong_to_two_weights_are_refused():
    def part(name):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="d")], name=name)

    a, b = part("a"), part("b")
    inputs = keras.Input((8,))
    model = compiled(sparse(), keras.Model(inputs, b(a(inputs))))
    model.optimizer.build(model)
    state = model.optimizer._state()
    nameless = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="d")])
    kernel = nameless.layers[0].kernel
    kernel._path = "d/kernel"  # as Keras does where it loads
    with pytest.raises(ValueError, match="2 masks may belong to 'd/kernel'"):
        state.masks_for([kernel], [0])


@backend
def test_a_loaded_model_goes_on_where_dense_names_a_sequential(tmp_path):
    inputs = keras.Input((8,))
    inner = keras.Sequential([keras.layers.Dense(4, name="hidden")], name="inner")
    model = keras.Model(inputs, keras.layers.Dense(16, name="head")(inner(inputs)))
    model.compile(ks.StaticSparsity("sgd", 0.25, dense="inner"), "mse")
    model.optimizer.build(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].layers[0].kernel.path == "hidden/kernel"  # Keras has lost the name
    loaded.optimizer.attach(loaded)
    assert list(loaded.optimizer.masks) == ["head/kernel"]
