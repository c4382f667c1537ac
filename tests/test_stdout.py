"""Tables are printed where stdout lacks letters, and nothing where there is no stdout."""

import io
import sys

import keras

import keras_sparse as ks
from keras_sparse.__main__ import main


def test_names_have_letters_that_stdout_lacks(tmp_path, monkeypatch):
    named = tmp_path / "für.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save_weights(named)
    printed = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["inspect", str(named)]) == 0
    printed.flush()
    assert rb"f\xfcr." in printed.buffer.getvalue()


def test_a_process_without_stdout_prints_nothing(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.save(tmp_path / "a.keras")
    monkeypatch.setattr(sys, "stdout", None)
    ks.summary(ks.sparsify(model, verbose=True))
    for words in ([], ["--json"]):
        monkeypatch.setattr(sys, "stdout", None)
        assert main(["inspect", str(tmp_path / "a.keras"), *words]) == 0
        sys.stdout.close()
