"""Which code made a recorded run: the git commit, and a hash of the modules that its method depends on."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent

CHANGES_NO_RESULT = frozenset({"files", "graph_files", "validation"})
"""Modules that store what they are given, or refuse it: their code may change, and recorded runs still count."""


@cache
def git_commit() -> str | None:
    """Return the commit of the checkout that holds this code, or None outside a checkout.

    It ends in ``+`` where files of the package differ from the commit.
    """
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", str(PACKAGE))
    return None if commit is None else commit + ("+" if changed else "")


def _git(*arguments: str) -> str | None:
    """Return what git prints; None without git or outside a checkout."""
    try:
        done = subprocess.run(["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code_sha256(modules: Iterable[str], package: Path = PACKAGE) -> str:
    """Return a hash of the code of some modules and of all modules of the package that they import, directly or not.

    The modules may be outside the package, such as that of a network of your own; what they import outside does not
    count. Comments, docstrings and the layout of the lines do not count, because they change no result; nor do refusals
    (an ``if`` that ends in ``raise``, functions whose name begins with ``check`` and the lines that call them), because
    a run that has a result was not refused; nor do the modules of `CHANGES_NO_RESULT`, nor the ``__init__.py`` of a
    package, which names all of its modules, whichever is used.

    Parameters
    ----------
    modules : iterable of str
        Full names, for example ``"course_lib.models.cgcnn"``.
    package : path
        The folder of the package, whose name is the first part of each module's name.

    Raises
    ------
    FileNotFoundError
        If a module does not exist or has no file.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        imported, seen[name] = _parsed(_file(name, package).read_text(encoding="utf-8"), package.name)
        waiting += [found for found in imported if found not in seen and _has_code(_file(found, package))]
    return hashlib.sha256("\n".join(f"{name} {seen[name]}" for name in sorted(seen)).encode()).hexdigest()


def _file(module: str, package: Path) -> Path:
    if module.split(".")[0] != package.name:
        found = find_spec(module) if module != "__main__" else None
        if found is None or not found.has_location:
            raise FileNotFoundError(
                f"no file of the module {module}: put the network into a file that can be imported."
            )
        return Path(found.origin)
    path = package.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _has_code(file: Path) -> bool:
    return file.is_file() and file.name != "__init__.py"


@cache  # many methods depend on the same modules
def _parsed(text: str, package: str) -> tuple[frozenset[str], str]:
    """Return what the text of a module may import from the package, and what of its code can change a result."""
    tree = ast.parse(text)
    return _imported(tree, package), ast.dump(_OnlyResults(package).visit(tree))


def _imported(tree: ast.Module, package: str) -> frozenset[str]:
    """Return names of the package that a file imports anywhere, of modules or of what is in them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from course_lib import graphs` names a module, `from course_lib.graphs import batch` something in one.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    counted = {name for name in names if name.split(".")[0] == package}
    return frozenset(counted - {f"{package}.{module}" for module in CHANGES_NO_RESULT})


class _OnlyResults(ast.NodeTransformer):
    """Leave out of a module what cannot change a result: docstrings, the texts of errors, and refusals."""

    def __init__(self, package: str):
        self.ignored = {f"{package}.{module}" for module in CHANGES_NO_RESULT}
        self.caught = False  # inside ``try``, where a refusal can change a result

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        super().generic_visit(node)
        if not getattr(node, "body", True):
            node.body = [ast.Pass()]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func  # the kind of error may matter, its text does not
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        binds = any(isinstance(part, ast.NamedExpr) for part in ast.walk(node.test))
        refuses = isinstance(node.body[-1], ast.Raise) and not node.orelse and not binds
        return None if refuses and not self.caught else self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.Try:
        outside, self.caught = self.caught, True
        node.body = [kept for part in node.body if (kept := self.visit(part)) is not None]
        self.caught = outside
        for name in ("handlers", "orelse", "finalbody"):
            setattr(node, name, [kept for part in getattr(node, name) if (kept := self.visit(part)) is not None])
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        name = getattr(called, "attr", getattr(called, "id", ""))
        return None if _only_refuses(name) and not self.caught else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        return None if _only_refuses(node.name) else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return None if node.module in self.ignored else node


def _only_refuses(name: str) -> bool:
    """Say whether a function is named as one that raises an error or does nothing."""
    return name.lstrip("_").split("_")[0] == "check"
