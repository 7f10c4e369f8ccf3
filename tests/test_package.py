"""The shape of the package: light to import, and every module rests on floors below its own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "course_lib"

# From the ground up; a module imports from lower floors only. A new module gets its place here.
FLOORS = (
    {"commands", "files", "json_frames"},
    {"validation"},
    {"parallel"},
    {"cif", "downloads"},
    {"structure_files"},
    {"id_prop"},
    {"crystal_files"},
    {"dataset_sources"},
    {"graph_files"},
    {"datasets", "composition", "graphs"},
    {"models", "losses", "local_environments", "pretrained", "scaling", "flat_models"},
    {"lightning_parts"},
    {"training", "forest", "tabular", "features", "matches"},
    {"late_fusion", "interpret", "invariance", "published"},
    {"methods"},
    {"makers"},
    {"experiments"},
    {"predictors"},
    {"matbench_tasks"},
    {"cli"},
    {"__main__"},
    {"teaching"},
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
CHECKERS = [path for path in MODULES if path.parent.name == "checkers" and path.stem != "__init__"]
HEAVY = {"torch", "torch_geometric", "lightning", "pymatgen", "matminer", "matbench", "sklearn", "pandas", "numpy"}


def part(path: Path) -> str:
    """Return the module of the package, or the subpackage, that the file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Return the full names that a file imports, wherever in it, but for those that serve type hints only."""
    names = set()
    for node in ast.walk(_without_type_checking(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            # `from course_lib import graphs` imports the module graphs.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _without_type_checking(tree: ast.Module) -> ast.Module:
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tree


def loaded_by(statement: str) -> set[str]:
    """Return the packages in memory after `statement` in a fresh process."""
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import course_lib") & HEAVY


def test_networks_and_training_need_no_materials_packages():
    loaded = loaded_by("import course_lib.models, course_lib.training, course_lib.graphs")
    assert "torch" in loaded
    assert not loaded & {"pymatgen", "matminer", "matbench", "ase", "spglib"}


def test_the_generator_of_the_crystals_needs_numpy_alone():
    """It runs on a Python that has GPAW, which has none of the course's packages; files are written there, too."""
    loaded = loaded_by(
        "import tempfile, pathlib, data.pbe_prototypes.compute as c\n"
        "c.write_atomically(pathlib.Path(tempfile.mkdtemp(), 'file'), 'text')"
    )
    assert "numpy" in loaded
    assert not loaded & (HEAVY | {"psutil", "filelock", "requests", "joblib"}) - {"numpy"}


def test_checkers_load_what_they_need_when_they_are_asked():
    names = ", ".join(f"course_lib.teaching.checkers.{path.stem}" for path in CHECKERS)
    loaded = loaded_by(f"import {names}")
    assert "numpy" in loaded
    assert not loaded & (HEAVY | {"matplotlib"}) - {"numpy", "pandas"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_rests_on_lower_floors(path):
    own = part(path)
    assert own in FLOOR_OF, f"give {own} a floor in FLOORS"
    for name in imports(path):
        package, *rest = name.split(".")
        if package == "course_lib" and rest and rest[0] in FLOOR_OF and rest[0] != own:
            assert FLOOR_OF[rest[0]] < FLOOR_OF[own], f"{own} imports {rest[0]}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part(path) in {"models", "losses"}], ids=lambda path: path.name
)
def test_models_import_torch_and_pyg_only(path):
    others = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
    assert others <= {"torch", "torch_geometric", "course_lib"}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part(path) in {"models", "losses", "training"}], ids=lambda p: p.name
)
def test_networks_and_training_never_import_materials_packages(path):
    """Nor inside a function, where a fresh import would not show it."""
    assert not {name.split(".")[0] for name in imports(path)} & {"pymatgen", "matminer", "matbench"}


def test_the_check_of_floors_can_fail(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from course_lib import graphs\n    import course_lib.models.layers\n")
    assert imports(file) == {"course_lib.graphs", "course_lib.models.layers"}
