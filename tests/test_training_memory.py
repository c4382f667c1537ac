"""A training holds what it needs: mask updates choose weights with one copy of their scores."""

import tracemalloc

import numpy as np

from keras_sparse.rules.mask_update import top_k_mask

RNG = np.random.default_rng(0)


def test_the_best_scores_are_chosen_with_one_copy_of_them():
    score = RNG.random((512, 1024), dtype=np.float32)
    missing = RNG.random(score.shape) < 0.95
    tracemalloc.start()
    try:
        for among in (None, missing):
            top_k_mask(score, 1000, among)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2 * score.nbytes
