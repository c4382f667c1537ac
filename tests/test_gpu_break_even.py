"""The break-even densities of GPUs, from what benchmarks/gpu/run.py measured, by hand."""

import pytest

from benchmarks.gpu import break_even
from benchmarks.gpu.layers import Layer

SMALL, LARGE = Layer(3, 64, 64, 8, 128), Layer(3, 256, 256, 8, 128)


class Measured:
    """Stands for Results: times of a kernel over those of dense, by layer and density."""

    def __init__(self, times, wrong=None):
        self.times, self.wrong, self.layers = times, wrong, tuple(times)

    def ratio(self, layer, arithmetic, block, density):
        time = self.times[layer].get(density)
        is_measured = (arithmetic, block) == ("bfloat16", 32)
        return 1 / time if time and is_measured else None

    def status(self, layer, arithmetic, block, density):
        return "wrong" if density == self.wrong else "right"


def densities(measured):
    return {
        (row["smallest_channels"], row["density"], row["layers"])
        for row in break_even.rows(measured)
    }


@pytest.mark.parametrize(
    ("times", "density"),
    [
        ({0.1: 0.5, 0.25: 1.5}, 0.17),  # 0.175, rounded down
        ({0.1: 1.0, 0.25: 2.0}, 0.1),
        ({0.02: 0.4, 0.1: 0.5, 0.25: 0.6, 0.5: 1.0}, 0.5),
        ({0.1: 0.5, 0.25: 0.9}, 0.25),  # denser masks were not measured
        ({0.02: 0.9, 0.05: 1.1, 0.1: 0.8}, 0.03),
    ],
)
def test_a_kernel_takes_as_long_as_dense_between_two_measured_densities(times, density):
    assert densities(Measured({SMALL: times, LARGE: times})) == {(64, density, 2)}


def test_the_slowest_layer_counts_and_wide_layers_have_rows_of_their_own():
    slow, fast = {0.1: 0.5, 0.25: 1.5}, {0.1: 0.2, 0.25: 0.8, 0.5: 2.0}
    other = Layer(3, 256, 256, 16, 128)
    measured = Measured({SMALL: slow, LARGE: fast, other: fast})
    of_wide = {(64, 0.29, 2), (256, 0.29, 2)}  # of as many multiplications, and of as many channels
    assert densities(measured) == {(64, 0.17, 3), *of_wide}


def test_where_the_kernel_is_slower_or_wrong_there_is_no_row():
    assert not densities(Measured({SMALL: {0.02: 1.1}, LARGE: {0.02: 0.5}}))
    times = {0.02: 0.5, 0.1: 0.6}
    assert densities(Measured({SMALL: times, LARGE: times}, wrong=0.1)) == {(64, 0.02, 2)}
