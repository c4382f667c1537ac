"""SNIP as the first masks of a training: of the first batch, in files, on replicas and workers."""

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
    sgd,
    toy_data,
    toy_model,
)
from replicas import run
from workers import run_workers

import keras_sparse as ks

backend = pytest.mark.backend
layers = keras.layers


class Watch(keras.callbacks.Callback):
    """The masks before the first batch, and the weights."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0 and not hasattr(self, "masks"):
            _ = self.model
            self.masks = ks.sparse_optimizer(self.model).masks


def snip(method=ks.StaticSparsity, density=0.25, **settings):
    return method(sgd(), density, initial_masks="snip", **settings)


def first_masks(model, *callbacks, data=None, **arguments):
    watch = Watch()
    fit(model, ks.UpdateMasks(), *callbacks, watch, data=data, **{"epochs": 2, **arguments})
    return watch.masks


@backend
@pytest.mark.parametrize("sparsify", [False, True])
def test_in_fit_they_are_those_of_the_first_batch(sparsify):
    model = toy_model()
    before = arrays(model.weights)
    x, y = toy_data()
    expected = ks.snip_masks(model, x[:8], y[:8], 0.25, loss="mse")
    model = compiled(snip(), ks.sparsify(model, verbose=False) if sparsify else model)
    masks = first_masks(model)
    assert_same(list(masks.values()), list(expected.values()))
    assert_same(list(model.optimizer.masks.values()), list(expected.values()))  # they never change
    assert_sparse(model, count=48)
    assert model.optimizer.exploration_rate() == 0.25
    assert array(model.optimizer.iterations) == 8
    assert len(before) == 4


@pytest.mark.parametrize("method", [ks.RigL, ks.GraNet])
def test_all_methods_go_on_from_them(method):
    model = compiled(snip(method))
    masks = first_masks(model)
    density = 0.5 if method is ks.GraNet else 0.25  # where it begins
    assert sum(int(mask.sum()) for mask in masks.values()) == density * 192
    assert_sparse(model)
    assert any((mask != masks[path]).any() for path, mask in model.optimizer.masks.items())


def batches():
    x, y = toy_data()
    return [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return batches()[i]


def dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(toy_data()).batch(8)


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        (dataset, {}),
        (Data, {}),
        (lambda: (batch for _ in range(2) for batch in batches()), {"steps_per_epoch": 4}),
    ],
)
def test_any_data_of_fit_will_do_and_lose_nothing(data, arguments):
    (x, y), model, watch = toy_data(), toy_model(), Watch()
    expected = ks.snip_masks(model, x[:8], y[:8], 0.25, loss="mse")
    compiled(snip(), model)
    callbacks = [ks.UpdateMasks(), watch]
    model.fit(data(), epochs=2, shuffle=False, verbose=0, callbacks=callbacks, **arguments)
    assert_same(list(watch.masks.values()), list(expected.values()))
    assert model.optimizer.step() == 8


def test_the_callback_alone_puts_them_in():
    model = compiled(sgd())
    settings = {"prune": None, "redistribute": None, "grow": None}
    fit(model, ks.UpdateMasks(density=0.25, initial_masks="snip", **settings))
    assert_sparse(model, count=48)


def test_blocks_in_fit():
    model = compiled(snip(density=0.5, block_shape=(4, 4)))
    masks = first_masks(model)
    assert sum(int(mask.sum()) for mask in masks.values()) == 96


def test_loss_scaling(policy):
    policy("mixed_float16")
    model = compiled(snip())
    first_masks(model)
    assert active(ks.sparse_optimizer(model)) == 48


def test_shuffled_data_come_in_the_order_they_would_have_come():
    def order(kind):
        keras.utils.set_random_seed(3)
        model = compiled(ks.StaticSparsity(sgd(), 1.0, initial_masks=kind))
        fit(model, ks.UpdateMasks(), shuffle=True, epochs=1)
        return model.get_weights()

    assert_same(order("snip"), order("magnitude"))


def test_without_a_batch_it_is_told():
    model, (x, y) = compiled(snip()), toy_data()
    with pytest.raises(ValueError, match='"snip"` needs a batch of data, and has seen none'):
        model.train_on_batch(x, y)
    model = compiled(snip())
    with pytest.raises(ValueError, match=r"`initial_masks=keras_sparse.snip_masks\(model, x, y"):
        fit(model)  # without UpdateMasks


@backend
def test_files_and_resumption(tmp_path):
    model = compiled(snip())
    model.optimizer.build(model)
    model.save(tmp_path / "new.keras")  # before it has masks
    model.save_weights(tmp_path / "new.weights.h5")
    model.load_weights(tmp_path / "new.weights.h5")
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "old.keras")
    for name in ("new", "old"):
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        assert loaded.optimizer.initial_masks == "snip"
        fit(loaded, ks.UpdateMasks())
        assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    other = compiled(snip())
    other.optimizer.build(other)
    other.load_weights(tmp_path / "new.weights.h5")
    model.save_weights(tmp_path / "old.weights.h5")
    other.load_weights(tmp_path / "old.weights.h5")
    assert_same(list(other.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_a_tensorflow_checkpoint_brings_its_masks(tmp_path):
    import tensorflow as tf

    model = compiled(snip())
    fit(model, ks.UpdateMasks())
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "c"))
    for build in (True, False):
        keras.utils.set_random_seed(7)
        other = compiled(snip())
        if build:
            other.optimizer.build(other)
        tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
        fit(other, ks.UpdateMasks())
        assert_same(list(other.optimizer.masks.values()), list(model.optimizer.masks.values()))


# --- several devices and machines


@pytest.mark.slow
def test_replicas_have_the_masks_of_one_device():
    out = run("""
        keras.utils.set_random_seed(0)
        alone, (x, y) = toy_model(), toy_data()
        expected = ks.snip_masks(alone, x[:8], y[:8], 0.25, loss="mse")
        with mirrored.scope():
            optimizer = ks.RigL(sgd(), 0.25, initial_masks="snip", seed=0)
            model = compiled(optimizer, jit_compile=False)
        model.set_weights(alone.get_weights())
        note = lambda batch, logs: masks.append(list(optimizer.masks.values()))
        masks, watch = [], keras.callbacks.LambdaCallback(on_train_batch_begin=note)
        fit(model, ks.UpdateMasks(check_agreement=True), watch, epochs=2)
        assert_same(masks[0], list(expected.values()))
        check(model, 48, 2)
        print(optimizer.exploration_rate() > 0.25)
    """)
    assert out == ["True"]


@pytest.mark.slow
def test_workers_with_data_of_their_own_have_the_same_masks():
    outputs = run_workers(
        """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras, numpy as np, keras_sparse as ks
keras.utils.set_random_seed(0)
rng = np.random.default_rng(strategy.cluster_resolver.task_id)
x, y = rng.normal(size=(8, 8)), rng.normal(size=(8, 4))
with strategy.scope():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(4)])
    masks = ks.snip_masks(model, x, y, 0.25, loss="mse")
    optimizer = ks.StaticSparsity("sgd", 0.25, initial_masks=masks)
    optimizer.build(model)
print(ks.check_agreement(optimizer).copies, ks.check_agreement(optimizer).digest)
print(sum(int(mask.sum()) for mask in masks.values()), optimizer.exploration_rate())
""",
        2,
    )
    assert outputs[0] == outputs[1]
    assert outputs[0].split()[::2] == ["2", "48"]
