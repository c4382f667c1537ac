"""Files of sparse runs of every kind: read before the optimizer is built, and small."""

import keras
import pytest
from helpers import (
    active,
    array,
    arrays,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sparse,
    toy_data,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
LAYERS = pytest.mark.parametrize(
    "convert", [lambda model: model, ks.sparsify], ids=["keras", "sparse"]
)
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def trained(convert=lambda model: model, **settings):
    """A toy model after three epochs, with open growth windows."""
    model = compiled(sparse(growth_window=None, **settings), convert(toy_model()))
    fit(model, ks.UpdateMasks())
    return model


def new(convert=lambda model: model, **settings):
    """The same with other weights and masks, not built."""
    keras.utils.set_random_seed(7)
    return compiled(sparse(growth_window=None, **settings), convert(toy_model()))


def assert_same_run(one, other):
    """The same weights and masks, wherever they are."""
    assert_same(one.get_weights(), other.get_weights())
    masks = list(one.optimizer.masks.values()), list(other.optimizer.masks.values())
    assert_same(*masks)
    for model in (one, other):
        layers = [array(layer.mask) for layer in model.layers if hasattr(layer, "mask")]
        assert_same(layers, masks[0][: len(layers)])
        for layer in model.layers:
            if hasattr(layer, "mask"):
                assert float(array(layer.kernel_mask.mask_density)) == pytest.approx(
                    array(layer.mask).mean()
                )


# --- TensorFlow's checkpoints


@pytest.mark.parametrize(
    ("convert", "settings"),
    [
        (ks.sparsify, dict),
        (
            lambda model: model,
            lambda: {"inner": keras.optimizers.SGD(0.05), "gradient_momentum": 0.9},
        ),
    ],
    ids=["sparse", "average"],
)
def test_a_checkpoint_read_before_build_brings_weights_and_masks(tmp_path, convert, settings):
    import tensorflow as tf

    def of(model):
        return model, tf.train.CheckpointManager(
            tf.train.Checkpoint(model=model, optimizer=model.optimizer), str(tmp_path), 2
        )

    model, manager = of(trained(convert, **settings()))
    manager.save()
    resumed, manager = of(new(convert, **settings()))
    status = manager.checkpoint.restore(manager.latest_checkpoint)
    resumed.optimizer.build(resumed)
    status.assert_consumed()
    assert_same_run(resumed, model)
    assert_same(arrays(resumed.optimizer.variables), arrays(model.optimizer.variables))
    for one in (model, resumed):
        fit(one, ks.UpdateMasks(every=2))
    assert_same_run(resumed, model)


def test_a_checkpoint_of_the_model_alone_and_fit(tmp_path):
    import tensorflow as tf

    model, resumed = trained(), new()
    path = tf.train.Checkpoint(model).save(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(resumed).restore(path).expect_partial()
    before = model.optimizer.masks
    resumed.optimizer.build(resumed)
    assert_same(list(resumed.optimizer.masks.values()), list(before.values()))
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


@LAYERS
def test_h5_files_bring_back_the_whole_run(tmp_path, convert):
    model = compiled(
        sparse(growth_window=None), convert(toy_model()), loss=keras.losses.MeanSquaredError()
    )
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.h5")
    loaded = keras.models.load_model(tmp_path / "model.h5")
    assert_same(loaded.get_weights(), model.get_weights())
    loaded.save(tmp_path / "again.keras")  # before anything is built: nothing is lost
    with pytest.warns(
        UserWarning, match="Skipping variable loading"
    ):  # Keras' own, of what we have put back
        again = keras.models.load_model(tmp_path / "again.keras")
    loaded.optimizer.build(loaded)
    for one in (loaded, again):
        assert_same_run(one, model)
        assert one.optimizer.step() == 12
    for one in (model, loaded):
        fit(one, ks.UpdateMasks(every=2))
    assert_same_run(loaded, model)


# --- weights files and subclassed models


@LAYERS
@pytest.mark.parametrize("to", [lambda model: model, ks.sparsify], ids=["keras", "sparse"])
def test_weight_files_of_the_best_epoch_into_a_new_compiled_model(tmp_path, convert, to):
    model = compiled(sparse(growth_window=None), convert(toy_model()))
    path = tmp_path / "best.weights.h5"
    best = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    fit(model, ks.UpdateMasks(), best)
    other = new(to)
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # Keras' own
        other.load_weights(path)
    assert_same(other.get_weights(), model.get_weights())
    other.optimizer.build(other)
    assert_same_run(other, model)
    fit(other, ks.UpdateMasks())
    assert_sparse(other, count=48)


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


@backend
@pytest.mark.parametrize("convert", [None, True])
def test_variables_that_come_in_the_first_step_are_masked(convert):
    model = compiled(sparse(growth_window=None), Net(convert))
    fit(model, ks.UpdateMasks())
    assert len(model.optimizer.masks) == 2
    assert_sparse(model, count=48)


@pytest.mark.parametrize("convert", [None, True])
def test_subclassed_models_come_back(tmp_path, convert):
    """Keras loads the optimizer of this one before its head."""
    model = compiled(sparse(growth_window=None), Net(convert))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded.get_weights(), model.get_weights())
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    for one in (loaded, model):
        fit(one, ks.UpdateMasks(every=2))
    assert_same(loaded.get_weights(), model.get_weights())
    fresh = compiled(sparse(growth_window=None), Net(convert))
    fresh(toy_data()[0])
    model.save_weights(tmp_path / "all.weights.h5")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        fresh.load_weights(tmp_path / "all.weights.h5")
    fresh.optimizer.build(fresh)
    assert_same(list(fresh.optimizer.masks.values()), list(model.optimizer.masks.values()))
    assert_same(fresh.get_weights(), model.get_weights())


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


@pytest.mark.filterwarnings("ignore:A random mask over trained weights throws away")
def test_masks_are_found_by_path_where_layers_were_added(tmp_path):
    model = trained()
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
