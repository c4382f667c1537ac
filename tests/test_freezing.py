"""Steps, mask updates and schedules leave frozen weights unchanged, and files hold them."""

import keras
import numpy as np
import pytest
from helpers import (
    active,
    apply_ones,
    array,
    arrays,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sgd,
    sparse,
    toy_data,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def of_keras(model):
    return model


RULES = {
    "constant density": {},
    "schedule": {"density": ks.CubicOverTraining(0.1, initial=0.5, end=1.0)},
    "last gradient": {"grow": "gradient", "redistribute": None},
}


def frozen_midway(convert=lambda model: model, **settings):
    """A model trained for 2 epochs, then its hidden layer is frozen."""
    model = compiled(sparse(growth_window=None, **settings), convert(toy_model()))
    fit(model, ks.UpdateMasks(), epochs=2)
    model.get_layer("hidden").trainable = False
    model.compile(model.optimizer, "mse")
    return model


@pytest.mark.parametrize(
    ("convert", "rules"),
    [
        (of_keras, "constant density"),
        (ks.sparsify, "constant density"),
        (ks.sparsify, "schedule"),
        (of_keras, "last gradient"),
    ],
)
def test_a_frozen_layer_stays_and_the_others_go_on(convert, rules):
    model = frozen_midway(convert, **RULES[rules])
    kernel, mask = array(model.get_layer("hidden").kernel), model.optimizer.masks[HIDDEN]
    head, heads_mask = array(model.get_layer("head").kernel), model.optimizer.masks[HEAD]
    fit(model, ks.UpdateMasks(every=2), epochs=3)
    assert_same(
        [array(model.get_layer("hidden").kernel), model.optimizer.masks[HIDDEN]], [kernel, mask]
    )
    assert (array(model.get_layer("head").kernel) != head).any()
    assert (model.optimizer.masks[HEAD] != heads_mask).any()
    if rules == "schedule":  # it goes on in the layers that are trained, by their own sizes
        assert heads_mask.sum() > model.optimizer.masks[HEAD].sum() >= 6
    else:
        assert heads_mask.sum() == model.optimizer.masks[HEAD].sum()


def test_an_unfrozen_layer_goes_on():
    model = frozen_midway()
    fit(model, ks.UpdateMasks())
    mask = model.optimizer.masks[HIDDEN]
    model.get_layer("hidden").trainable = True
    model.compile(model.optimizer, "mse")
    fit(model, ks.UpdateMasks())
    assert (model.optimizer.masks[HIDDEN] != mask).any()
    assert_sparse(model, count=48)


def test_a_frozen_variable_and_a_frozen_model_stay():
    model = compiled(sparse())
    fit(model, ks.UpdateMasks(), epochs=2)
    model.get_layer("hidden").kernel.trainable = False
    model.compile(model.optimizer, "mse")
    kernel = array(model.get_layer("hidden").kernel)
    fit(model, ks.UpdateMasks())
    assert_same([array(model.get_layer("hidden").kernel)], [kernel])
    model.trainable = False
    before = [*model.get_weights(), *model.optimizer.masks.values()]
    model.optimizer.update_masks()
    model.optimizer.apply_masks()
    assert_same([*model.get_weights(), *model.optimizer.masks.values()], before)
    assert model.optimizer.total_density() == 0.25  # of all masked weights, frozen ones included


def test_dense_weights_put_into_a_frozen_layer_are_not_masked():
    model = frozen_midway()
    weights = np.random.default_rng(0).normal(size=(8, 16)).astype("float32")
    model.get_layer("hidden").kernel.assign(weights)
    fit(model, ks.UpdateMasks())
    assert_same([array(model.get_layer("hidden").kernel)], [weights])


def test_averages_of_weights_leave_frozen_ones():
    model = frozen_midway(inner=keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True))
    kernel = array(model.get_layer("hidden").kernel)
    fit(model, ks.UpdateMasks())
    assert_same([array(model.get_layer("hidden").kernel)], [kernel])
    assert_sparse(model, count=48)


def test_set_masks_of_a_frozen_layer_masks_it():
    model = built()
    model.get_layer("hidden").trainable = False
    model.compile(model.optimizer, "mse")
    new = np.eye(8, 16, dtype=bool)
    model.optimizer.set_masks({HIDDEN: new})
    assert not array(model.get_layer("hidden").kernel)[~new].any()


def test_a_selector_may_name_a_frozen_layer(tmp_path):
    for dense in ("hidden", keras.layers.Embedding):
        model = toy_model()
        inputs = keras.Input((8,), dtype="int32")
        words = keras.layers.Embedding(4, 1, name="words")
        model = keras.Sequential([inputs, words, keras.layers.Flatten(), *model.layers], name="toy")
        compiled(sparse(dense=dense, sparse="head"), model)
        x, y = toy_data()
        data = (np.abs(x).astype("int32") % 4, y)
        fit(model, ks.UpdateMasks(), data=data)
        model.get_layer("hidden").trainable = words.trainable = False
        model.save(tmp_path / "model.keras")
        with pytest.warns(UserWarning, match="Skipping variable loading"):
            loaded = keras.models.load_model(tmp_path / "model.keras")
        fit(loaded, ks.UpdateMasks(), data=data)
        assert loaded.optimizer.masks.keys() <= {"hidden/kernel", "head/kernel"}


def test_a_name_that_selects_nothing_is_an_error_in_a_loop_of_your_own():
    model = toy_model()
    optimizer = sparse(dense="haed")
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="`dense` selects no trainable weight. Received: 'haed'"):
        apply_ones(optimizer, model)
    with pytest.raises(ValueError, match="`dense` selects no trainable weight. Received: 'haed'"):
        optimizer.attach(model)


# --- files of frozen models


@pytest.mark.parametrize(
    ("frozen", "convert"),
    [("hidden", of_keras), ("head", ks.sparsify), ("all", of_keras), ("all", ks.sparsify)],
)
def test_a_model_that_is_frozen_and_saved_loads(tmp_path, frozen, convert):
    model = compiled(sparse(growth_window=None), convert(toy_model()))
    fit(model, ks.UpdateMasks())
    masks = model.optimizer.masks
    for layer in model.layers if frozen == "all" else [model.get_layer(frozen)]:
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # Keras' own
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded.get_weights(), model.get_weights())
    for path, mask in loaded.optimizer.masks.items():
        np.testing.assert_array_equal(mask, masks[f"toy/{path}"])
    for layer in loaded.layers if convert is ks.sparsify else []:
        np.testing.assert_array_equal(array(layer.mask), masks[f"toy/{layer.name}/kernel"])
    if frozen == "all":  # nothing of it was used yet: all of it is there when it is trained again
        for layer in loaded.layers:
            layer.trainable = True
        loaded.compile(loaded.optimizer, "mse")
    before = {path: int(mask.sum()) for path, mask in masks.items()}
    fit(loaded, ks.UpdateMasks(every=2))
    trained = {f"toy/{path}": int(mask.sum()) for path, mask in loaded.optimizer.masks.items()}
    assert sum(trained.values()) == sum(before[path] for path in trained)
    assert len(trained) == {"hidden": 1, "head": 1, "all": 2}[frozen]
    assert_sparse(loaded)


def test_a_quantized_model_loads(tmp_path):
    model = built()
    model.quantize("int8", filters="hidden|head")
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    x, _ = toy_data()
    assert_same([loaded.predict(x, verbose=0)], [model.predict(x, verbose=0)])


def test_a_model_with_lora_loads_and_trains(tmp_path):
    model = built()
    model.get_layer("hidden").enable_lora(2)
    model.compile(ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero"), "mse")
    fit(model, ks.UpdateMasks(), epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x, _ = toy_data()
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    fit(loaded, ks.UpdateMasks())


def test_lora_of_a_trained_model_is_saved_with_the_optimizer_it_had(tmp_path):
    model = compiled(sparse())
    fit(model, ks.UpdateMasks())
    model.get_layer("hidden").enable_lora(2)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(loaded.optimizer.masks.values()), [model.optimizer.masks[HEAD]])
    x, _ = toy_data()
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


# --- layers in `dense=`


@backend
def test_a_layer_in_dense_loses_its_mask():
    model = ks.sparsify(built())
    assert array(model.get_layer("hidden").mask).sum() < 128
    compiled(sparse(dense="hidden", initial_masks="nonzero", density=0.5), model)
    fit(model, ks.UpdateMasks())
    assert array(model.get_layer("hidden").mask).all()
    trains = np.count_nonzero(array(model.get_layer("hidden").kernel))
    assert trains > 64  # all of 128 but those of units that no active weight of the head reads
    assert list(model.optimizer.masks) == [HEAD]


def test_a_layer_in_dense_stays_dense_when_its_weights_are_put_back():
    """By EarlyStopping, for one; zeros of a dense layer are no missing weights."""
    model = ks.sparsify(toy_model())
    compiled(sparse(dense="hidden"), model)
    model.optimizer.build(model)
    weights = model.get_weights()
    weights[0] = np.eye(8, 16, dtype="float32")
    model.set_weights(weights)
    assert array(model.get_layer("hidden").mask).all()


def test_frozen_sparse_layers_keep_their_masks_without_an_optimizer():
    model = ks.sparsify(built())
    masks = arrays([layer.mask for layer in model.layers])
    model.get_layer("hidden").trainable = False
    compiled(sparse(initial_masks="nonzero"), model)
    fit(model, ks.UpdateMasks())
    assert_same([array(model.get_layer("hidden").mask)], masks[:1])
    assert active(model.optimizer) == 16


def test_a_training_in_which_every_kernel_is_frozen_is_warned_of():
    model = toy_model()
    model.get_layer("hidden").trainable = False
    model.get_layer("head").enable_lora(2)
    model = compiled(sparse(), model)
    with pytest.warns(UserWarning, match="masks no weight.*all kernels are frozen"):
        fit(model, ks.UpdateMasks(every=1), epochs=2)
    assert ks.density(model) == 1.0
