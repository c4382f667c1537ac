"""A plot of what the callback saw."""

import sys

import pytest
from helpers import compiled, fit

import keras_sparse as ks

HISTORY = {"step": [4, 8], "a/kernel": [0.1, 0.2], "b/kernel": [0.3, 0.2]}


def test_a_plot_of_a_training(tmp_path):
    pytest.importorskip("matplotlib")
    callback = ks.UpdateMasks()
    fit(compiled(), callback)
    path = ks.plot_history(callback, tmp_path / "density.png")
    assert path == tmp_path / "density.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_each_weight_is_a_line(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figure, axes = ks.plots._figure()
    monkeypatch.setattr(ks.plots, "_figure", lambda: (figure, axes))
    ks.plot_history(HISTORY, str(tmp_path / "density.png"))
    drawn = [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn == [("a/kernel", [4, 8], [0.1, 0.2]), ("b/kernel", [4, 8], [0.3, 0.2])]


@pytest.mark.parametrize("history", [{}, {"step": []}, ks.UpdateMasks()])
def test_nothing_to_draw(history):
    with pytest.raises(ValueError, match="`history` is empty: pass the UpdateMasks callback after `fit`"):
        ks.plot_history(history)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install keras-sparse\[plot\]"):
        ks.plot_history(HISTORY)
