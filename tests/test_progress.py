"""One line in a terminal says what a long operation does."""

import io
import threading
import time
from contextlib import redirect_stderr
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from helpers import built, compiled, fit, toy_model

import keras_sparse as ks
from keras_sparse.conversion import progress as of_progress
from keras_sparse.conversion.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal for ``redirect_stderr``; nothing waits before it is shown there."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(of_progress, "DELAY", 0.0)
    return Terminal()


def wait_for(text, terminal):
    for _ in range(1000):
        if text in terminal.getvalue():
            return
        time.sleep(0.01)
    pytest.fail(f"{text!r} is not in {terminal.getvalue()!r}")


def test_a_terminal_shows_what_runs_and_then_an_empty_line(terminal):
    with redirect_stderr(terminal), progress("export") as line:
        line.says("writing [a] file")
        wait_for("export: writing [a] file", terminal)
        for letter in line.each("ab", total=2):
            if letter == "b":
                wait_for("1/2", terminal)
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is erased


def test_what_is_quick_shows_nothing(terminal, monkeypatch):
    monkeypatch.setattr(of_progress, "DELAY", 60.0)
    before = threading.active_count()
    with redirect_stderr(terminal), progress("sparsify") as line:
        assert type(line) is not of_progress.Line
    for _ in range(1000):
        if threading.active_count() == before:
            break
        time.sleep(0.01)
    assert threading.active_count() == before
    assert terminal.getvalue() == ""


def is_shown_on(file, verbose=True):
    with redirect_stderr(file), progress("sparsify", verbose) as line:
        assert list(line.each("ab", total=2)) == ["a", "b"]
        return type(line) is not of_progress.Line


def test_verbose_and_keras_silence_a_terminal(terminal):
    assert is_shown_on(terminal)
    assert is_shown_on(terminal, "auto")
    assert not is_shown_on(terminal, 0)
    assert not is_shown_on(terminal, False)
    keras.config.disable_interactive_logging()
    try:
        assert not is_shown_on(terminal)
    finally:
        keras.config.enable_interactive_logging()


def test_files_and_dumb_terminals_get_nothing(terminal, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert is_shown_on(terminal)
    assert not is_shown_on(io.StringIO())
    assert not is_shown_on(None)
    monkeypatch.setenv("TERM", "dumb")
    assert not is_shown_on(terminal)


def test_an_operation_within_another_has_its_line(terminal):
    with redirect_stderr(terminal):
        with progress("compact") as outer, progress("densify") as inner:
            assert inner is outer is of_progress.current()
            assert type(outer) is not of_progress.Line
        with progress("fit", verbose=0), progress("mask update") as inner:
            assert type(inner) is of_progress.Line


def test_an_error_ends_the_line(terminal):
    def interrupted():
        with redirect_stderr(terminal), progress("export"):
            wait_for("export", terminal)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert terminal.getvalue().endswith("\x1b[2K")
    assert type(of_progress.current()) is of_progress.Line


@pytest.fixture
def shown(monkeypatch):
    """Names of the lines that are begun, in a list that grows."""
    names, real = [], of_progress._new_line
    monkeypatch.setattr(of_progress, "_new_line", lambda what: [names.append(what), real(what)][1])
    return names


def operations(folder):
    """{name of its line: a function with `verbose`}"""
    model = toy_model()
    file, export = folder / "model.sparse", folder / "model"

    def exported(verbose):
        ks.export(model, export, verbose=verbose, overwrite=True)

    return {
        "sparsify": lambda verbose: ks.sparsify(model, verbose=verbose),
        "prune": lambda verbose: ks.prune(model, 0.5, verbose=verbose),
        "compact": lambda verbose: ks.compact(model, verbose=verbose),
        "save_compressed": lambda verbose: ks.save_compressed(model, file, verbose=verbose),
        "load_compressed": lambda verbose: ks.load_compressed(file, verbose=verbose),
        "export": exported,
    }


def test_long_operations_have_a_line_and_verbose_0_silences_it(shown, tmp_path, capsys):
    for name, run in operations(tmp_path).items():
        run(1)
        assert set(shown) == {name}
        shown.clear()
        capsys.readouterr()
        run(0)
        assert shown == []
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verbose", [0, 2])
def test_masks_of_fit(shown, verbose, updates):
    fit(compiled(), ks.UpdateMasks("epoch"), epochs=2, verbose=verbose)
    assert updates == [4]
    assert set(shown) == ({"first masks", "mask update"} if verbose else set())


def test_masks_of_your_own_loop(shown):
    model = built(prune_rate=0.5)
    model.optimizer.open_growth_window(True)
    model.optimizer.update_masks()
    assert shown == ["mask update"]


def test_scores_of_snip_have_a_line(shown):
    x, y = np.ones((4, 8)), np.ones((4, 4))
    ks.snip_masks(toy_model(), x, y, 0.5, loss="mse")
    ks.snip_scores(toy_model(), x, y, loss="mse")
    assert shown == ["SNIP scores"] * 2


def test_what_comes_from_tfmot_has_a_line(shown):
    tf_keras = pytest.importorskip("tf_keras")
    ks.from_tfmot(tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(8,))]))
    assert shown == ["from_tfmot"]


def test_the_check_for_tpus_has_a_line_that_names_its_stages(shown, monkeypatch):
    check = pytest.importorskip("keras_sparse.tpu_check.check")
    said = []
    monkeypatch.setattr(of_progress.Line, "says", lambda self, text: said.append(text))

    def refuses(*_):
        raise check.NotForTpuError("no")

    monkeypatch.setattr(check, "check_ops", refuses)
    step = SimpleNamespace(function=SimpleNamespace(graph=None))
    monkeypatch.setattr(check, "trace", lambda *_: step)
    model = SimpleNamespace(distribute_strategy=SimpleNamespace(num_replicas_in_sync=1))
    assert check.check(model, None, "v5e:1x1").code == 1
    assert (shown, said) == (["tpu-check"], ["tracing the step", "TensorFlow's passes for TPUs"])
