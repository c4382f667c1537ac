"""Masks of the published code for LeNet-300-100 on MNIST at density 0.05: its first update.

`golden/lenet300_second_layer.npz` is an excerpt of a recording made by running that code (PyTorch,
MIT licence). It has active weights and normalised shares of all three layers, and the whole second
layer, 300 x 100. Point GOLDEN_MASKS at the recording to compare every layer.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_sparse.rules import scores
from keras_sparse.rules.budget import Counts, grow_counts, prune_counts
from keras_sparse.rules.mask_update import top_k_mask, update_masks
from keras_sparse.rules.masked_layer import MaskedLayer

EXCERPT = Path(__file__).parent / "golden" / "lenet300_second_layer.npz"
RECORDING = os.environ.get("GOLDEN_MASKS", "")
LAYERS = ("fc1.weight", "fc2.weight", "fc3.weight")


def test_second_layer_agrees_to_the_last_weight():
    golden = np.load(EXCERPT)

    def unpack(name):
        return np.unpackbits(golden[name], count=30000).astype(bool).reshape(300, 100)

    mask, weight = unpack("mask"), np.zeros((300, 100), np.float32)
    weight[mask] = golden["active_weights"]
    counts = Counts(
        golden["active"], golden["size"] - golden["active"], np.ones(3, np.int64), golden["share"]
    )
    pruned = prune_counts(counts, float(golden["prune_rate"]))
    grown = grow_counts(counts, pruned)
    active = golden["active"] - pruned + grown
    np.testing.assert_array_equal(active[:2], golden["active_after"][:2])
    assert (
        active[2] == 990
    )  # the published code spends 7 of these on weights that are active already: 983
    kept = top_k_mask(np.abs(weight), int(golden["active"][1] - pruned[1]), mask)
    after = kept | top_k_mask(np.abs(golden["momentum"]), int(grown[1]), ~kept)
    np.testing.assert_array_equal(after, unpack("mask_after"))


@pytest.mark.skipif(
    not RECORDING,
    reason="GOLDEN_MASKS does not name the whole recording; the excerpt above was compared",
)
def test_whole_recording_agrees_where_the_published_code_loses_no_picks():
    golden = np.load(RECORDING)

    def read(when, what, name):
        return golden[f"{when}/{what}/{name}"].T.copy()

    layers = [
        MaskedLayer(
            n, read("pre", "w", n), read("pre", "mask", n).astype(bool), read("pre", "mom", n)
        )
        for n in LAYERS
    ]
    new = update_masks(
        layers,
        0.48789,
        scores.magnitude,
        scores.mean_momentum,
        scores.momentum,
        np.random.default_rng(0),
    )
    assert [int(mask.sum()) for mask in new] == [8811, 3397, 990]
    for mask, name in zip(new[:2], LAYERS[:2], strict=True):
        np.testing.assert_array_equal(mask, read("post", "mask", name).astype(bool))
