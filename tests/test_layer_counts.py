"""What a mask update counts of each layer: groups, those that may be active, and shares."""

import numpy as np

import keras_sparse as ks
from keras_sparse.rules.layer_counts import count_layers
from keras_sparse.rules.masked_layer import MaskedLayer


def layer(shape, active, structure=None, momentum=0.0):
    """A layer whose first weights are active."""
    mask = np.arange(np.prod(shape)).reshape(shape) < active
    return MaskedLayer("layer", np.ones(shape), mask, np.full(shape, momentum), structure=structure)


def share(layer):
    return layer.momentum.flat[0]


def test_layers_are_counted_in_their_groups():
    layers = [
        layer((4, 5), 3, momentum=1.0),
        layer((4, 4), 8, ks.Blocks(2, 4), momentum=2.0),  # one of two blocks
        layer((8, 2), 1, ks.NofM(2, 4), momentum=5.0),  # at most 8 of 16
        layer((2, 2), 0, momentum=9.0),  # nothing is active: no share
    ]
    counts = count_layers(layers, share)
    np.testing.assert_array_equal(counts.active, [3, 1, 1, 0])
    np.testing.assert_array_equal(counts.missing, [17, 1, 15, 4])
    np.testing.assert_array_equal(counts.group_size, [1, 8, 1, 1])
    np.testing.assert_array_equal(counts.most, [20, 2, 8, 4])
    np.testing.assert_array_equal(counts.shares, [0.125, 0.25, 0.625, 0.0])
    assert not counts.is_ragged


def test_layers_share_equally_where_no_rule_tells_them_apart():
    still, moving = layer((4, 4), 4), layer((4, 4), 12, ks.Blocks(3, 4), momentum=1.0)
    for layers, rule in (([still, moving], None), ([still, still], share)):
        np.testing.assert_array_equal(count_layers(layers, rule).shares, [0.5, 0.5])
    assert count_layers([still, moving], None).is_ragged  # blocks of 12 and of 4
