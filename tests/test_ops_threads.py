"""The ops are right when several threads call them at once with different masks."""

import threading

import numpy as np
import pytest
from oracle import assert_close, needs_ops, random_case, results

import keras_sparse as ks

tf = pytest.importorskip("tensorflow")
pytestmark = needs_ops


def in_threads(work, count=6):
    """Runs work(0), work(1), ... each in a thread of its own; raises what one of them raises."""
    errors = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(
    ("inputs", "kernel"), [((4, 9, 9, 16), (3, 3, 16, 32)), ((40, 64), (64, 48))]
)
def test_one_function_many_threads_and_masks(inputs, kernel):
    @tf.function
    def function(inputs, kernel, mask):
        return results(case._replace(inputs=inputs, kernel=kernel, mask=mask), False, "custom_op")

    case = random_case(inputs, kernel, 0.2)
    others = [
        random_case(inputs, kernel, density, seed)
        for seed, density in enumerate((0.05, 0.2, 0.2, 0.5, 0.9, 0.0))
    ]
    expected = [results(other, False, "oracle") for other in others]

    def work(index):
        for turn in range(12):
            which = (index + turn) % len(others)
            assert_close(function(*others[which][:3]), expected[which])

    in_threads(work)


def test_eagerly_too():
    cases = [random_case((8, 32), (32, 40), 0.3, seed) for seed in range(6)]

    def work(index):
        for _ in range(20):
            case = cases[index]
            outputs = ks.ops.sparse_matmul(
                case.inputs,
                case.kernel,
                case.mask,
                implementation="custom_op",
                name=f"layer_{index % 2}",
            )
            np.testing.assert_allclose(
                outputs, case.inputs @ (case.kernel * case.mask), rtol=1e-4, atol=1e-4
            )

    in_threads(work)
