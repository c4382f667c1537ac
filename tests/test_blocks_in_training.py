"""Masks of blocks stay whole in a training, near the density."""

import keras
import numpy as np
import pytest
from helpers import active, assert_same, assert_sparse, built, compiled, fit, sgd, sparse, toy_data
from steps_by_hand import training_by_hand

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN = "toy/hidden/kernel"


@backend
@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"grow": "gradient", "redistribute": None},
        {"redistribute": "mean_magnitude", "grow": "random"},
    ],
)
def test_blocks_stay_whole(rules):
    layers = [
        keras.Input((8, 8, 4)),
        keras.layers.Conv2D(8, 3, activation="tanh"),
        keras.layers.Conv2D(8, 3),
        keras.layers.GlobalAveragePooling2D(),
    ]
    model = compiled(
        ks.SparseMomentum(sgd(), 0.25, block_shape=(2, 4), prune_rate=0.5, **rules),
        keras.Sequential([*layers, keras.layers.Dense(4)]),
    )
    seen = []
    for _ in training_by_hand(model.optimizer, model, steps=7, every=2):
        masks = list(model.optimizer.masks.values())
        for mask in masks:
            taps = mask.reshape(-1, mask.shape[-2] // 2, 2, mask.shape[-1] // 4, 4)
            np.testing.assert_array_equal(taps.any(axis=(0, 2, 4)), taps.all(axis=(0, 2, 4)))
        seen.append(np.concatenate([mask.reshape(-1) for mask in masks]))
    assert len({mask.sum() for mask in seen}) == 1
    assert (seen[0] != seen[-1]).any()


def test_blocks_need_not_divide_the_channels():
    """Of 8 x 16 and 16 x 4 weights, 48 are a quarter; the smallest blocks have 2 and 4."""
    optimizer = built(block_shape=(3, 5)).optimizer
    assert 48 - 4 < active(optimizer) <= 48
    for path, mask in optimizer.masks.items():
        ks.Blocks(3, 5).check_whole(path, mask)


@pytest.mark.parametrize("shape", [4, (4,), (4, 0), (4.0, 4), "44", (True, 2)])
def test_what_is_no_block_shape(shape):
    with pytest.raises(ValueError, match="`block_shape` must be None or two positive integers"):
        ks.SparseMomentum(sgd(), 0.5, block_shape=shape)


def convolutions():
    """Blocks of 4 x 8 channels have 288, 288 and 32 weights; a quarter of all 9472 is 2368."""
    layers = [
        keras.layers.Conv2D(32, 3),
        keras.layers.Conv2D(16, 3, strides=2),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(16),
    ]
    return keras.Sequential([keras.Input((12, 12, 16)), *layers])


@pytest.mark.parametrize("method", [ks.SparseMomentum, ks.RigL, ks.SET])
def test_the_density_is_right_to_the_nearest_block(method):
    model = compiled(method(sgd(), density=0.25, block_shape=(4, 8)), convolutions())
    for _ in training_by_hand(model.optimizer, model, steps=6, every=2):
        assert active(model.optimizer) == 2368


def test_fit_keeps_the_density_to_the_nearest_block():
    model = compiled(sparse(block_shape=(4, 8)), convolutions())
    fit(model, ks.UpdateMasks(every=2), data=toy_data((12, 12, 16), 16), epochs=1)
    assert active(model.optimizer) == 2368


def test_a_schedule_of_the_density_ends_at_the_nearest_block():
    model = compiled(
        ks.GradualPruning(sgd(), ks.CubicOverTraining(0.25, end=0.5), block_shape=(4, 8)),
        convolutions(),
    )
    fit(model, ks.UpdateMasks(), data=toy_data((12, 12, 16), 16))
    assert active(model.optimizer) == 2368
    for path, mask in model.optimizer.masks.items():
        ks.Blocks(4, 8).check_whole(path, mask)


def test_fewer_weights_than_blocks_are_an_error():
    with pytest.raises(
        ValueError,
        match=r"fewer active weights \(95\) than one block in each of the 3 masked layers has "
        r"\(608\), "
        r"with block_shape=\(4, 8\)",
    ):
        compiled(sparse(density=0.01, block_shape=(4, 8)), convolutions()).optimizer.build(
            convolutions()
        )


def test_masks_that_are_no_blocks_are_refused():
    model = built(block_shape=(4, 4))
    before = model.optimizer.masks
    with pytest.raises(
        ValueError,
        match=r"'toy/hidden/kernel' is not made of whole blocks.*\(4, 4\). Received: . of 8 blocks",
    ):
        model.optimizer.set_masks({HIDDEN: np.random.default_rng(0).random((8, 16)) < 0.25})
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


def test_weights_of_single_masks_are_refused_by_blocks(tmp_path):
    singles = built()
    singles.save_weights(tmp_path / "singles.weights.h5")
    model = built(block_shape=(4, 4))
    with pytest.raises(ValueError, match="is not made of whole blocks"):
        model.load_weights(tmp_path / "singles.weights.h5")
    model = built(block_shape=(4, 4))
    model.set_weights(singles.get_weights())
    with pytest.raises(
        ValueError,
        match=r"not those of this sparse run: \d+ of them, in whole blocks "
        r"\(block_shape=\(4, 4\)\), are not zero",
    ):
        fit(model, ks.UpdateMasks())
    model = compiled(sparse(block_shape=(4, 4), initial_masks="nonzero"), singles)
    with pytest.warns(
        UserWarning,
        match=r'initial_masks="nonzero" keeps .* of them in whole blocks \(block_shape=\(4, 4\)\)',
    ):
        fit(model, ks.UpdateMasks())


def test_weights_of_an_earlier_epoch_bring_whole_blocks():
    model = compiled(sparse(block_shape=(4, 4)))
    stop = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, mode="max")
    fit(model, ks.UpdateMasks(), stop, epochs=4)
    assert active(model.optimizer) == 48
    for path, mask in model.optimizer.masks.items():
        ks.Blocks(4, 4).check_whole(path, mask)
    assert_sparse(model)


def test_an_update_of_masks_that_are_no_blocks_is_an_error():
    model = built(block_shape=(4, 4))
    model.optimizer.mask_variables[0].assign(np.eye(8, 16, dtype=bool))
    model.optimizer.start_training(10)
    with pytest.raises(ValueError, match="'toy/hidden/kernel' is not made of whole blocks"):
        model.optimizer.update_masks()
