"""Small changes of the library that a fast test must notice: `make mutants`.

Only the results are written: a stopped run continues where it was, and a mutant runs again if its
module changes, or if it survived and its tests change.

    python tests/mutants                          # all of rules/ and training/
    python tests/mutants rules/budget             # one module
    python tests/mutants --sample 3 training      # three of each module, drawn at random
    python tests/mutants --sample 3 --seed 1      # another three of each
    python tests/mutants --list                   # survivors and the score so far
"""

import argparse
import gc
import itertools
import os
import sys

from changes import ROOT, Mutant, digest, modules_in, mutants_of
from reference import run_reference
from trials import NO_PYTHON, Trials


def report(chosen: dict[str, list[Mutant]], trials: Trials) -> None:
    """Prints the survivors, and how many of the mutants that were tried are killed."""
    of_folders: dict[str, list[int]] = {}
    for module, mutants in chosen.items():
        known = [mutant for mutant in mutants if trials.is_known(mutant)]
        tried = [of for of in known if trials.results[of.key]["killer"] != NO_PYTHON]
        survivors = [of for of in tried if not trials.results[of.key]["killer"]]
        for mutant in survivors:
            tests = len(trials.reached.tests(mutant))
            print(f"{module}.py:{mutant.line}: {mutant.operator}, {tests} tests")
            print(mutant.change())
        counts = len(tried) - len(survivors), len(tried), len(mutants_of(module))
        print(f"{module}: {counts[0]} of {counts[1]} killed, of {counts[2]}\n")
        total = of_folders.setdefault(module.partition("/")[0], [0, 0, 0])
        of_folders[module.partition("/")[0]] = [a + b for a, b in zip(total, counts, strict=True)]
    for folder, (killed, tried_, count) in of_folders.items():
        share = 100 * killed / max(1, tried_)
        print(f"{folder}/: {share:.1f} %, {killed} of {tried_} mutants killed ({count} in all)")


def sample(mutants: list[Mutant], size: int | None, seed: int) -> list[Mutant]:
    """That many of these mutants, drawn at random; None: all."""
    return sorted(mutants, key=lambda mutant: digest(str(seed), mutant.key))[:size]


def prepare() -> None:
    """Imports what no mutant changes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none of them is needed
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT)]
    import hypothesis
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    # no deadline: on a busy machine it would be the deadline that kills a mutant
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutants")
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=["rules", "training"])
    parser.add_argument("--sample", type=int, help="try this many of each module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=6, help="of tests for a mutant")
    parser.add_argument("--list", action="store_true", help="try none, list what was found")
    arguments = parser.parse_args()
    chosen = {
        module: sample(mutants_of(module), arguments.sample, arguments.seed)
        for module in modules_in(arguments.modules)
    }
    if not arguments.list:
        prepare()
        run_reference()
        by_turns = itertools.zip_longest(*chosen.values())  # a stopped run tells of each module
        due = [mutant for turn in by_turns for mutant in turn if mutant is not None]
        trials = Trials(arguments.seconds)
        due.sort(key=lambda mutant: mutant.key not in trials.results)  # survivors first
        trials.run(due)
    report(chosen, Trials(arguments.seconds))
