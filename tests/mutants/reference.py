"""All fast tests run once, and what each did is kept in a file: its time, and the lines it ran.

A test runs again if it changes, or a module that it runs.
"""

import builtins
import dataclasses
import functools
import inspect
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from changes import ROOT, digest, path_of
from files_about import OPTIONS, PATHS
from noting import Noting

REACHED = ROOT / ".mutants-reached.json"
SECONDS = 4  # of processor time; a test that takes longer is not fast
IMPORT = "import"  # in the place of a test's name: what runs before all tests


@dataclasses.dataclass
class Run:
    """What a test did when it ran last."""

    seconds: float
    lines: list[str]  # "rules/budget:17"
    text: str  # digest of the test
    of: str  # digest of the test and of the modules that it ran

    def modules(self) -> set[str]:
        return {line.partition(":")[0] for line in self.lines}


def digest_of(item: pytest.Item) -> str:
    """Of what the test does, as far as it stands in the test itself."""
    doctest = getattr(item, "dtest", None)
    return digest(doctest.docstring if doctest else inspect.getsource(item.function))


def digest_around(item: pytest.Item, modules: set[str]) -> str:
    files = map(path_of, sorted(modules))
    return digest(digest_of(item), *map(digest_of_file, files))


def digest_of_all() -> str:
    files = [file for path in PATHS for file in sorted((ROOT / path).glob("*.py")) or [ROOT / path]]
    return digest(*map(digest_of_file, files))


@functools.cache
def digest_of_file(path: Path) -> str:
    return digest(path.read_text())


class Reference:
    """A plugin of pytest that runs those tests whose lines are not known."""

    def __init__(self) -> None:
        self.runs = load()
        self.seen: set[str] = set()
        self.outcomes: dict[str, str] = {}  # of its setup, call and teardown
        builtins.__seen__ = self.seen.add  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes[report.when] = report.outcome

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = [item for item in session.items if not self.is_known(item)]
        print(f"{len(items)} of {len(session.items)} fast tests run once", flush=True)
        known = {item.nodeid for item in session.items}
        self.runs = {name: run for name, run in self.runs.items() if name in known}
        self.runs[IMPORT] = Run(0, sorted(self.seen), "", "not all tests have run")
        signal.signal(signal.SIGPROF, self.stop)
        for item, following in itertools.pairwise([*items, None]):
            self.run(item, following)
        self.runs[IMPORT].of = digest_of_all()
        save(self.runs)
        return True

    def is_known(self, item: pytest.Item) -> bool:
        run = self.runs.get(item.nodeid)
        return run is not None and run.of == digest_around(item, run.modules())

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        self.seen.clear()
        self.outcomes.clear()
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - begin
        others = [(when, what) for when, what in self.outcomes.items() if what != "passed"]
        passed = not others
        lines = sorted(self.seen) if passed else []
        modules = {line.partition(":")[0] for line in self.seen}
        around = digest_around(item, modules)
        self.runs[item.nodeid] = Run(seconds, lines, digest_of(item), around)
        if not passed:
            why = ", ".join(f"{when} {what}" for when, what in others)
            print(f"{item.nodeid} is left out: {why} after {seconds:.1f} s", flush=True)
        if len(self.runs) % 50 == 0:
            save(self.runs)

    @staticmethod
    def stop(*_: object) -> None:
        raise pytest.fail.Exception("not fast")


def load() -> dict[str, Run]:
    known = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    return {name: Run(**run) for name, run in known.items()}


def save(runs: dict[str, Run]) -> None:
    new = REACHED.with_suffix(".new")
    new.write_text(json.dumps({name: dataclasses.asdict(run) for name, run in runs.items()}))
    new.replace(REACHED)


def run_reference() -> None:
    """In a fork, since the modules that note their lines stay imported."""
    if REACHED.exists() and load()[IMPORT].of == digest_of_all():
        return
    child = os.fork()
    if not child:
        sys.meta_path.insert(0, Noting)
        code = int(pytest.main([*OPTIONS, *PATHS], plugins=[Reference()]))
        sys.stdout.flush()
        os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) not in (0, 1):  # 1: some tests fail
        raise SystemExit("the tests cannot run")
