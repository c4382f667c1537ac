"""``python -m keras_sparse report FILE``: models, weights alone, logs, and what cannot be read."""

import sys
import types

import keras
import pytest
from helpers import compiled, fit, sparse, toy_model
from report_pages import Page, titles

import keras_sparse as ks
from keras_sparse.__main__ import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of one training: model.keras, model.sparse, model.weights.h5 and log.csv."""
    folder = tmp_path_factory.mktemp("trained")
    log = keras.callbacks.CSVLogger(folder / "log.csv")
    model = compiled(sparse(), metrics=["mae"])
    fit(model, log, ks.UpdateMasks("epoch", log_layers=True))
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    ks.save_compressed(model, folder / "model.sparse")
    return folder


def run(*words):
    return main(["report", *map(str, words)])


def test_a_saved_model_and_its_log(folder, tmp_path, capsys):
    path, log = tmp_path / "page.html", folder / "log.csv"
    assert run(folder / "model.keras", "--output", path, "--log", log, "--batch", 8) == 0
    assert capsys.readouterr().out == f"{path}\n"
    page = Page(path)
    total = page.rows()["total"]
    assert (total["density"], total["multiply-adds, dense"]) == ("0.2500", "192")
    assert total["ever active"] > total["density"]  # the optimizer was loaded
    assert {"hidden/kernel", "all masked weights"} <= set(titles(page))
    assert "of the file after zip" in page.text


def test_a_compressed_file_has_no_optimizer_and_the_page_lies_beside_it(folder):
    assert run(folder / "model.sparse") == 0
    total = Page(folder / "model.html").rows()["total"]
    assert total["density"] == "0.2500"
    assert "ever active" not in total


def test_weights_alone_have_masks_and_no_multiply_adds(folder, tmp_path):
    path = tmp_path / "page.html"
    assert run(folder / "model.weights.h5", "--output", path) == 0
    page = Page(path)
    rows = page.rows()
    assert list(rows) == ["hidden/0", "head/0", "total"]
    assert rows["total"] == {
        "weights": "192",
        "active": "48",
        "density": "0.2500",
        **{name: rows["total"][name] for name in ("dead inputs", "dead outputs")},
    }
    assert "no model, so multiply-adds and what runs are unknown" in page.text
    assert page.all("img", alt="Mask of hidden/0")


def test_weights_of_a_model_that_a_function_makes(folder, tmp_path, monkeypatch):
    module = types.ModuleType("mine")
    module.make, module.number = toy_model, lambda: 3
    monkeypatch.setitem(sys.modules, "mine", module)
    path = tmp_path / "page.html"
    assert run(folder / "model.weights.h5", "--output", path, "--model", "mine:make") == 0
    assert Page(path).rows()["total"]["multiply-adds, sparse"] == "48"


def test_an_older_file_of_a_model(tmp_path):
    model = toy_model()
    ks.prune(model, 0.25)
    keras.saving.save_model(model, tmp_path / "old.h5")
    assert run(tmp_path / "old.h5") == 0
    assert Page(tmp_path / "old.html").rows()["total"]["multiply-adds, sparse"] == "48"


def test_a_model_whose_loss_cannot_be_loaded_is_shown_and_the_page_says_so(tmp_path):
    def mine(y, y_pred):
        return keras.ops.mean(keras.ops.square(y - y_pred))

    model = compiled(sparse(), loss=mine)
    model.optimizer.build(model)
    model.save(tmp_path / "a.keras")
    assert run(tmp_path / "a.keras") == 0
    page = Page(tmp_path / "a.html")
    assert "The optimizer, loss and metrics of the file cannot be loaded" in page.text
    assert page.rows()["total"]["density"] == "0.2500"


def test_what_cannot_be_read_is_named(folder, tmp_path, capsys, monkeypatch):
    module = types.ModuleType("mine")
    module.number, module.other = (lambda: 3), (lambda: keras.Sequential([keras.Input((3,))]))
    monkeypatch.setitem(sys.modules, "mine", module)
    (tmp_path / "text").write_text("no weights")
    (tmp_path / "bad.keras").write_text("no zip")
    (tmp_path / "log.csv").write_text("epoch,loss\n0,1.0\n")
    (tmp_path / "bytes.csv").write_bytes(b"density\n\x93\x00\n")
    weights, page = folder / "model.weights.h5", ("--output", tmp_path / "page.html")
    wrong = [
        ((tmp_path / "none", *page), "must exist"),
        ((tmp_path / "text", *page), "must be a .keras file"),
        ((tmp_path / "bad.keras", *page), "must be a .keras file"),
        ((weights, "--output", tmp_path / "page.txt"), "`path` must end in"),
        ((weights, *page, "--batch", 8), "`--batch` and `--measure` need a model"),
        ((weights, *page, "--measure"), "`--measure` needs the batch to measure"),
        ((weights, *page, "--model", "mine:number"), "must return a Keras model. Received: 3"),
        ((weights, *page, "--model", "mine:other"), "The weights do not fit the model"),
        ((weights, *page, "--log", tmp_path / "log.csv"), "`--log` must name a file of"),
        ((weights, *page, "--log", tmp_path / "bytes.csv"), "`--log` must name a file of"),
        ((weights, *page, "--import", "no_such_module"), "`--import` must name a module"),
    ]
    for words, message in wrong:
        assert run(*words) == 2, words
        assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
