"""Tables show names as they are: brackets are no markup, and colons are no emoji."""

from pathlib import Path

import keras
import pytest

import keras_sparse as ks
from keras_sparse.__main__ import main

NAME = ":smile:[old]"


def network():
    layers = [keras.layers.Dense(8, name="a"), keras.layers.Dense(8, name="b")]
    return keras.Sequential([keras.Input((8,)), *layers], name=NAME)


@pytest.mark.backend
def test_names_of_models(capsys):
    model = network()
    ks.summary(model)
    assert f"Sparsity of '{NAME}'" in capsys.readouterr().out
    ks.sparsify(model, verbose=True)
    assert f"Conversion of '{NAME}'" in capsys.readouterr().out


def test_names_of_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path would have a line break
    path = Path(NAME) / "m.keras"
    path.parent.mkdir()
    report = ks.export(network(), path, "keras")
    assert NAME in capsys.readouterr().out
    assert NAME in str(report)
    assert main(["inspect", str(path)]) == 0
    assert NAME in capsys.readouterr().out
