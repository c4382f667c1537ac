"""Fixtures of tests of training: the steps of mask updates, and a dtype policy for one test."""

import keras
import pytest

import keras_sparse as ks
from keras_sparse.compute import tuned

collect_ignore = ["mutants"]  # needs cosmic-ray


@pytest.fixture(autouse=True, scope="session")
def shipped_table():
    """The same break-even densities on processors with AMX, for tests of all that reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned, "has_fast_16_bits", lambda: False)
        yield


@pytest.fixture
def updates(monkeypatch):
    """The optimizer steps at which masks were updated, in a list that grows."""
    steps, update_masks = [], ks.SparseMomentum.update_masks

    def noting(self):
        steps.append(self.step())
        update_masks(self)

    monkeypatch.setattr(ks.SparseMomentum, "update_masks", noting)
    return steps


@pytest.fixture
def policy():
    """Sets a dtype policy for one test: ``policy("mixed_float16")``."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)
