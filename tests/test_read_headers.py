"""The build reads TensorFlow's headers once for many files, and keeps nothing of them."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "custom_ops" / "build"))
import read_headers
from compile_files import CODE, CannotBuildError, Compilation

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A compiler's command that finds one header, which stands for all of TensorFlow's."""
    folder = tmp_path / "include" / "tensorflow" / "core"
    folder.mkdir(parents=True)
    (folder / "answer.h").write_text("inline int Answer() { return 42; }\n")
    monkeypatch.setattr(read_headers, "HEADERS", ("answer",))
    return ["g++", "-isystem", str(tmp_path / "include")]


def source_in(folder, included=""):
    """A file that needs the header, with a line before its code."""
    source = folder / "source.cc"
    source.write_text(f"{included}\nint main() {{ return Answer(); }}\n")
    return source


def test_a_file_uses_headers_that_it_does_not_read_itself(command, tmp_path):
    one = Compilation(source_in(tmp_path), command, tmp_path)
    with read_headers.read_once(command, read_headers.FEWEST, tmp_path) as headers:
        assert headers()[-2:] == ["-include", "tensorflow_headers.h"]
        assert (tmp_path / "tensorflow_headers.h.gch").exists()
        assert one.done(headers).exists()
    assert not list(tmp_path.glob("tensorflow_headers*"))
    assert not one.is_due  # though the headers are gone


def test_a_few_files_and_other_compilers_read_their_own(command, tmp_path):
    few = read_headers.FEWEST - 1
    for compiler, files in ((command, few), (["clang++", *command[1:]], 99)):
        with read_headers.read_once(compiler, files, tmp_path) as headers:
            assert headers() == []


def test_headers_that_cannot_be_read_leave_that_to_the_files(command, tmp_path, monkeypatch):
    monkeypatch.setattr(read_headers, "HEADERS", ("missing",))
    one = Compilation(source_in(tmp_path), command, tmp_path)
    with read_headers.read_once(command, 99, tmp_path) as headers:
        assert headers() == []
        with pytest.raises(CannotBuildError, match="Answer"):
            one.done(headers)
    source_in(tmp_path, '#include "tensorflow/core/answer.h"')
    assert one.done().exists()


def test_flags_are_asked_for_only_if_a_file_is_compiled(command, tmp_path):
    source_in(tmp_path, '#include "tensorflow/core/answer.h"')
    one, asked = Compilation(tmp_path / "source.cc", command, tmp_path), []
    for _ in range(2):
        one.done(lambda: asked.append("") or [])
    assert asked == [""]


def test_no_file_defines_anything_before_its_headers():
    """It would not reach headers that were read before: NDEBUG changes TensorFlow's classes."""
    for path in (CODE / "tensorflow").iterdir():
        lines = [line.split()[0] for line in path.read_text().splitlines() if line.startswith("#")]
        before = lines[: len(lines) - lines[::-1].index("#include")] if "#include" in lines else []
        assert set(before) <= {"#pragma", "#include", "#if", "#endif", "#else"}, path.name
