"""Small changes of the library that a fast test must notice: `make mutants`.

cosmic-ray changes one operator, number or condition of a module at a time. Our own operators remove
a call, or swap max and min. Each mutant is tested in a fork of this process, which has imported
TensorFlow but not keras_sparse. Only the results are written: a stopped run continues where it was,
and a changed module or test runs again.

    python tests/mutants.py                          # all of rules/ and training/
    python tests/mutants.py rules/budget             # one module
    python tests/mutants.py --sample 100 training    # a random hundred of a folder
    python tests/mutants.py --list rules             # survivors and the score so far
"""

import argparse
import ast
import dataclasses
import difflib
import gc
import hashlib
import importlib.machinery
import importlib.util
import json
import math
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cosmic_ray.plugins
import parso
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".mutants.json"
TIMES_SLOWER = 10  # a mutant that needs so much more processor time loops for ever, and is killed

# Where the tests of a module are not tests/test_<module>.py. Its doctests are always among them.
TESTS = {
    "rules/all_layers": ["test_prune", "test_initial_masks", "test_snip", "test_cost_budget"],
    "rules/asked": ["test_cost_budget"],
    "rules/budget": ["test_budget", "test_mask_update"],
    "rules/density": ["test_density", "test_density_schedules"],
    "rules/mask_bits": ["test_mask_bits"],
    "rules/mask_update": ["test_mask_update", "test_mask_update_invariants"],
    "rules/scores": ["test_scores", "test_mask_update"],
    "rules/structure_arguments": ["test_structure"],
    "rules/whole_groups": ["test_structure", "test_initial_masks"],
    "training/asked_density": ["test_density_schedules", "test_final_density"],
    "training/backup_files": ["test_backup"],
    "training/callback_order": ["test_beside_keras_callbacks"],
    "training/density_log": ["test_callbacks", "test_exploration"],
    "training/explored_masks": ["test_exploration"],
    "training/find_optimizer": ["test_looks_trained", "test_compiled"],
    "training/first_masks": ["test_masked_optimizer", "test_snip"],
    "training/growth_window": [
        "test_growth_window::test_steps_before_an_update",
        "test_growth_window::test_other_settings_are_errors",
        "test_growth_window::test_several_optimizers_need_the_longest_memory",
        "test_conformance::test_the_automatic_growth_window_is_that_of_the_momentum",
    ],
    "training/momentum": [
        "test_momentum",
        "test_conformance::test_momentum_after_two_steps_by_hand",
        "test_conformance::test_no_momentum_is_an_error_that_says_what_to_do",
    ],
    "training/held_masks": ["test_masked_optimizer", "test_masks_hold"],
    "training/mask_training": ["test_callbacks", "test_growth_window"],
    "training/mask_updates": ["test_optimizers"],
    "training/mask_variables": ["test_masked_optimizer"],
    "training/masked_steps": ["test_masks_hold", "test_every_step", "test_fused_sgd"],
    "training/masked_weight": ["test_masked_optimizer", "test_exploration"],
    "training/phases": ["test_presets", "test_preset_trainings"],
    "training/restored_weights": ["test_beside_keras_callbacks"],
    "training/rule_checks": ["test_optimizers"],
    "training/scale_invariant": ["test_untrained"],
    "training/seed": ["test_optimizers", "test_multi_worker"],
    "training/selectors": ["test_selection"],
    "training/settings": ["test_presets"],
    "training/sparse_momentum": ["test_optimizers", "test_optimizer_config"],
    "training/starting_masks": ["test_masked_optimizer", "test_snip"],
    "training/tfmot_density": ["test_density_schedules"],
    "training/training_warnings": ["test_final_density", "test_callbacks"],
    "training/update_watch": ["test_several_optimizers"],
    "training/weight_costs": ["test_multiply_add_budget"],
}
# A comparison moves its border, or turns round; "is" and "==" are the same for None.
COMPARISONS = (
    "Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Eq_NotEq NotEq_Eq Is_IsNot IsNot_Is"
)
BINARY = (
    "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Div FloorDiv_Mul Mod_FloorDiv Pow_Mul "
    "BitAnd_BitOr BitOr_BitAnd BitXor_BitOr LShift_RShift RShift_LShift"
)
UNARY = "Delete_Not Delete_USub Delete_Invert"
OTHERS = (
    "NumberReplacer AddNot ReplaceAndWithOr ReplaceOrWithAnd ReplaceTrueWithFalse "
    "ReplaceFalseWithTrue ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop "
    "ExceptionReplacer"
)
OF_COSMIC_RAY = [
    *[f"ReplaceComparisonOperator_{pair}" for pair in COMPARISONS.split()],
    *[f"ReplaceBinaryOperator_{pair}" for pair in BINARY.split()],
    *[f"ReplaceUnaryOperator_{what}" for what in UNARY.split()],
    *OTHERS.split(),
]


class RemoveCall(Operator):
    """A call whose result nobody takes becomes `pass`: an assignment to a variable, a check."""

    def mutation_positions(self, node):
        is_call = node.type in ("atom_expr", "power") and node.parent.type == "simple_stmt"
        if is_call and node.children[-1].get_code().startswith("("):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        return parso.python.tree.Name("pass", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls):
        return ()


class SwapName(Operator):
    """A function becomes its opposite."""

    PAIRS = (("max", "min"), ("any", "all"), ("ones_like", "zeros_like"), ("ceil", "floor"))
    OPPOSITE: ClassVar = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}

    def mutation_positions(self, node):
        if node.type == "name" and node.value in self.OPPOSITE:
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        node.value = self.OPPOSITE[node.value]
        return node

    @classmethod
    def examples(cls):
        return ()


OPERATORS: dict[str, Operator] = {
    **{name: cosmic_ray.plugins.get_operator(f"core/{name}")() for name in OF_COSMIC_RAY},
    "RemoveCall": RemoveCall(),
    "SwapName": SwapName(),
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A module of the library with one change."""

    module: str  # e.g. "rules/budget"
    operator: str
    occurrence: int
    line: int
    before: str = dataclasses.field(repr=False)

    @property
    def key(self) -> str:
        return digest(self.module, self.before, self.operator, str(self.occurrence))

    def source(self) -> str:
        return mutate_code(self.before, OPERATORS[self.operator], self.occurrence)

    def change(self) -> str:
        """The lines that differ."""
        lines = self.before.splitlines(), self.source().splitlines()
        difference = list(difflib.unified_diff(*lines, n=0, lineterm=""))[3:]
        return "\n".join(f"    {line}" for line in difference)


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def path_of(module: str) -> Path:
    return ROOT / "keras_sparse" / f"{module}.py"


def tests_of(module: str) -> list[str]:
    """The module's doctests, and the test files that must notice a change of it."""
    names = TESTS.get(module, [f"test_{module.rpartition('/')[2]}"])
    parts = [name.partition("::") for name in names]
    files = [f"{ROOT}/tests/{file}.py{colons}{test}" for file, colons, test in parts]
    missing = [file for file in files if not file_of(file).exists()]
    if missing:
        raise SystemExit(f"`TESTS` names no tests of {module}. Received: {missing}")
    return [str(path_of(module)), *files]


def digest_of_tests(module: str) -> str:
    return digest(*[file_of(test).read_text() for test in tests_of(module)[1:]])


def is_known(result: dict[str, object] | None, tests: str) -> bool:
    """Is the mutant killed, or did it survive the tests there are now?"""
    return result is not None and (not result["survived"] or result["tests"] == tests)


def file_of(test: str) -> Path:
    return Path(test.partition("::")[0])


def mutants_of(module: str) -> Iterator[Mutant]:
    source = path_of(module).read_text()
    without = list(left_alone(source))
    nodes = list(ast_nodes(get_ast(source)))
    for name, operator in OPERATORS.items():
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start <= last for first, last in without):
                yield Mutant(module, name, occurrence, start[0], source)


def left_alone(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Places that do nothing when the code runs: types, and `strict=True` of a zip."""
    for node in ast.walk(ast.parse(source)):
        strict = node.value if isinstance(node, ast.keyword) and node.arg == "strict" else None
        for found in (getattr(node, "annotation", None), getattr(node, "returns", None), strict):
            if found is not None:
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


# --- one mutant


class Mutated(importlib.machinery.SourceFileLoader):
    """Imports one module from a text, and finds it before Python does."""

    def __init__(self, module: str, source: str) -> None:
        super().__init__(f"keras_sparse.{module.replace('/', '.')}", str(path_of(module)))
        self.source = source

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, fullname: str) -> object:
        return compile(self.source, self.path, "exec")


def survives(module: str, source: str, seconds: float | None = None) -> tuple[bool, float]:
    """Do the tests of the module pass with this source?  And the seconds of processor time.

    Args:
        module: e.g. "rules/budget".
        source: what to import in its place.
        seconds: of processor time until it fails; None: no limit, and pytest prints.
    """
    child = os.fork()
    if child:
        _, status, used = os.wait4(child, 0)
        return status == 0, used.ru_utime + used.ru_stime
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if seconds is not None:
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
        sys.meta_path.insert(0, Mutated(module, source))
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        failed = int(pytest.main([*options, *tests_of(module)]))
        sys.stdout.flush()
        os._exit(failed)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


# --- all of them


def run(modules: list[str], sample: int | None) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    due = [(module, mutant) for module in modules for mutant in mutants_of(module)]
    if sample is not None:
        due = random.Random(0).sample(due, min(sample, len(due)))
    for module in dict.fromkeys(module for module, _ in due):
        passed, seconds = survives(module, path_of(module).read_text())
        if not passed:
            raise SystemExit(f"the tests of {module} fail without a change")
        mutants = [mutant for of, mutant in due if of == module]
        tests = digest_of_tests(module)
        begin, killed = time.time(), 0
        for mutant in mutants:
            if not is_known(results.get(mutant.key), tests):
                survived, _ = survives(module, mutant.source(), TIMES_SLOWER * seconds)
                results[mutant.key] = {"survived": survived, "tests": tests, "module": module}
                save(results)
            killed += not results[mutant.key]["survived"]
        print(f"{module}: {killed} of {len(mutants)}, {time.time() - begin:.0f} s", flush=True)


def save(results: dict[str, object]) -> None:
    new = RESULTS.with_suffix(".new")
    new.write_text(json.dumps(results))
    new.replace(RESULTS)


def report(modules: list[str]) -> None:
    """Prints the survivors, and how many of the mutants that were tested are killed."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    of_folders: dict[str, list[int]] = {}
    for module in modules:
        mutants = list(mutants_of(module))
        tests = digest_of_tests(module)
        tested = [mutant for mutant in mutants if is_known(results.get(mutant.key), tests)]
        survivors = [mutant for mutant in tested if results[mutant.key]["survived"]]
        for mutant in survivors:
            print(f"{mutant.module}.py:{mutant.line}: {mutant.operator}\n{mutant.change()}")
        counts = len(tested) - len(survivors), len(tested), len(mutants)
        print(f"{module}: {counts[0]} of {counts[1]} killed, of {counts[2]}\n")
        total = of_folders.setdefault(module.partition("/")[0], [0, 0, 0])
        of_folders[module.partition("/")[0]] = [a + b for a, b in zip(total, counts, strict=True)]
    for folder, (killed, tested, count) in of_folders.items():
        share = 100 * killed / max(1, tested)
        print(f"{folder}/: {share:.1f} %, {killed} of {tested} mutants killed ({count} in all)")


def modules_in(wanted: list[str]) -> list[str]:
    folders = [ROOT / "keras_sparse" / folder for folder in ("rules", "training")]
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    names = [f"{file.parent.name}/{file.stem}" for file in files if file.stem != "__init__"]
    found = [name for name in names if {name, name.partition("/")[0]} & set(wanted)]
    if not found:
        raise SystemExit(f"no such module or folder: {wanted}; there are {names}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=["rules", "training"])
    parser.add_argument("--sample", type=int, help="test this many mutants, drawn at random")
    parser.add_argument("--list", action="store_true", help="test none, list what was found")
    arguments = parser.parse_args()
    chosen = modules_in(arguments.modules)
    if not arguments.list:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none of them is needed
        sys.dont_write_bytecode = False  # else each fork compiles all modules
        os.chdir(ROOT)
        sys.path[:0] = [str(ROOT)]
        import hypothesis  # noqa: F401
        import keras  # noqa: F401
        import tensorflow  # noqa: F401

        gc.collect()
        gc.freeze()  # else each fork looks through all of TensorFlow for what is no longer needed
        run(chosen, arguments.sample)
    report(chosen)
