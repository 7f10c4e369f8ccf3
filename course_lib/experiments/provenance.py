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
    count. Comments, docstrings, the texts of errors and the layout of the lines do not count, because they change no
    result; nor do the modules of `CHANGES_NO_RESULT`, nor the ``__init__.py`` of a package, which names all of its
    modules, whichever is used.

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
        tree = ast.parse(_file(name, package).read_text(encoding="utf-8"))
        waiting += [found for found in _imported(tree, package) if found not in seen]
        seen[name] = ast.dump(_without_texts(tree))
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


def _imported(tree: ast.Module, package: Path) -> set[str]:
    """Return the modules of the package that a file imports anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from course_lib import graphs` names a module, `from course_lib.graphs import batch` something in one.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    counted = {name for name in names if name.split(".")[0] == package.name}
    counted -= {f"{package.name}.{module}" for module in CHANGES_NO_RESULT}
    files = {name: _file(name, package) for name in counted}
    return {name for name, file in files.items() if file.is_file() and file.name != "__init__.py"}


def _without_texts(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func  # the kind of error may matter, its text does not
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree
