"""Tries whether a mutant survives its tests, in a fork of a process that has all imports.

The fork puts the mutant's code into the functions that exist already. A change of what runs on
import is tried in a fork that has imported TensorFlow, but not keras_sparse.
"""

import ast
import gc
import importlib.util
import inspect
import itertools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType

import pytest
from changes import ROOT, Mutant, path_of
from files_about import OPTIONS, PATHS
from reached import Reached

RESULTS = ROOT / ".mutants.json"
NO_PYTHON = "Python"  # as a killer: the mutant cannot even be compiled, and does not count
TIMES_SLOWER = 10  # a test that needs so much more processor time loops for ever


def load() -> dict[str, dict[str, object]]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


class Trials:
    """Tries mutants, and writes what happened to each.

    Args:
        seconds: of processor time; what the tests of a mutant take without it, together.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reached = Reached()
        self.results = load()
        for result in self.results.values():
            self.count(result["module"], result["killer"])

    def count(self, module: str, killer: str | None) -> None:
        if killer is not None:
            self.reached.kills[module, killer] += 1

    def is_known(self, mutant: Mutant) -> bool:
        """Is the mutant killed, or did it survive the tests there are now?"""
        result = self.results.get(mutant.key)
        if result is None or result["killer"]:
            return result is not None
        if result["seconds"] < self.seconds:
            return False
        return result["tests"] == self.reached.digest(self.reached.tests(mutant))

    def chosen(self, mutant: Mutant) -> list[str]:
        """The first of the mutant's tests that fit into the seconds."""
        tests, seconds = [], 0.0
        for test in self.reached.tests(mutant):
            longer = seconds + self.reached.runs[test].seconds
            if longer < self.seconds or not tests:
                tests.append(test)
                seconds = longer
        return tests

    def note(self, mutant: Mutant, killer: str | None) -> None:
        self.results[mutant.key] = {
            "module": mutant.module,
            "killer": killer,
            "tests": None if killer else self.reached.digest(self.reached.tests(mutant)),
            "seconds": self.seconds,
        }
        self.count(mutant.module, killer)
        new = RESULTS.with_suffix(".new")
        new.write_text(json.dumps(self.results))
        new.replace(RESULTS)

    def run(self, mutants: list[Mutant]) -> None:
        due = [mutant for mutant in mutants if not self.is_known(mutant)]
        print(f"{len(due)} of {len(mutants)} mutants are tried", flush=True)
        if in_fork(lambda: int(pytest.main([*OPTIONS, *PATHS], plugins=[Swapping(self, due)]))):
            raise SystemExit("the tests cannot run")
        self.results = load()
        for mutant in due:
            if not self.is_known(mutant):
                self.note(mutant, self.killer_on_import(mutant))

    def killer_on_import(self, mutant: Mutant) -> str | None:
        """The test that fails after an import of the mutant; None: it survives."""
        tests = self.chosen(mutant)

        def passes() -> int:
            sys.meta_path.insert(0, Mutated(mutant))
            # else pytest would import modules with doctests by itself, without the mutant
            return int(pytest.main([*OPTIONS, "--assert=plain", "-x", *tests]))

        seconds = 5 + sum(self.reached.runs[test].seconds for test in tests)
        return "on import" if tests and in_fork(passes, TIMES_SLOWER * seconds) else None


def in_fork(function: Callable[[], int], seconds: float | None = None) -> int:
    """Calls it in a fork, without output if its processor time is limited; returns its status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        if seconds is not None:
            be_quiet()
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        status = function()
        sys.stdout.flush()
    finally:
        os._exit(status)


def be_quiet() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


class Mutated(SourceFileLoader):
    """Imports a mutant in the place of its module, and finds it before Python does."""

    def __init__(self, mutant: Mutant) -> None:
        name = f"keras_sparse.{mutant.module.replace('/', '.')}"
        super().__init__(name, str(path_of(mutant.module)))
        self.source = mutant.source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> object:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Swapping:
    """A plugin of pytest that tries mutants once all tests are collected."""

    def __init__(self, trials: Trials, mutants: list[Mutant]) -> None:
        self.trials, self.mutants = trials, mutants
        self.failed = False
        self.functions: dict[tuple[str, str, int], list[FunctionType]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        gc.unfreeze()  # what is frozen would not be listed
        for value in gc.get_objects():
            if isinstance(value, FunctionType) and "keras_sparse" in value.__code__.co_filename:
                self.functions.setdefault(key_of(value.__code__), []).append(value)
        if not self.functions:
            raise RuntimeError("no function of keras_sparse was found: all mutants would survive")
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("a test file starts TensorFlow on import: no fork of it can run")
        gc.collect()
        gc.freeze()  # else each fork looks through all of TensorFlow for what is no longer needed
        for mutant in self.mutants:
            tests = self.trials.chosen(mutant)
            if not is_python(mutant.source):
                self.trials.note(mutant, NO_PYTHON)
            elif not tests:
                self.trials.note(mutant, None)
            elif not self.trials.reached.runs_on_import(mutant):
                self.try_one(mutant, [items[test] for test in tests])
        return True

    def try_one(self, mutant: Mutant, items: list[pytest.Item]) -> None:
        swaps = self.swaps(mutant)
        if swaps is None:
            return  # then it is imported
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                be_quiet()
                os._exit(self.run(swaps, items, writer))
            finally:  # an error outside of the tests
                os._exit(1)
        os.close(writer)
        with open(reader) as pipe:
            begun = pipe.read().split()
        status = os.waitpid(child, 0)[1]
        self.trials.note(mutant, items[int(begun[-1])].nodeid if status and begun else None)

    def swaps(self, mutant: Mutant) -> list[tuple[FunctionType, CodeType]] | None:
        """The functions that change, and their code; None: what runs on import changes."""
        path = str(path_of(mutant.module))
        old, new = (compile(text, path, "exec") for text in (mutant.before, mutant.source))
        pairs = changed(old, new)
        if pairs is None:
            return None
        return [
            (function, into)
            for code, into in pairs
            for function in self.functions.get(key_of(code), [])
            if function.__code__ == code
        ]

    def run(self, swaps: list[tuple[FunctionType, CodeType]], items: list, writer: int) -> int:
        """In the fork: 0 if all tests pass. Writes the number of each test that begins."""
        os.write(writer, b"0 ")
        for function, code in swaps:
            function.__code__ = code
        for number, (item, following) in enumerate(itertools.pairwise([*items, None])):
            os.write(writer, f"{number} ".encode())
            seconds = self.trials.reached.runs[item.nodeid].seconds
            signal.setitimer(signal.ITIMER_PROF, TIMES_SLOWER * seconds + 3)  # ends the process
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0


def is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def key_of(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def changed(old: CodeType, new: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    """The code of functions before and after a change; None if a module or class body changes."""
    inside, other = ([c for c in of.co_consts if isinstance(c, CodeType)] for of in (old, new))
    is_function = bool(old.co_flags & inspect.CO_NEWLOCALS)
    pairs = [(old, new)] if is_function and old != new else []
    if len(inside) != len(other) or not (is_function or own(old) == own(new)):
        return pairs if is_function else None
    for one, two in zip(inside, other, strict=True):
        below = changed(one, two)
        if below is None:
            return None
        pairs += below
    return pairs


def own(code: CodeType) -> tuple[object, ...]:
    """What a body does, without the functions in it."""
    constants = [of for of in code.co_consts if not isinstance(of, CodeType)]
    return code.co_code, code.co_names, code.co_varnames, repr(constants)
