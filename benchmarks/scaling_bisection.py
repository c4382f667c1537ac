"""Finds a threshold without sorting, in 31 passes over float32 scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scaling_constants import cpu_seconds
from scaling_model import BISECTION_STEPS


def bisection() -> Callable[[Any, Any], Any]:
    """A compiled function: (scores >= 0, float32; k) -> the k-th largest of them, bit by bit from the highest."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def threshold(scores: Any, k: Any) -> Any:
        bits = tf.bitcast(
            scores, tf.int32
        )  # floats that are not negative are ordered as their bits are
        found = tf.constant(0, tf.int32)
        for bit in tf.range(BISECTION_STEPS - 1, -1, -1):
            candidate = found | tf.bitwise.left_shift(1, bit)
            enough = tf.reduce_sum(tf.cast(bits >= candidate, tf.int32)) >= k
            found = tf.where(enough, candidate, found)
        return tf.bitcast(found, tf.float32)

    return threshold


def check(weights: int, repeats: int = 3) -> tuple[float, float, float, bool]:
    """CPU seconds to read all scores once, of the bisection, of np.partition, and whether the two thresholds are the same."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    values = np.abs(rng.standard_normal(weights, dtype=np.float32))
    scores, chosen, threshold = tf.constant(values), weights // 10, bisection()
    once = cpu_seconds(values.max, repeats)  # little but reading
    whole = cpu_seconds(lambda: threshold(scores, tf.constant(chosen)), repeats)
    partition = cpu_seconds(lambda: np.partition(values, weights - chosen), repeats)
    same = float(threshold(scores, tf.constant(chosen))) == float(
        np.partition(values, weights - chosen)[weights - chosen]
    )
    return once, whole, partition, same
