"""Mutation testing: change one place in a module, and see whether a test fails.

    python tools/mutants.py                          # 200 mutants, drawn from all modules of TESTS
    python tools/mutants.py losses late_fusion       # from these
    python tools/mutants.py losses:126 losses:130    # all mutants of these lines, up to 200

Every mutant runs in a forked process, which shares what the parent has imported; the changed module exists only there.
It is killed if a test fails or does not end. The program lists those that survive, and exits with 1 where fewer than
95 % are killed. It needs Linux.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from io import StringIO
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

_ANALYSIS = (
    "difference or interval or detect or level or fusion or front or blend or ensemble or formulas or targets or "
)
_ANALYSIS += "errors_by or nearly_equal or transfer or missing_run or correlation or best_settings or left_out"
TESTS = {
    "models/layers": ["tests/test_layers.py"],
    "models/gated_sum": ["tests/test_cgcnn.py"],
    "models/line_graph": ["tests/test_alignn.py"],
    "models/equivalent_edges": ["tests/test_alignn.py"],
    "losses": ["tests/test_losses.py"],
    "late_fusion": ["tests/test_late_fusion.py"],
    "experiments/analysis": ["tests/test_experiments.py", "-k", _ANALYSIS],
    "graphs": ["tests/test_graphs.py", "-k", "not few_structures and not cluster"],
    "teaching/checkers/declarative": ["tests/test_checkers.py"],
    "downloads": ["tests/test_downloads.py"],
}
"""What is mutated in the folder ``course_lib``, and the arguments of pytest for its tests."""

FREE = {"_CHUNK", "_PIECE", "_ROWS", "_first_radius", "_hash", "_in_chunks", "n_threads"}
"""Constants, functions and arguments that many values and formulas would do for, with the same result: sizes of chunks,
the start of a search that goes on until it is done, a hash, how many threads. No test can tell them apart, so they stay
as they are."""

EQUIVALENT = {
    ("FADE_WIDTH < radius[crystal]", "last + FADE_WIDTH <= radius[crystal]"): "a neighbour so far away has weight 0",
    ("done[crystal] & (count > 0)", "count >= 0"): "every atom of a crystal that is done has neighbours",
    ("low, high = last - FADE_WIDTH / 2", "FADE_WIDTH * 2"): "a search that begins farther away ends where it did",
    ("< BOND_TOLERANCE)", "length[1:] - length[:-1] <= BOND_TOLERANCE"): "two numbers that are never equal",
    ("np.arange(end[-1] if len(end) else 0)", "1"): "one number and no lengths are joined to nothing",
    ("_MOST_PAIRS = 5_000_000", "10000000"): "a bound on memory",
    ("exponent.clamp_(max=80.0)", "exponent"): "what this keeps away becomes 0 in the next step; it is only slow",
    ("n_processes() == 1:", "not self.training and n_processes() == 1"): "the sum over one process is its own",
}
"""Changes that no test can see because the result is the same, and why: part of the line, and what is put there."""

_OPERATORS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_PAIRS = ("min max", "any all", "amin amax", "zeros ones", "zeros_like ones_like", "argmin argmax", "minimum maximum")
_NAMES = {a: b for pair in map(str.split, _PAIRS) for a, b in (pair, pair[::-1])}
# What is left out of ``x.name(...)``; left out elsewhere, most calls would only cause an error.
_STEPS = {"abs", "clamp", "clamp_", "clip", "dropna", "detach", "double", "mean", "round", "sort_values", "sqrt", "sum"}
_SKIPPED = {"annotation", "returns", "decorator_list"}


class Mutant(NamedTuple):
    """A module with one change."""

    module: str
    line: int
    change: str
    source: bytes

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.change}"


def path_of(module: str) -> Path:
    """Return the file of a module, such as ``"models/layers"``."""
    return ROOT / "course_lib" / f"{module}.py"


def mutants(module: str, source: bytes) -> list[Mutant]:
    """Return all mutants of a module's source; error messages and annotations stay as they are."""
    lines = source.splitlines(keepends=True)
    start = [0, *accumulate(map(len, lines))]
    found = {}
    for node, new in _changes(ast.parse(source)):
        begin, end = start[node.lineno - 1] + node.col_offset, start[node.end_lineno - 1] + node.end_col_offset
        before, after = source[begin:end].decode().partition("\n")[0], ast.unparse(new)
        changed = source[:begin] + (after if isinstance(new, ast.stmt) else f"({after})").encode() + source[end:]
        line = lines[node.lineno - 1].decode().strip()
        if any(part in line and after == put_there for part, put_there in EQUIVALENT):
            continue
        change = f"{line}  [{before} -> {after}]"
        found[changed] = Mutant(module, node.lineno, change, changed)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _changes(parent: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    for field, value in ast.iter_fields(parent):
        for child in value if isinstance(value, list) else [value]:
            stays = field in _SKIPPED or _stays(child) or (field == "func" and _makes_an_empty_array(parent))
            if isinstance(child, ast.AST) and not stays:
                yield from ((child, new) for new in _replacements(child, field))
                if not isinstance(child, ast.JoinedStr | ast.Raise):
                    yield from _changes(child)


def _replacements(node: ast.AST, field: str) -> Iterator[ast.AST]:
    def like(**fields: object) -> ast.AST:
        return type(node)(**dict(ast.iter_fields(node)) | fields)

    if field == "test" and isinstance(node, ast.Name | ast.Attribute | ast.Call) and "TYPE" not in ast.unparse(node):
        yield ast.UnaryOp(ast.Not(), node)
    match node:
        case ast.Compare(ops=ops):
            for i, operator in enumerate(ops):
                yield like(ops=[*ops[:i], _OPERATORS[type(operator)](), *ops[i + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATORS:
            yield like(op=_OPERATORS[type(op)]())
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):  # a large one is round, a limit or a size
            yield ast.Constant(value + 1 if value < 100 else 2 * value)
        case ast.Constant(value=float(value)):  # a tiny number is a tolerance
            yield ast.Constant(value * (2 if value > 0.01 else 100) or 1.0)
        case ast.Name(id=name) if name in _NAMES:
            yield like(id=_NAMES[name])
        case ast.Attribute(attr=name) if name in _NAMES:
            yield like(attr=_NAMES[name])
        case ast.Call(func=func, keywords=keywords):
            for i, keyword in enumerate(keywords):
                if not _stays(keyword):
                    yield like(keywords=keywords[:i] + keywords[i + 1 :])
            if isinstance(func, ast.Attribute) and func.attr in _STEPS:
                yield func.value
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()


def _stays(node: ast.AST) -> bool:
    """Say whether no test could see a change: of a definition in `FREE`, or of the ``strict=True`` of `zip`."""
    match node:
        case ast.keyword(arg=name) | ast.Assign(targets=[ast.Name(id=name)]) | ast.FunctionDef(name=name):
            return name == "strict" or name in FREE
    return False


def _makes_an_empty_array(call: ast.Call) -> bool:
    """Say whether zeros and ones would do, because the shape has a 0."""
    shape = call.args[0] if call.args else None
    lengths = shape.elts if isinstance(shape, ast.Tuple) else [shape]
    named = isinstance(call.func, ast.Attribute) and call.func.attr in ("zeros", "ones")
    return named and any(isinstance(length, ast.Constant) and length.value == 0 for length in lengths)


class Mutated(MetaPathFinder, SourceFileLoader):
    """Imports a mutant instead of its module."""

    def __init__(self, mutant: Mutant):
        super().__init__(f"course_lib.{mutant.module.replace('/', '.')}", str(path_of(mutant.module)))
        self._source = mutant.source

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Find the one module."""
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> object:
        """Compile the changed source."""
        return compile(self._source, self.path, "exec", dont_inherit=True)


def passes(module: str, mutant: Mutant | None = None, seconds: float = 300) -> bool:
    """Run a module's tests, with a mutant of it, in a process of limited CPU time; say whether all of them pass."""
    from hypothesis import Phase, settings  # not before pytest, which refuses that

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
    signal.alarm(int(10 * seconds))  # for what waits without end
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], derandomize=True)
    settings.load_profile("mutants")  # searches no smaller example of a failure
    if mutant:
        sys.meta_path.insert(0, Mutated(mutant))
    os._exit(pytest.main(["-x", "--tb=no", "-p", "no:cacheprovider", *TESTS[module]]))


def import_packages(modules: list[str]) -> None:
    """Import what the tests import, once for all processes, and forget again what is ours."""
    files = sorted({TESTS[module][0] for module in modules})
    with redirect_stdout(StringIO()) as said:
        if pytest.main(["--collect-only", "-qq", *files]):
            raise SystemExit(f"pytest cannot collect the tests: {said.getvalue()}")
    ours = tuple(str(ROOT / folder) for folder in ("course_lib", "tests", "tools"))
    for name, module in list(sys.modules.items()):
        if name != "__main__" and (getattr(module, "__file__", None) or "").startswith(ours):
            del sys.modules[name]


def seconds_of_tests(module: str) -> float:
    """Return the CPU time of a module's tests, which must pass without a mutant."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not passes(module):
        raise SystemExit(f"The tests of {module} fail without a mutant: pytest {' '.join(TESTS[module])}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", metavar="MODULE[:LINE]", help=f"of {', '.join(TESTS)}; default: all")
    parser.add_argument("--number", type=int, default=200, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    options = parser.parse_args()

    pool = []
    for place in options.places or TESTS:
        module, _, line = place.partition(":")
        of_module = mutants(module, path_of(module).read_bytes())
        pool += [mutant for mutant in of_module if not line or mutant.line == int(line)]
    sample = random.Random(options.seed).sample(pool, min(options.number, len(pool)))
    print(f"{len(sample)} of {len(pool)} mutants", flush=True)

    os.chdir(ROOT)
    modules = sorted({mutant.module for mutant in sample})
    import_packages(modules)
    n_alive = 0
    for module in modules:
        chosen = sorted((mutant for mutant in sample if mutant.module == module), key=lambda mutant: mutant.line)
        limit = 3 * seconds_of_tests(module) + 5
        alive = [mutant for mutant in chosen if passes(module, mutant, limit)]
        print(f"{module}: {len(chosen) - len(alive)} of {len(chosen)} killed", *alive, sep="\n  ", flush=True)
        n_alive += len(alive)
    print(f"{1 - n_alive / len(sample):.1%} killed")
    return int(n_alive > 0.05 * len(sample))


if __name__ == "__main__":
    raise SystemExit(main())
