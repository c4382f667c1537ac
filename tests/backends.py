"""Parametrizations of which TensorFlow runs all values, and other backends some."""

import pytest


def each(argument, values, on_jax):
    """A test for each value, or tuple of them; those ``on_jax`` depend on the backend."""
    chosen = [
        pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.backend)
        if v in on_jax
        else v
        for v in values
    ]
    return pytest.mark.parametrize(argument, chosen)
