"""What a program can check of the style: columns, first lines, phrases, lengths of sentences."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (".py", ".h", ".cc", ".cu", ".cuh")
MAX_COLUMNS = 100
MAX_WORDS = 30  # of a sentence; the style asks for 25, and a long name may need more
MAX_FUNCTION_LINES = 30  # without the docstring
BANNED = {  # a phrase, and what to write instead
    r"that (is|are) meant": "name it",
    r"(is|are|was|were) told": "receives or knows; or name the argument",
    r"(is|are|was|were) said": "reports; a warning follows",
    r"goes? without": "needs no",
    r"to be had": "available",
    r"\bas many as\b": "give the number",
    r"\bso many\b": "give the number",
    r"in the midst of": "in the middle of",
    r"\bcards?\b": "GPU",
    r"in a way of its own": "itself",
    r"what is to be (done|made|known)": "name it",
    r"\blearnt\b": "learned",
}
MACHINE_PATH = r"(?<![\w.])/(home|work|tmp|root|Users)/\w"


def tracked(*endings):
    """The files of the repository whose names end in one of these."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split()]
    return [path for path in paths if path.name.endswith(endings) and path.exists()]


def pages():
    """The pages that people write; programs write those in benchmarks/results."""
    return [path for path in tracked(".md") if "results" not in path.parts]


def texts(*endings):
    """(path, text) of the pages and sources, without this file, which has the phrases."""
    paths = [*pages(), *tracked(*SOURCES, *endings)]
    return [(path, path.read_text()) for path in paths if path != Path(__file__).resolve()]


def at(path, line):
    return f"{path.relative_to(ROOT)}:{line}"


def long_lines(path):
    lines = enumerate(path.read_text().split("\n"), 1)
    return [(number, line) for number, line in lines if len(line) > MAX_COLUMNS]


def sentences(text):
    """The sentences of a page, without its code, tables and headings; a name in code is a word."""
    text = re.sub(r"^```.*?^```|^    .*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*(\||#|!\[|\[).*$", "", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.) ", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.?!:;])\s+(?=\S)", " ".join(paragraph.split()))


def words(sentence):
    return len(re.findall(r"[^\W_][\w'.,%-]*", sentence))


def long_functions(path):
    """Lines at which functions begin that are longer than the limit, docstrings not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            statements = node.body[ast.get_docstring(node) is not None :]
            if statements and node.end_lineno - statements[0].lineno >= MAX_FUNCTION_LINES:
                yield node.lineno


def test_lines_of_sources_have_at_most_100_columns():
    found = [at(path, line) for path in tracked(*SOURCES) for line, _ in long_lines(path)]
    assert not found, "\n".join(found)


def test_lines_of_pages_have_at_most_100_columns_but_for_tables_and_links():
    found = [
        at(path, number)
        for path in pages()
        for number, line in long_lines(path)
        if not line.startswith("|") and "](" not in line
    ]
    assert not found, "\n".join(found)


def test_the_first_line_of_a_module_is_an_answer():
    docstrings = [
        (path, ast.get_docstring(ast.parse(path.read_text())) or "") for path in tracked(".py")
    ]
    found = [at(path, 1) for path, docstring in docstrings if "?" in docstring.split("\n")[0]]
    assert not found, "\n".join(found)


def test_functions_of_the_library_have_at_most_30_lines():
    library = [path for path in tracked(".py") if path.is_relative_to(ROOT / "keras_sparse")]
    found = [at(path, line) for path in library for line in long_functions(path)]
    assert not found, "\n".join(found)


def test_sentences_of_pages_are_short():
    found = [
        f"{path.relative_to(ROOT)}: {sentence}"
        for path in pages()
        for sentence in sentences(path.read_text())
        if words(sentence) > MAX_WORDS
    ]
    assert not found, "\n".join(found)


def test_pages_and_sources_have_no_banned_phrase():
    found = [
        f"{at(path, text.count(chr(10), 0, match.start()) + 1)}: {match.group()}: {better}"
        for path, text in texts()
        for phrase, better in BANNED.items()
        for match in re.finditer(phrase, text)
    ]
    assert not found, "\n".join(found)


def test_pages_and_sources_have_no_path_of_one_machine():
    found = [
        at(path, number)
        for path, text in texts(".toml", "Makefile")
        for number, line in enumerate(text.split("\n"), 1)
        if re.search(MACHINE_PATH, line)
    ]
    assert not found, "\n".join(found)


def test_the_pages_that_the_index_and_the_readme_link_exist():
    found = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in pages()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert not found, "\n".join(found)


def test_these_tests_see_what_they_look_for():
    page = (
        "One claim.\n\n- Two `a b c` [words](x.md).\n\n| a | table |\n\n```\ncode code code\n```\n"
    )
    assert [words(sentence) for sentence in sentences(page) if sentence] == [2, 3]
    assert re.search(MACHINE_PATH, "see /home/me")
    assert not re.search(MACHINE_PATH, "a/home/me")
    assert re.search(list(BANNED)[5], "as many as")
