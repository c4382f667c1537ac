"""The tests of a mutant: those that run its line, and those about its module; the best first."""

import collections
import functools

from changes import Mutant, digest
from files_about import files_about
from reference import IMPORT, load


def of(line: str) -> str:
    """The module of a line."""
    return line.partition(":")[0]


class Reached:
    """Finds the tests of a mutant."""

    def __init__(self) -> None:
        self.runs = load()
        self.on_import = set(self.runs.pop(IMPORT).lines)
        self.kills: collections.Counter[tuple[str, str]] = collections.Counter()
        self.of_places: dict[str, list[str]] = {}  # the tests that run a line, or a module
        for name, run in self.runs.items():
            for place in (*run.lines, *run.modules()):
                self.of_places.setdefault(place, []).append(name)

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that run its line; of a line that runs on import, those of the module.

        A default or a table can be seen without a call, by the test files about the module.
        """
        place = f"{mutant.module}:{mutant.statement()}"
        about: list[str] = []
        if self.runs_on_import(mutant):
            place, files = mutant.module, files_about(mutant.module)
            about = [name for name in self.runs if name.partition("::")[0].endswith(files)]
        return self.in_order([*{*self.of_places.get(place, []), *about}], mutant.module)

    def runs_on_import(self, mutant: Mutant) -> bool:
        line = f"{mutant.module}:{mutant.statement()}"
        return not mutant.is_in_function() or line in self.on_import

    def in_order(self, tests: list[str], module: str) -> list[str]:
        """The cheapest first, for what each promises.

        A test promises more if its file is about the module, if it killed mutants of the module, or
        if it runs lines of it that few other tests run. It promises less with each other set of
        parameters of the same test.
        """
        rare = self.rarities(module)
        own = files_about(module)
        turns: collections.Counter[str] = collections.Counter()
        price = {}
        for test in sorted(tests, key=lambda test: (self.runs[test].seconds, test)):
            function = test.partition("[")[0]
            turns[function] += 1
            promise = (10 if test.partition("::")[0].endswith(own) else 1) / turns[function]
            seconds = max(self.runs[test].seconds, 0.005)
            promise *= rare[test] * (1 + 5 * self.kills[module, test])
            price[test] = seconds / promise
        return sorted(tests, key=lambda test: (price[test], test))

    @functools.cache  # noqa: B019  there is one Reached
    def rarities(self, module: str) -> dict[str, float]:
        """For each test the lines of a module that it runs; one that n tests run counts 1 / n."""
        lines = {line: tests for line, tests in self.of_places.items() if of(line) == module}
        rare = dict.fromkeys(self.runs, 1e-3)  # sees it without a call, if at all
        for tests in lines.values():
            for test in tests:
                rare[test] += 1 / len(tests)
        return rare

    def digest(self, tests: list[str]) -> str:
        return digest(*sorted(name + self.runs[name].text for name in tests))
