"""The mutants of a module: each changes one operator, number, condition or call.

cosmic-ray makes the changes. Our own operators remove a call, or swap max and min.
"""

import ast
import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("rules", "training")

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
# of a zip, a dataclass, a TypedDict, and a warning, which names the line that it shows
LEFT_ALONE = ("strict", "frozen", "total", "stacklevel")
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
    column: int
    before: str = dataclasses.field(repr=False)

    @property
    def key(self) -> str:
        return digest(self.module, self.before, self.operator, str(self.occurrence))

    @functools.cached_property
    def source(self) -> str:
        return mutate_code(self.before, OPERATORS[self.operator], self.occurrence)

    def statement(self) -> int:
        """The first line of the statement that changes."""
        return self._around(ast.stmt)[-1].lineno

    def is_in_function(self) -> bool:
        """Does it run when the function is called, unlike a default or a decorator?"""
        functions = self._around(ast.FunctionDef)
        return any(of.body[0].lineno <= self.line for of in functions)

    def _around(self, kind: type[ast.stmt]) -> list[ast.stmt]:
        """The statements of a kind around the change, from outside to inside."""
        place = self.line, self.column
        return [
            node
            for node in statements(self.before)
            if isinstance(node, kind)
            and (first_line(node), 0) <= place < (node.end_lineno, node.end_col_offset)
        ]

    def change(self) -> str:
        """The lines that differ."""
        lines = self.before.splitlines(), self.source.splitlines()
        difference = list(difflib.unified_diff(*lines, n=0, lineterm=""))[3:]
        return "\n".join(f"    {line}" for line in difference)


@functools.cache
def statements(source: str) -> list[ast.stmt]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]


def first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min(node.lineno for node in (statement, *decorators))


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def path_of(module: str) -> Path:
    return ROOT / "keras_sparse" / f"{module}.py"


def modules_in(wanted: list[str]) -> list[str]:
    """The modules that these names of modules and folders mean."""
    files = [file for of in FOLDERS for file in sorted((ROOT / "keras_sparse" / of).glob("*.py"))]
    names = [f"{file.parent.name}/{file.stem}" for file in files if file.stem != "__init__"]
    found = [name for name in names if {name, name.partition("/")[0]} & set(wanted)]
    if not found:
        raise SystemExit(f"no such module or folder: {wanted}; there are {names}")
    return found


def mutants_of(module: str) -> list[Mutant]:
    """All mutants of a module."""
    source = path_of(module).read_text()
    without = list(left_alone(source))
    nodes = list(ast_nodes(get_ast(source)))
    mutants = []
    for name, operator in OPERATORS.items():
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start <= last for first, last in without):
                mutants.append(Mutant(module, name, occurrence, *start, source))
    return mutants


def left_alone(source: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Places that only declare: types, and the arguments of `LEFT_ALONE`."""
    for node in ast.walk(ast.parse(source)):
        declares = isinstance(node, ast.keyword) and node.arg in LEFT_ALONE
        value = node.value if declares else None
        for found in (getattr(node, "annotation", None), getattr(node, "returns", None), value):
            if found is not None:
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)
