"""The fast tests that run a line: each module notes its lines while all fast tests run once.

A note before each statement costs little; a tracer would slow down all of Keras. What was found is
kept in a file. A test runs again if it changes, or a module that it runs.
"""

import ast
import builtins
import collections
import dataclasses
import functools
import importlib.util
import inspect
import itertools
import json
import os
import signal
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import ClassVar

import pytest
from changes import FOLDERS, ROOT, Mutant, digest, modules_in, path_of

REACHED = ROOT / ".mutants-reached.json"
SECONDS = 4  # of processor time; a test that takes longer is not fast
IMPORT = "import"  # in the place of a test's name: what runs before all tests
OPTIONS = [
    *["-o", "addopts=--doctest-modules", "-m", "not slow"],
    *["-p", "no:cacheprovider", "-p", "no:terminal"],
]
# Test files of rules/ and training/, beside the doctests and those that are named as a module is;
# others test kernels, layers and models.
FILES = (
    "agreement all_layers backup backup_files backup_in_fit backup_of_keras beside_keras_callbacks "
    "blocks_in_training budget callback_order callbacks channels checkpoint coded_array compiled "
    "compiled_arguments compressed conformance cost_budget custom_loops dense_phases density "
    "density_log density_schedules depthwise epoch_plan error_messages every_step exploration "
    "final_density fixtures freezing from_tfmot fused_sgd given_masks golden gradient_lists "
    "growth_batch growth_in_windows growth_window initial_masks initial_scale initializer_law "
    "inspect looks_trained mask_bits mask_board mask_training mask_update mask_update_invariants "
    "masked_optimizer masks_hold momentum multiply_add_budget n_of_m optimizer_config optimizers "
    "per_tap preset_trainings presets progress prune ragged ragged_blocks saved_before_training "
    "schedules scores seed selection several_optimizers snip snip_first_masks state_in_files "
    "structure structure_of_layers tf_keras trained_weights_stay training_warnings untrained "
    "update_times what_is_saved whole_groups wrapper"
)
# More test files about a module, beside test_<module>.py: they are run before others.
ABOUT = {
    "rules/all_layers": "all_layers prune initial_masks snip cost_budget",
    "rules/asked": "cost_budget",
    "rules/blocks": "structure blocks_in_training",
    "rules/budget": "budget mask_update",
    "rules/coded_array": "coded_array compressed",
    "rules/density": "density density_log density_schedules",
    "rules/exact_counts": "density cost_budget",
    "rules/found_structure": "inspect",
    "rules/group_scores": "mask_update structure",
    "rules/mask_update": "mask_update mask_update_invariants",
    "rules/ragged": "ragged cost_budget mask_update structure ragged_blocks",
    "rules/ragged_update": "ragged mask_update cost_budget ragged_blocks mask_update_invariants",
    "rules/scores": "scores mask_update",
    "rules/structure_arguments": "structure",
    "rules/whole_groups": "whole_groups structure initial_masks",
    "rules/whole_numbers": "epoch_plan optimizers structure",
    "training/asked_density": "density_schedules final_density masked_optimizer",
    "training/backup": "backup_in_fit backup_of_keras",
    "training/backup_files": "backup_files backup",
    "training/callback_order": "callback_order beside_keras_callbacks",
    "training/callbacks": "agreement several_optimizers compiled density_log snip progress",
    "training/checkpoint": "checkpoint fixtures saved_before_training",
    "training/competing_masks": "snip masked_optimizer multiply_add_budget",
    "training/density_log": "density_log beside_keras_callbacks exploration",
    "training/explored_masks": "exploration masked_optimizer",
    "training/find_optimizer": "several_optimizers compiled looks_trained error_messages",
    "training/first_masks": "masked_optimizer snip multiply_add_budget",
    "training/growth_window": "growth_window growth_batch growth_in_windows",
    "training/held_masks": "masked_optimizer saved_before_training exploration masks_hold",
    "training/mask_training": "mask_training callbacks",
    "training/mask_watchers": "mask_board",
    "training/mask_updates": "mask_training growth_window optimizers multiply_add_budget",
    "training/mask_variables": "masked_optimizer checkpoint multiply_add_budget",
    "training/masked_optimizer": "masked_optimizer saved_before_training custom_loops",
    "training/masked_steps": "masks_hold custom_loops untrained growth_window every_step fused_sgd",
    "training/masked_weight": "masked_optimizer exploration",
    "training/momentum": "momentum conformance",
    "training/phases": "presets dense_phases preset_trainings",
    "training/presets": "presets preset_trainings error_messages",
    "training/restored_weights": "beside_keras_callbacks checkpoint dense_phases",
    "training/rule_checks": "optimizers optimizer_config",
    "training/scale_invariant": "untrained",
    "training/schedules": "schedules presets",
    "training/seed": "seed error_messages optimizers",
    "training/selection": "depthwise",
    "training/selectors": "selection optimizer_config",
    "training/sensitivities": "snip",
    "training/settings": "presets",
    "training/snip": "snip error_messages",
    "training/sparse_momentum": "optimizer_config optimizers error_messages",
    "training/starting_masks": "masked_optimizer saved_before_training untrained snip",
    "training/state_in_files": "what_is_saved saved_before_training checkpoint mask_training",
    "training/tfmot_density": "schedules from_tfmot density_schedules final_density",
    "training/training_warnings": "training_warnings final_density callbacks",
    "training/untrained": "untrained trained_weights_stay looks_trained",
    "training/update_watch": "several_optimizers compiled",
    "training/weight_costs": "multiply_add_budget",
    "training/wrapper": "wrapper error_messages tf_keras",
}
NAMED = {module.rpartition("/")[2] for module in modules_in(list(FOLDERS))}
PATHS = [
    *[f"keras_sparse/{folder}" for folder in FOLDERS],
    *[
        path
        for name in sorted({*FILES.split(), *NAMED})
        if (ROOT / (path := f"tests/test_{name}.py")).exists()
    ],
]


def of(line: str) -> str:
    """The module of a line."""
    return line.partition(":")[0]


def files_about(module: str) -> tuple[str, ...]:
    """How the paths end of the files with tests about a module."""
    names = [module.rpartition("/")[2], *ABOUT.get(module, "").split()]
    return f"{module}.py", *[f"/test_{name}.py" for name in names]


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


def noted(source: str, module: str) -> ast.Module:
    """The module, with a note before each statement of its functions."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    within = {id(node): node for function in functions for node in ast.walk(function)}
    for node in within.values():
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, field, None), list):
                setattr(node, field, [of for one in statements for of in (note(one, module), one)])
        if isinstance(node, ast.FunctionDef) and is_text(node.body[1]):
            node.body.pop(0)  # else the docstring were none
    return ast.fix_missing_locations(tree)


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def note(statement: ast.stmt, module: str) -> ast.stmt:
    return ast.parse(f"__seen__({f'{module}:{statement.lineno}'!r})").body[0]


class Noting(SourceFileLoader):
    """Imports rules/ and training/ such that they note the lines that run."""

    MODULES: ClassVar = {
        f"keras_sparse.{name.replace('/', '.')}": name for name in modules_in(FOLDERS)
    }

    @classmethod
    def find_spec(cls, name: str, *_: object) -> object:
        if name not in cls.MODULES:
            return None
        file = str(path_of(cls.MODULES[name]))
        return importlib.util.spec_from_file_location(name, file, loader=cls(name, file))

    def get_code(self, fullname: str) -> object:
        source = self.get_source(fullname)
        return compile(noted(source, self.MODULES[fullname]), self.path, "exec", dont_inherit=True)


class Reference:
    """A plugin of pytest that runs those tests whose lines are not known."""

    def __init__(self) -> None:
        self.runs = load()
        self.seen: set[str] = set()
        self.outcomes: list[str] = []
        builtins.__seen__ = self.seen.add  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes.append(report.outcome)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = [item for item in session.items if not self.is_known(item)]
        print(f"{len(items)} of {len(session.items)} fast tests run once", flush=True)
        known = {item.nodeid for item in session.items}
        self.runs = {name: run for name, run in self.runs.items() if name in known}
        self.runs[IMPORT] = Run(0, sorted(self.seen), "", digest_of_all())
        signal.signal(signal.SIGPROF, self.stop)
        for item, following in itertools.pairwise([*items, None]):
            self.run(item, following)
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
        passed = set(self.outcomes) == {"passed"}
        lines = sorted(self.seen) if passed else []
        modules = {line.partition(":")[0] for line in self.seen}
        around = digest_around(item, modules)
        self.runs[item.nodeid] = Run(seconds, lines, digest_of(item), around)
        if not passed:
            print(f"{item.nodeid} is left out: {self.outcomes}, {seconds:.1f} s", flush=True)
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
