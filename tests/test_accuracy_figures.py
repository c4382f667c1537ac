"""The accuracy benchmark counts operations, intervals, densities and specialisation as by hand."""

import keras
import numpy as np
import pytest

from benchmarks import class_specialisation, density_log, report, training_flops


def test_a_dense_step_has_three_products_a_layer_but_the_first():
    # 7 examples: 2 x (2 x 10 + 3 x 20)
    assert training_flops.dense_flops([10, 20], epochs=1, examples=7) == 7 * 160


def test_weight_gradients_are_dense_in_the_open_share_of_steps():
    # forward 1, no input gradient; weights: a quarter of the steps 10, else 1
    flops = training_flops.training_flops([10], [[0.1]], [0.25], examples=1)
    assert flops == 2 * (1 + 0.25 * 10 + 0.75 * 1)


def test_densities_that_fall_count_epoch_by_epoch():
    # 2 x (10 + 10), then 2 x (5 + 5)
    assert training_flops.training_flops([10], [[1.0], [0.5]], [0.0, 0.0], examples=1) == 60


@pytest.mark.parametrize(
    ("window", "shares"),
    [
        (0, [0, 0, 0]),
        (1, [0.01, 0.01, 0]),
        (25, [0.25, 0.25, 0]),
        (500, [1, 1, 0]),
        (np.inf, [1, 1, 1]),
    ],
)
def test_the_window_opens_before_each_update_and_none_follows_the_last_epoch(window, shares):
    assert training_flops.open_shares(window, steps=100, epochs=3) == shares


def test_the_interval_is_that_of_student():
    stats = pytest.importorskip("scipy.stats")
    for values in ([1.0, 2.0], [1.3, 1.25, 1.28], list(range(31))):
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert report.confidence_interval(values) == pytest.approx((low, high), rel=1e-3)


def test_the_interval_of_many_values_is_a_little_too_wide():
    values = [0.0, 1.0] * 30
    low, high = report.confidence_interval(values)
    assert high - low == pytest.approx(2 * 2.042 * report.standard_error(values))


class FakeOptimizer:
    """Masks of two layers, changed before step 3 of the second epoch."""

    def __init__(self):
        self.last_update = 0
        self.masks = {"a": np.array([True, True]), "b": np.array([True, False])}

    def counter(self, name):
        assert name == "last_update"
        return self.last_update


def test_the_log_has_the_mean_density_of_each_epoch_also_if_masks_change_within():
    optimizer = FakeOptimizer()
    log = density_log.DensityLog(optimizer, ["b", "a"])
    for epoch in range(2):
        log.on_epoch_begin(epoch)
        for first in (0, 3):  # a call of three steps, one of one
            if (epoch, first) == (1, 3):
                optimizer.last_update, optimizer.masks["a"] = 7, np.array([False, False])
            log.on_train_batch_begin(first)
            log.on_train_batch_end(2 if first == 0 else 3)
        log.on_epoch_end(epoch)
    assert log.densities == [[0.5, 1.0], [0.5, 0.75]]


def test_a_channel_active_for_one_class_has_a_specialisation_of_one():
    assert class_specialisation.specialisation_of(np.array([[4.0, 0.0], [2.0, 2.0]])).tolist() == [
        1.0,
        0.5,
    ]


def test_the_least_active_channels_of_a_layer_are_left_out():
    # 2, 96 and 4 of 102: the first holds less than 5 %, the first and the last hold more
    activity = np.array([[2.0, 0.0], [48.0, 48.0], [2.0, 2.0]])
    assert class_specialisation.specialisation_of(activity).tolist() == [0.5, 0.5]


def test_a_layer_without_activity_has_no_specialisation():
    assert class_specialisation.specialisation_of(np.zeros((3, 10))).size == 0


def test_the_activity_of_channels_is_summed_by_class():
    convolution = keras.layers.Conv2D(2, 1, activation="relu", name="conv")
    model = keras.Sequential([keras.Input((1, 2, 1)), convolution])
    convolution.set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2)])
    images = np.array([[[1.0], [2.0]], [[-5.0], [1.0]]])[:, None]
    found = class_specialisation.activities(model, images, np.array([0, 1]))
    assert list(found) == ["conv"]
    assert found["conv"].tolist() == [[3.0, 1.0], [0.0, 5.0]]
