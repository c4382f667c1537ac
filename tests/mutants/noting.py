"""Each module notes its lines while a test runs, by a note before each statement.

It costs little; a tracer would slow down all of Keras.
"""

import ast
import importlib.util
from importlib.machinery import SourceFileLoader
from typing import ClassVar

from changes import FOLDERS, modules_in, path_of


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
