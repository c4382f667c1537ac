"""MaskTensorBoard: figures, histograms and pictures of a mask that moves."""

import keras
import numpy as np
import pytest
from board_files import HEAD, HIDDEN, known_masks, points, read, tensors
from helpers import array, compiled, fit, sparse

import keras_sparse as ks

backend = pytest.mark.backend


@pytest.fixture
def board(tmp_path):
    """A callback that writes to a folder, and what is in it afterwards."""
    return ks.MaskTensorBoard(tmp_path)


class Move(keras.callbacks.Callback):
    """Before step 2, moves the mask of the hidden layer by one input: 16 pruned and 16 grown."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 2:
            _ = self.model
            mask = np.roll(known_masks()[HIDDEN], 1, axis=0)
            self.seen = array(self.model.get_layer("hidden").kernel)
            self.momentum = ks.momentum_of(self.model.optimizer.inner_optimizer, 0)
            self.model.optimizer.set_masks({HIDDEN: mask})


@pytest.fixture
def moved(board, tmp_path):
    """(the events, the callback that moved the mask)"""
    model = compiled(sparse(initial_masks=known_masks(), prune=None, grow=None))
    move = Move()
    fit(model, board, ks.UpdateMasks(), move, epochs=1)
    return read(tmp_path), move


@backend
def test_figures_of_a_mask_that_moves_by_one_input(moved):
    found, _ = moved
    assert points(found, f"density/{HIDDEN}") == [(0, 0.25), (2, 0.25)]
    assert points(found, f"pruned/{HIDDEN}") == [(0, 0), (2, 16)]
    assert points(found, f"grown/{HIDDEN}") == [(0, 0), (2, 16)]
    assert points(found, f"exploration_rate/{HIDDEN}") == [(0, 0.25), (2, 0.375)]
    assert points(found, f"pruned/{HEAD}") == [(0, 0), (2, 0)]
    assert points(found, f"exploration_rate/{HEAD}") == [(0, 0.25), (2, 0.25)]
    assert points(found, "total/density") == [(0, 0.25), (2, 0.25)]
    assert points(found, "total/grown") == [(0, 0), (2, 16)]
    assert points(found, "total/exploration_rate") == [(0, 0.25), (2, pytest.approx(64 / 192))]
    assert points(found, "total/multiply_adds") == [(0, 48), (2, 48)]


@backend
def test_the_end_of_an_epoch_has_the_axis_of_keras(moved):
    found, _ = moved
    assert points(found, f"epoch_density/{HIDDEN}") == [(0, 0.25)]
    assert points(found, f"epoch_exploration_rate/{HIDDEN}") == [(0, 0.375)]
    assert points(found, "epoch_total/multiply_adds") == [(0, 48)]


@backend
def test_histograms_show_what_the_update_found(moved):
    found, move = moved
    (_, first), (step, weights) = tensors(found, f"weights/{HIDDEN}")
    assert step == 2
    assert first.shape == weights.shape == (30, 3)
    assert weights[:, 2].sum() == 32
    seen = move.seen[:2]
    assert (weights[0, 0], weights[-1, 1]) == (seen.min(), seen.max())
    np.testing.assert_array_equal(weights[:, 2], np.histogram(seen, 30)[0])
    (_, zeros), (_, momenta) = tensors(found, f"momentum/{HIDDEN}")
    np.testing.assert_array_equal(zeros[:, :2], 0)  # before the first step
    assert zeros[-1, 2] == momenta[:, 2].sum() == 128
    np.testing.assert_array_equal(momenta[:, 2], np.histogram(move.momentum, 30)[0])


@backend
def test_pictures_of_masks(moved):
    import tensorflow as tf

    found, _ = moved
    (_, first), (step, image) = tensors(found, f"mask/{HIDDEN}")
    assert step == 2
    assert list(image[:2]) == [b"16", b"8"]  # width, height
    for picture, begin in ((first, 0), (image, 1)):
        pixels = tf.io.decode_png(picture[2]).numpy()[..., 0]
        expected = np.zeros((8, 16), np.uint8)
        expected[begin : begin + 2] = 255
        np.testing.assert_array_equal(pixels, expected)


def test_a_picture_is_of_channels_and_its_light_is_their_density(board, tmp_path):
    """A convolution of 1 to 512 channels: the first 256 have 1 of 4 taps, the others all."""
    import tensorflow as tf

    conv = keras.layers.Conv2D(512, 2, name="conv")
    model = keras.Sequential([keras.Input((2, 2, 1)), conv, keras.layers.Flatten()], name="net")
    mask = np.ones((2, 2, 1, 512), bool)
    mask[:, :, 0, :256] = [[[True], [False]], [[False], [False]]]
    compiled(sparse(initial_masks={"net/conv/kernel": mask}, density=0.625), model)
    board.set_model(model)
    board.on_train_begin()
    model.optimizer.build(model)
    board.on_train_batch_begin(0)
    ((_, (width, height, png)),) = tensors(read(tmp_path), "mask/net/conv/kernel")
    assert (width, height) == (b"256", b"1")
    pixels = tf.io.decode_png(png).numpy()[0, :, 0]
    assert pixels.tolist() == [137] * 128 + [255] * 128  # a quarter of white's light is 137 in sRGB
