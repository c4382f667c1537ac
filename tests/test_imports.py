"""Rooms import only from rooms before them, and few modules import TensorFlow."""

import ast
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "keras_sparse"

# A folder imports only from folders to its left; imports for types (`if TYPE_CHECKING`) may differ.
ROOMS = ["rules", "compute", "tracing", "conversion", "training", "models"]
ROOMS += ["exporting", "reporting", "commands"]
TOP = ["__init__", "__main__"]  # the only modules outside of the folders


def modules_in(folder: str) -> list[str]:
    return [f"{folder}/{path.stem}" for path in sorted((PACKAGE / folder).glob("*.py"))]


MODULES = [module for room in ROOMS for module in modules_in(room)]
KERAS = modules_in("_keras")  # private names of Keras; all rooms but "rules" may import them
# The same within tpu_check, which only __main__ and users import.
TPU_CHECK = ["_libtpu", "_tensorflow", "fake_tpu", "train_step", "cluster", "replica", "cxx"]
TPU_CHECK += ["library", "lower", "compile", "batch", "check", "command", "__init__"]
# What the package needs, and may import at its top.
DEPENDENCIES = {"h5py", "keras", "ml_dtypes", "numpy", "rich"}
OPTIONAL = {  # only inside of functions
    "ai_edge_litert",
    "jax",
    "matplotlib",
    "onnxruntime",
    "openvino",
    "tensorboard",
    "tensorflow_model_optimization",
    "tf_keras",
}
MAY_IMPORT_TENSORFLOW = {  # the rest is the same on every backend
    "exporting/without_zeros",
    "compute/autograph",
    "compute/free_memory",
    "compute/library",
    "compute/onednn",
    "compute/gpu_kernels",
    "compute/gradients",
    "compute/growth_batch",
    "compute/op_call",
    "compute/normalization",
    "compute/normalization_op",
    "training/fused_steps",
    "training/agreement",
    "exporting/custom_ops",
    "exporting/litert",
    "exporting/litert_graph",
    "exporting/readers",
    "exporting/served_loader",
    "exporting/runtimes",
    "models/tflite_tensors",
    "models/event_files",
    "models/weight_files",
    "tracing/tensorflow_graph",
    "models/step_parts",
    "models/step_speed",
    "commands/bench",
    "models/layer_speed",
    "commands/products",
    "commands/threads",
    "commands/tune",
}


def read(module: str) -> ast.Module:
    """Of a module, or ``"tpu_check/module"``."""
    return ast.parse((PACKAGE / f"{module}.py").read_text())


class ForTypesOnly(ast.NodeTransformer):
    """Takes out ``if TYPE_CHECKING:``, which runs never."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return (
            node.orelse
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            else self.generic_visit(node)
        )


def imported(statements: Iterator[ast.AST]) -> set[str]:
    """Dotted names that these statements import; ``from a import b`` gives a.b."""
    names = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
    return names


@functools.cache
def imported_anywhere(module: str) -> set[str]:
    return imported(ast.walk(ForTypesOnly().visit(read(module))))


def imported_at_the_top(module: str) -> set[str]:
    return imported(iter(read(module).body))


def packages(names: set[str]) -> set[str]:
    """First parts of dotted names, less the standard library and this package."""
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"keras_sparse"}


def test_every_module_is_in_a_room():
    assert sorted(TOP) == sorted(path.stem for path in PACKAGE.glob("*.py"))
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders == {*ROOMS, "_keras", "tpu_check"}


@functools.cache
def own(module: str) -> set[str]:
    """What it imports of the package: "_keras", "rules", or "tpu_check.lower"."""
    names = [
        name.split(".") for name in imported_anywhere(module) if name.startswith("keras_sparse.")
    ]
    return {".".join(parts[1:3]) if parts[1] == "tpu_check" else parts[1] for parts in names}


def wrong(modules: Iterable[str], found: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """Of each module the names that it must not have, if there are any."""
    return {module: names for module in modules if (names := found(module))}


def test_rooms_import_only_from_the_left():
    def from_the_right(module: str) -> set[str]:
        room = module.split("/")[0]
        left = set(ROOMS[: ROOMS.index(room) + 1])
        return own(module) - (left | ({"_keras"} if room != "rules" else set()))

    assert wrong(MODULES, from_the_right) == {}


def test_no_circle_of_imports():
    modules = [*MODULES, *KERAS]
    waiting = {module: imports_of_modules(module, modules) for module in modules}
    while waiting:
        ready = [module for module, needed in waiting.items() if not needed & set(waiting)]
        assert ready, f"these import each other: {sorted(waiting)}"
        for module in ready:
            del waiting[module]


def imports_of_modules(module: str, modules: list[str]) -> set[str]:
    """The modules, as in MODULES, that it imports."""
    names = {
        name.removeprefix("keras_sparse.").replace(".", "/") for name in imported_anywhere(module)
    }
    found = set()
    for name in names:
        found |= {name, name.rpartition("/")[0], f"{name.rpartition('/')[0]}/__init__"}
    return (found & set(modules)) - {module}


def test_every_module_of_tpu_check_has_its_place():
    assert sorted(TPU_CHECK) == sorted(path.stem for path in (PACKAGE / "tpu_check").glob("*.py"))


@pytest.mark.parametrize("module", TPU_CHECK)
def test_modules_of_tpu_check_import_only_from_the_left(module):
    left = {f"tpu_check.{name}" for name in TPU_CHECK[: TPU_CHECK.index(module)]}
    assert own(f"tpu_check/{module}") <= left | {*ROOMS, "_keras"}


@pytest.mark.parametrize("module", TPU_CHECK)
def test_private_names_of_tensorflow_and_jax_stay_in_one_file_each(module):
    names = imported_anywhere(f"tpu_check/{module}")
    assert module == "_tensorflow" or not [
        name
        for name in names
        if name.startswith(("tensorflow.python", "tensorflow.compiler", "keras.src"))
    ]
    assert module == "_libtpu" or not [
        name for name in names if name.split(".")[0] in ("jax", "jaxlib")
    ]


def test_libtpu_is_asked_without_tensorflow():
    assert packages(imported_anywhere("tpu_check/_libtpu")) == {"jax", "jaxlib", "numpy"}
    assert own("tpu_check/_libtpu") == set()


def test_the_arithmetic_needs_only_numpy():
    rules = [module for module in MODULES if module.startswith("rules/")]
    assert rules
    assert wrong(rules, lambda module: packages(imported_anywhere(module)) - {"numpy"}) == {}


def test_the_top_of_a_module_imports_only_what_the_package_depends_on():
    modules = [*MODULES, *KERAS, *TOP]
    assert wrong(modules, lambda of: packages(imported_at_the_top(of)) - DEPENDENCIES) == {}


def test_tensorflow_is_imported_nowhere():
    modules, known = {*MODULES, *TOP} - MAY_IMPORT_TENSORFLOW, DEPENDENCIES | OPTIONAL
    assert wrong(modules, lambda module: packages(imported_anywhere(module)) - known) == {}


def test_private_modules_of_keras_stay_in_their_folder():
    def private(module: str) -> set[str]:
        return {name for name in imported_anywhere(module) if name.startswith("keras.src")}

    assert wrong({*MODULES, *TOP} - {COPIES_KERAS_OBJECTS}, private) == {}


# Private attributes of other objects, outside of _keras: none of them is Keras'.
NOT_OF_KERAS = {
    "conversion/copier": {"_make"},  # of a named tuple
    "tracing/tensorflow_graph": {"_get_function"},  # of a TensorFlow graph
}
COPIES_KERAS_OBJECTS = "conversion/keras_copy"  # attribute by attribute


def private_attributes(tree: ast.AST) -> set[str]:
    """Private names that are read or set as attributes: ``layer._losses`` gives _losses."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def own_names(tree: ast.AST) -> set[str]:
    """Names of functions and classes, of variables, and of attributes that ``self`` gets."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found |= {node.attr} if of_self else set()
    return found


@functools.cache
def all_own_names() -> set[str]:
    return set().union(*(own_names(read(module)) for module in [*MODULES, *TOP]))


def test_private_attributes_of_keras_stay_in_their_folder():
    def of_keras(module: str) -> set[str]:
        not_of_keras = all_own_names() | NOT_OF_KERAS.get(module, set())
        return private_attributes(read(module)) - not_of_keras

    assert wrong({*MODULES, *TOP} - {COPIES_KERAS_OBJECTS}, of_keras) == {}


def test_this_test_sees_private_attributes():
    source = "self._own = model._losses\nmodel._loss_ids = 1\ndef _f(): return self._f().__name__"
    tree = ast.parse(source)
    assert private_attributes(tree) == {"_own", "_losses", "_loss_ids", "_f"}
    assert private_attributes(tree) - own_names(tree) == {"_losses", "_loss_ids"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import keras.src.x", {"keras.src.x"}),
        ("from keras_sparse import density as d", {"keras_sparse.density"}),
        ("from keras_sparse.rules.density import matches", {"keras_sparse.rules.density.matches"}),
        ("def f():\n    import tensorflow", {"tensorflow"}),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", {"b"}),
    ],
)
def test_this_test_sees_imports(source, names):
    assert imported(ast.walk(ForTypesOnly().visit(ast.parse(source)))) == names
