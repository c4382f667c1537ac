"""A model saved before its optimizer is built loads, and trains as if it were new."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, assert_sparse, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks

DENSITY = 0.25


def static(**settings):
    return ks.StaticSparsity(sgd(), DENSITY, seed=0, **settings)


def saved_and_loaded(model, path):
    model.save(path)
    return keras.saving.load_model(path)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")  # Keras' own
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning")
@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("initial_masks", ["random", "magnitude"])
def test_a_model_saved_before_its_optimizer_is_built_trains(tmp_path, ending, initial_masks):
    loss = keras.losses.MeanSquaredError()  # Keras cannot load "mse" from .h5 files
    model = compiled(sparse(initial_masks=initial_masks), loss=loss)
    kernels = [array(layer.kernel) for layer in model.layers]
    loaded = saved_and_loaded(model, tmp_path / f"model.{ending}")
    assert ks.density(loaded) == 1.0  # as before it was saved
    loaded.optimizer.build(loaded)
    for layer, kernel in zip(loaded.layers, kernels, strict=True):
        mask = array(layer.kernel) != 0
        assert mask.mean() == DENSITY
        if initial_masks == "magnitude":  # of the weights of the file
            assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()
            np.testing.assert_array_equal(array(layer.kernel)[mask], kernel[mask])
    fit(loaded, ks.UpdateMasks(), epochs=2)
    assert_sparse(loaded, count=48)
    assert loaded.optimizer.step() == 8


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5:UserWarning")
@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("callbacks", [[], [ks.UpdateMasks]])
def test_a_training_under_loss_scaling_cannot_go_on_from_an_h5_file(tmp_path, epochs, callbacks):
    optimizer = keras.optimizers.LossScaleOptimizer(static())
    model = compiled(optimizer, loss=keras.losses.MeanSquaredError())
    if epochs:
        fit(model, epochs=epochs)
    loaded = saved_and_loaded(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="cannot read its state from a .h5 file"):
        fit(loaded, *(make() for make in callbacks), epochs=1)
    if epochs:
        masks = [array(layer.kernel) != 0 for layer in loaded.layers]
        again = static(initial_masks="nonzero")
        loaded.compile(keras.optimizers.LossScaleOptimizer(again), "mse")
        fit(loaded, epochs=1)
        assert_same([array(layer.kernel) != 0 for layer in loaded.layers], masks)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
@pytest.mark.parametrize("callbacks", [[], [ks.UpdateMasks]])
def test_it_trains_as_a_new_one_does(tmp_path, callbacks):
    models = []
    for through_file in (False, True):
        keras.utils.set_random_seed(0)
        model = compiled(static())
        if through_file:
            model = saved_and_loaded(model, tmp_path / "model.keras")
        fit(model, *(make() for make in callbacks), epochs=1)
        models.append(model)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_layers_that_are_loaded_after_the_optimizer_are_masked(tmp_path):
    @keras.saving.register_keras_serializable("test")
    class Net(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.body, self.zed = keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)

        def call(self, x):
            return self.zed(self.body(x))

    model = compiled(static(initial_masks="magnitude"), Net())
    model(np.ones((1, 8), "float32"))
    kernel = array(model.zed.kernel)
    loaded = saved_and_loaded(model, tmp_path / "net.keras")
    fit(loaded, ks.UpdateMasks(), epochs=1)
    mask = loaded.optimizer.masks[loaded.zed.kernel.path]
    assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()
    assert_sparse(loaded, count=48)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_masks_that_the_user_sets_after_loading_stay(tmp_path):
    loaded = saved_and_loaded(compiled(static()), tmp_path / "model.keras")
    mask = np.arange(128).reshape(8, 16) % 4 == 0
    loaded.optimizer.set_masks({loaded.layers[0].kernel.path: mask})
    fit(loaded, ks.UpdateMasks(), epochs=1)
    np.testing.assert_array_equal(loaded.optimizer.masks[loaded.layers[0].kernel.path], mask)
    assert not array(loaded.layers[0].kernel)[~mask].any()


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
@pytest.mark.parametrize("kind", ["weights.h5", "tf"])
def test_masks_of_a_file_that_is_loaded_afterwards_stay(tmp_path, kind):
    import tensorflow as tf

    trained = compiled(sparse(seed=3))
    loaded = saved_and_loaded(compiled(sparse()), tmp_path / "model.keras")
    fit(trained, ks.UpdateMasks(), epochs=2)
    path = str(tmp_path / "trained")
    if kind == "tf":
        file = tf.train.Checkpoint(model=trained, optimizer=trained.optimizer).save(path)
        restored = tf.train.Checkpoint(model=loaded, optimizer=loaded.optimizer)
        restored.restore(file).assert_existing_objects_matched()
    else:
        trained.save_weights(f"{path}.weights.h5")
        loaded.load_weights(f"{path}.weights.h5")
    loaded.train_on_batch(np.ones((2, 8)), np.ones((2, 4)))
    found, expected = (list(one.optimizer.masks.values()) for one in (loaded, trained))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_weights_that_are_loaded_into_a_trained_model_get_masks_of_their_own(tmp_path):
    new, trained = (compiled(static(initial_masks="magnitude")) for _ in range(2))
    kernel = array(new.layers[0].kernel)
    new.save_weights(tmp_path / "new.weights.h5")
    fit(trained, epochs=1)
    trained.load_weights(tmp_path / "new.weights.h5")
    fit(trained, epochs=1)  # by the step that was traced before
    mask = trained.optimizer.masks[trained.layers[0].kernel.path]
    assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()
    assert_sparse(trained, count=48)


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_it_may_be_saved_again_before_it_trains(tmp_path):
    loaded = saved_and_loaded(compiled(static()), tmp_path / "first.keras")
    again = saved_and_loaded(loaded, tmp_path / "second.keras")
    assert (array(again.layers[0].kernel) != 0).all()
    again.train_on_batch(np.ones((2, 8)), np.ones((2, 4)))
    assert (array(again.layers[0].kernel) != 0).mean() == DENSITY


@pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning")
def test_sparse_layers_inside_a_loss_scale(tmp_path):
    model = compiled(
        keras.optimizers.LossScaleOptimizer(static()), ks.sparsify(toy_model(), verbose=False)
    )
    loaded = saved_and_loaded(model, tmp_path / "model.keras")
    fit(loaded, ks.UpdateMasks(), epochs=1)
    assert_sparse(loaded, count=48)
    assert loaded.layers[0].kernel_mask.density() == DENSITY


def test_a_file_of_dense_weights_alone_is_still_refused(tmp_path):
    dense = toy_model()
    dense.save_weights(tmp_path / "dense.weights.h5")
    model = compiled(sparse())
    model.optimizer.build(model)
    with pytest.raises(ValueError, match="holds no masks"):
        model.load_weights(tmp_path / "dense.weights.h5")
