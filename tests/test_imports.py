"""Which module may import what?"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "keras_sparse"

# A module imports only from the left of itself: first arithmetic, then optimizers, then what looks at them. Imports for types
# alone (`if TYPE_CHECKING`) do not count.
ORDER = [
    "blocks",
    "mask_bits",
    "density",
    "scores",
    "budget",
    "mask_update",
    "all_layers",
    "given_masks",
    "initial_masks",
    "initial_scale",
    "initializer_law",
    "update_times",
    "break_even",
    "_keras",
    "kernel_axes",
    "_masked_gradient",
    "_library",
    "gpu",
    "choice",
    "_gradients",
    "ops",
    "kernel_mask",
    "momentum",
    "growth_window",
    "schedules",
    "phases",
    "selection",
    "scale_invariant",
    "untrained",
    "seed",
    "wrapper",
    "fused_sgd",
    "checkpoint",
    "held_masks",
    "explored_masks",
    "masked_steps",
    "state_in_files",
    "first_masks",
    "masked_optimizer",
    "optimizer_layers",
    "asked_density",
    "update_watch",
    "settings",
    "optimizers",
    "final_density",
    "presets",
    "compiled",
    "agreement",
    "mask_training",
    "backup",
    "normalization",
    "layers",
    "convertible",
    "conversion_report",
    "_keras_copy",
    "copy_model",
    "sparsify",
    "snip",
    "callbacks",
    "export",
    "products",
    "tensorflow_graph",
    "jax_graph",
    "multiply_adds",
    "prune",
    "masked_weights",
    "density_of",
    "runs_as",
    "step_speed",
    "summary",
    "plots",
    "__init__",
    "__main__",
]
# The same within tpu_check, which only __main__ and users import; of the package it may import what is left of "__init__".
TPU_CHECK = [
    "_libtpu",
    "_tensorflow",
    "fake_tpu",
    "train_step",
    "cluster",
    "replica",
    "library",
    "lower",
    "compile",
    "batch",
    "check",
    "command",
    "__init__",
]
NUMPY_ONLY = ORDER[: ORDER.index("_keras")]
DEPENDENCIES = {"h5py", "keras", "numpy", "rich"}  # what the package needs, and may import at its top
OPTIONAL = {"jax", "matplotlib", "tensorflow_model_optimization"}  # only inside of functions
MAY_IMPORT_TENSORFLOW = {  # the rest is the same on every backend
    "_library",
    "gpu",
    "_gradients",
    "ops",
    "fused_sgd",
    "normalization",
    "export",
    "agreement",
    "tensorflow_graph",
    "step_speed",
}


def read(module: str) -> ast.Module:
    """Of a module, or ``"tpu_check/module"``."""
    return ast.parse((PACKAGE / f"{module}.py").read_text())


class ForTypesOnly(ast.NodeTransformer):
    """Takes out ``if TYPE_CHECKING:``, which runs never."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else self.generic_visit(node)


def imported(statements: Iterator[ast.AST]) -> set[str]:
    """Dotted names that these statements import; ``from a import b`` gives a.b."""
    names = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
    return names


def imported_anywhere(module: str) -> set[str]:
    return imported(ast.walk(ForTypesOnly().visit(read(module))))


def imported_at_the_top(module: str) -> set[str]:
    return imported(iter(read(module).body))


def packages(names: set[str]) -> set[str]:
    """First parts of dotted names, less the standard library and this package."""
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"keras_sparse"}


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py"))


def own(module: str) -> set[str]:
    """What it imports of the package: "ops", or "tpu_check.lower"."""
    names = [name.split(".") for name in imported_anywhere(module) if name.startswith("keras_sparse.")]
    return {".".join(parts[1:3]) if parts[1] == "tpu_check" else parts[1] for parts in names}


@pytest.mark.parametrize("module", ORDER)
def test_modules_import_only_from_the_left(module):
    allowed = {"tpu_check.command"} if module == "__main__" else set()
    assert own(module) <= set(ORDER[: ORDER.index(module)]) | allowed


def test_every_module_of_tpu_check_has_its_place():
    assert sorted(TPU_CHECK) == sorted(path.stem for path in (PACKAGE / "tpu_check").glob("*.py"))


@pytest.mark.parametrize("module", TPU_CHECK)
def test_modules_of_tpu_check_import_only_from_the_left(module):
    left = {f"tpu_check.{name}" for name in TPU_CHECK[: TPU_CHECK.index(module)]}
    assert own(f"tpu_check/{module}") <= left | set(ORDER[: ORDER.index("__init__")])


@pytest.mark.parametrize("module", TPU_CHECK)
def test_private_names_of_tensorflow_and_jax_stay_in_one_file_each(module):
    names = imported_anywhere(f"tpu_check/{module}")
    assert module == "_tensorflow" or not [name for name in names if name.startswith(("tensorflow.python", "tensorflow.compiler", "keras.src"))]
    assert module == "_libtpu" or not [name for name in names if name.split(".")[0] in ("jax", "jaxlib")]


def test_libtpu_is_asked_without_tensorflow():
    assert packages(imported_anywhere("tpu_check/_libtpu")) == {"jax", "jaxlib", "numpy"}
    assert own("tpu_check/_libtpu") == set()


@pytest.mark.parametrize("module", NUMPY_ONLY)
def test_the_arithmetic_needs_only_numpy(module):
    assert packages(imported_anywhere(module)) <= {"numpy"}


@pytest.mark.parametrize("module", ORDER)
def test_the_top_of_a_module_imports_only_what_the_package_depends_on(module):
    assert packages(imported_at_the_top(module)) <= DEPENDENCIES


@pytest.mark.parametrize("module", sorted(set(ORDER) - MAY_IMPORT_TENSORFLOW))
def test_tensorflow_is_imported_nowhere(module):
    assert packages(imported_anywhere(module)) <= DEPENDENCIES | OPTIONAL


@pytest.mark.parametrize("module", ORDER)
def test_private_modules_of_keras_stay_in_two_files(module):
    private = {name for name in imported_anywhere(module) if name.startswith("keras.src")}
    assert not private or module in ("_keras", "_keras_copy")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import keras.src.x", {"keras.src.x"}),
        ("from keras_sparse import density as d", {"keras_sparse.density"}),
        ("from keras_sparse.density import matches", {"keras_sparse.density.matches"}),
        ("def f():\n    import tensorflow", {"tensorflow"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"b"}),
    ],
)
def test_this_test_sees_imports(source, names):
    assert imported(ast.walk(ForTypesOnly().visit(ast.parse(source)))) == names
