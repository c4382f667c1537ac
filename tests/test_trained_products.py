"""Training steps with a closed growth window have break-even densities of their own."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from helpers import sgd
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.commands.break_even_fit import Point, fitted
from keras_sparse.compute import tuned
from keras_sparse.compute.break_even import Row
from keras_sparse.compute.choice import choose
from keras_sparse.compute.product import Product
from keras_sparse.rules.blocks import Blocks

pytestmark = needs_ops
IN_BLOCKS = Blocks(4, 4, per_tap=True)
CONV = Product("conv2d", (3, 3, 64, 64), "bfloat16", padding="same", structure=IN_BLOCKS)
ACTIVE_ONLY = dataclasses.replace(CONV, dense_gradient=False)
ROW = Row("trained convolution", "bfloat16", "blocks", 0.24, 0, 2e6, 4e6, narrow=3.4)


@pytest.fixture(autouse=True)
def with_amx(monkeypatch, tmp_path):
    """The shipped table of processors with AMX: trained convolutions have rows of their own."""
    monkeypatch.setattr(tuned, "instructions", lambda: frozenset({"amx_bf16"}))
    tuned.tables.cache_clear()
    yield
    tuned.tables.cache_clear()


@pytest.mark.parametrize(("width", "density"), [(32, 0.24), (8, 0.425), (2, 1.0), (None, 0.24)])
def test_narrow_images_raise_the_density(width, density):
    of = choose(ACTIVE_ONLY.on((10**6, width, width, 64)))
    assert of.break_even == pytest.approx(density, abs=1e-3)


def test_dense_gradients_and_predictions_have_the_lower_density():
    assert choose(CONV).break_even == 0.18
    assert choose(dataclasses.replace(ACTIVE_ONLY, trains=False)).break_even == 0.18
    for is_dense, density in ((True, 0.18), (False, 0.24)):
        now = dataclasses.replace(CONV, dense_gradient=lambda is_dense=is_dense: np.array(is_dense))
        assert float(choose(now).break_even) == pytest.approx(density)


def test_dtypes_without_such_a_row_have_one_density():
    for wanted in (False, lambda: pytest.fail("nothing depends on it")):
        one = dataclasses.replace(CONV, dtype="float32", dense_gradient=wanted)
        assert choose(one).break_even == 0.86


def in_fit(window, ran):
    """Fits 12 steps at density 0.2, which is between; returns in how many the custom op ran."""
    conv = keras.layers.Conv2D(64, 3, padding="same", dtype="mixed_bfloat16")
    model = ks.sparsify(keras.Sequential([keras.Input((8, 8, 64)), conv]))
    optimizer = ks.SparseMomentum(sgd(), 0.2, structure=IN_BLOCKS, growth_window=window, seed=0)
    model.compile(optimizer, "mse")
    data = np.ones((96, 8, 8, 64), "float32")
    model.fit(data, data, batch_size=8, verbose=0, callbacks=[ks.UpdateMasks(every=6)])
    conv = model.layers[-1]
    shape = (8, 8, 8, 64)
    return len(ran), conv.runs_as(shape), conv.runs_as(shape, training=False)


WHY = "stock: density 0.20 is above 0.16 for 512 output positions"


def test_the_op_runs_while_the_window_is_closed(ran):
    """Updates at steps 6 and 12: the window is open in steps 4, 5, 10 and 11."""
    assert in_fit(2, ran) == (8, "custom op", WHY)


def test_with_a_window_that_never_closes_the_stock_operation_runs(ran):
    assert in_fit(None, ran) == (0, WHY, WHY)


def test_a_fit_keeps_the_ratio_of_the_widths_and_is_rather_below():
    points = [Point(10**6, 10**6, density, width) for width, density in ((32, 0.3), (4, 1.0))]
    found = fitted(points, ROW)
    assert found.density == 0.3
    assert found.narrow == pytest.approx(0.3 * 3.4 / 0.24, abs=0.01)
    lower = fitted([points[0], Point(10**6, 10**6, 0.2, math.inf)], ROW)
    assert lower.density == pytest.approx((0.3 + 4 * 0.2) / 5, abs=0.01)
