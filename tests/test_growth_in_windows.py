"""With a growth window, a training grows the same weights as the published method, or nearly."""

import functools
import itertools

import keras
import numpy as np
import pytest
from helpers import array

import keras_sparse as ks

BATCHES, BATCH = 300, 32  # of an epoch


@functools.cache
def digits():
    """The handwritten digits, 8x8: batches drawn from 1,797 images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).integers(0, len(images), (BATCHES, BATCH))
    return (images[order] / 16).astype("float32")[..., None].reshape(
        BATCHES, BATCH, 8, 8, 1
    ), labels[order]


def digits_model(growth_window, implementation="auto", rate=0.01):
    """2304 and 8192 masked weights at density 0.1."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="stem"),
            ks.layers.SparseConv2D(
                16, 3, padding="same", activation="relu", implementation=implementation, name="conv"
            ),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            ks.layers.SparseDense(
                32, activation="relu", implementation=implementation, name="hidden"
            ),
            keras.layers.Dense(10, activation="softmax", name="head"),
        ]
    )
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(rate, momentum=0.9),
        0.1,
        dense=["stem", "head"],
        growth_window=growth_window,
        prune_rate=0.3,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    optimizer.build(model)
    return model


def all_masks(model):
    return np.concatenate([mask.reshape(-1) for mask in model.optimizer.masks.values()])


IMPLEMENTATIONS = [
    "stock",
    pytest.param(
        "auto",
        marks=pytest.mark.skipif(
            keras.backend.backend() != "tensorflow" or not ks.ops.available(),
            reason="no custom ops here",
        ),
    ),
]


@pytest.mark.slow
def test_with_a_window_of_250_steps_the_masks_of_a_training_are_the_published_ones():
    def masks_of_epochs(growth_window):
        model, seen = digits_model(growth_window, "stock", rate=0.03), []
        note = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(all_masks(model))
        )
        images, labels = digits()
        data = images.reshape(-1, 8, 8, 1), labels.reshape(-1)
        model.fit(
            *data,
            batch_size=BATCH,
            epochs=4,
            shuffle=False,
            verbose=0,
            callbacks=[ks.UpdateMasks(), note],
        )
        assert model.evaluate(*data, verbose=0) < 0.1  # it learns
        return seen

    published, windowed = masks_of_epochs(None), masks_of_epochs(250)
    assert all((after & ~before).sum() > 100 for before, after in itertools.pairwise(published))
    for one, other in zip(windowed, published, strict=True):
        np.testing.assert_array_equal(one, other)


def same_growth(window, implementation, epochs=2):
    """The share of the published method's growth that a window grows from the same weights."""
    published, windowed = digits_model(None, implementation), digits_model(window, implementation)
    grown, same = 0, 0
    for _ in range(epochs):
        before = all_masks(published)
        for batch, (images, labels) in enumerate(zip(*digits(), strict=True)):
            if batch == BATCHES - window:
                copy_active(published, windowed)
            windowed.optimizer.open_growth_window(batch >= BATCHES - window)
            for model in (published, windowed):
                model.train_on_batch(images, labels)
        for model in (published, windowed):
            model.optimizer.update_masks()
        new = all_masks(published) & ~before
        grown, same = grown + new.sum(), same + (all_masks(windowed) & new).sum()
        windowed.set_weights(published.get_weights())
        windowed.optimizer.set_weights(
            [array(variable) for variable in published.optimizer.variables]
        )
    assert grown > 300
    return same / grown


def copy_active(source, target):
    """Weights and momenta of active weights are close: sparse gradients are summed otherwise."""
    target.set_weights(source.get_weights())
    mask_of = {one.index: one.mask_variable for one in source.optimizer.masked_weights}
    masks = [mask_of.get(i) for i in range(8)]
    for mask, ours, theirs in zip(
        masks,
        target.optimizer.inner_optimizer.momentums,
        source.optimizer.inner_optimizer.momentums,
        strict=True,
    ):
        ours.assign(
            array(theirs) if mask is None else np.where(array(mask), array(theirs), array(ours))
        )


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_each_update_with_a_window_of_50_steps_grows_what_the_published_one_grows(implementation):
    """50 is what "auto" chooses: 0.9^50 is 0.5 %, one to three of some 400 weights are others."""
    assert same_growth(50, implementation) >= 0.99


@pytest.mark.slow
def test_each_update_with_a_window_of_100_steps_grows_nearly_all_that_the_published_one_grows():
    assert same_growth(100, "auto") >= 0.995


@pytest.mark.slow
@pytest.mark.skipif(not ks.ops.available(), reason="there are no compiled ops")
def test_each_update_with_a_window_of_one_step_grows_others():
    assert same_growth(1, "custom_op") < 0.9


@pytest.mark.slow
def test_stock_operations_give_missing_weights_gradients_in_every_step_whatever_the_window():
    assert same_growth(1, "stock") == 1.0
