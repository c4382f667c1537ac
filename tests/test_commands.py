"""``python -m keras_sparse``: its arguments and its exit codes."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_sparse.__main__ import main
from keras_sparse.commands import arguments, file_arguments, options

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "words",
    [[], ["tune"], ["bench"], ["inspect"], ["compare"], ["export"], ["report"], ["tpu-check"]],
    ids=str,
)
def test_help_is_answered_without_tensorflow(words, tmp_path, monkeypatch):
    for name in ("tensorflow", "keras"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('imported')")
    monkeypatch.setitem(os.environ, "PYTHONSAFEPATH", "1")
    line = [sys.executable, "-m", "keras_sparse", *words, "--help"]
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | paths, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m keras_sparse" in done.stdout
    wrong = subprocess.run(
        [*line[:-1], "--no-such-option"],
        capture_output=True,
        text=True,
        env=os.environ | paths,
        check=False,
    )
    assert wrong.returncode == 2
    assert "usage: python -m keras_sparse" in wrong.stderr


def test_the_arguments_need_the_standard_library_alone():
    for module in (arguments, file_arguments, options):
        tree = ast.parse(Path(module.__file__).read_text())
        plain, others = (
            [node for node in ast.walk(tree) if isinstance(node, kind)]
            for kind in (ast.Import, ast.ImportFrom)
        )
        names = {alias.name for node in plain for alias in node.names}
        assert names <= sys.stdlib_module_names
        ours = {"keras_sparse.commands.file_arguments", "keras_sparse.commands.options"}
        assert {node.module for node in others} <= ours


def test_arguments_of_another_program_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-m", "--help"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "mine", "-m", "keras_sparse", "--help"])
    arguments.answer_early()
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "keras_sparse", "--help"])
    with pytest.raises(SystemExit, match="0"):
        arguments.answer_early()


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5"])
def test_threads_are_a_positive_integer(threads, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["tune", "--threads", threads])
    assert f"must be a positive integer, and is '{threads}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (PermissionError("no right to write"), "no right to write\n"),
        (TypeError("mine"), "Traceback"),
    ],
)
def test_no_error_ends_with_the_exit_code_of_an_answer(error, printed, monkeypatch, capsys):
    """1 says that weights differ, or that steps are not faster."""

    def run(_):
        raise error

    monkeypatch.setattr("keras_sparse.commands.compare.run", run)
    assert main(["compare", "a", "b"]) == 2
    assert capsys.readouterr().err.startswith(printed)
