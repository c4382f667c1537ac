"""Batches of the examples: every image once an epoch, moved, mirrored, and the same again."""

import keras
import numpy as np
import pytest

from examples.batches import Batches

IMAGES = np.arange(10 * 6 * 5 * 3, dtype="float32").reshape(10, 6, 5, 3)
LABELS = np.arange(10)


def views(image):
    """All that moves by up to four pixels and a mirror make of an image."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    windows = [padded[i : i + 6, j : j + 5] for i in range(9) for j in range(9)]
    return [window[:, ::step] for window in windows for step in (1, -1)]


def epoch_of(batches):
    return [batches[i] for i in range(len(batches))]


def test_an_image_is_a_moved_and_perhaps_mirrored_view_of_the_original():
    batches = Batches(IMAGES, LABELS, 5, seed=0)
    seen = set()
    for images, labels in epoch_of(batches):
        for image, label in zip(images, labels, strict=True):
            possible = views(IMAGES[label])
            found = [k for k in range(len(possible)) if np.array_equal(possible[k], image)]
            assert found
            seen.add(found[0])
    assert {k % 2 for k in seen} == {0, 1}
    assert len(seen) > 5


def test_every_view_occurs():
    batches = Batches(np.repeat(IMAGES[:1], 3000, 0), np.zeros(3000), 3000, seed=0)
    found = {image.tobytes() for image in batches[0][0]}
    assert found == {view.tobytes() for view in views(IMAGES[0])}


def test_an_epoch_has_each_image_at_most_once_in_an_order_of_its_own():
    batches = Batches(IMAGES, LABELS, 3, seed=0, augment=False)
    orders = []
    for _ in range(3):
        batches.on_epoch_begin()
        pairs = epoch_of(batches)
        labels = np.concatenate([labels for _, labels in pairs])
        np.testing.assert_array_equal(np.concatenate([x for x, _ in pairs]), IMAGES[labels])
        assert len(set(labels)) == 9  # the tenth is left out
        orders.append(tuple(labels))
    assert len(set(orders)) == 3


def test_a_dataset_has_the_batches_of_an_epoch_after_the_other_and_is_not_tuned():
    batches, same = (Batches(IMAGES, LABELS, 3, seed=0) for _ in range(2))
    dataset = batches.dataset()
    for _ in range(2):
        same.on_epoch_begin()
        found = list(dataset.as_numpy_iterator())
        assert len(found) == len(dataset) == 3
        for pair, other in zip(found, epoch_of(same), strict=True):
            for array, expected in zip(pair, other, strict=True):
                np.testing.assert_array_equal(array, expected)
    assert dataset.options().autotune.enabled is False


@pytest.mark.backend
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_resumed_training_sees_the_same_batches(as_dataset):
    class Seen(keras.callbacks.Callback):
        """What the model computes of the batches, by epoch."""

        def __init__(self):
            self.losses = {}

        def on_train_batch_end(self, batch, logs=None):
            self.losses.setdefault(self.epoch, []).append(round(float(logs["loss"]), 2))

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    def fit(first):
        summed = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Sequential([keras.layers.Flatten(), summed])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        batches, seen = Batches(IMAGES, LABELS, 3, seed=7), Seen()
        options = {"shuffle": False, "verbose": 0, "callbacks": [batches.follow(), seen]}
        data = batches.dataset() if as_dataset else batches
        model.fit(data, epochs=4, initial_epoch=first, **options)
        return seen.losses

    whole, resumed = fit(0), fit(2)
    assert resumed == {epoch: whole[epoch] for epoch in (2, 3)}
    assert len({tuple(losses) for losses in whole.values()}) == 4


@pytest.mark.parametrize("batch", [0, 11])
def test_a_batch_that_no_epoch_could_fill_is_refused(batch):
    with pytest.raises(ValueError, match=f"Received: batch={batch}"):
        Batches(IMAGES, LABELS, batch, seed=0)
