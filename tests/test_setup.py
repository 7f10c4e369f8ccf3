"""The files that set the course up agree with each other, and a second `make` installs nothing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PLACES_OF_THE_ADDRESS = ("pages/_config.yml", "README.md", "pages/index.md", "pages/online.md", "pages/teachers.md")
VISIBLE = {
    "notebooks", "course_lib", "data", "tests", "pages", "tools", "README.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "pyproject.toml", "environment.yml", "_toc.yml",
}  # fmt: skip
LOCK = "tools/requirements.lock"
COLAB = "tools/requirements-colab.txt"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """Return package -> version of a requirements file, every line of which must be an exact pin."""
    lines = [line for line in read(name).splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"{name}: {line!r} is not an exact pin (a local version such as +cpu would bind to one platform)"
        found[canonicalize_name(match[1])] = match[2]
    assert len(found) == len(lines), f"{name} names a package twice"
    return found


def matbench() -> Requirement:
    return Requirement(re.search(r"^MATBENCH := (.+)$", read("Makefile"), re.MULTILINE)[1])


def test_lock_file_pins_every_dependency():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(text) for text in project["dependencies"] + extras["book"] + extras["test"]]
    locked = pins(LOCK)
    unmet = [str(w) for w in wanted if not w.specifier.contains(locked.get(canonicalize_name(w.name), "0"))]
    assert unmet == [], "run `make lock`"


def test_lock_file_has_no_addresses():
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--hash", read(LOCK))


def test_installed_packages_are_the_locked_ones():
    from importlib.metadata import distributions

    installed = {canonicalize_name(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    expected = pins(LOCK) | {"matbench": str(next(iter(matbench().specifier)).version)}
    other = {name: (installed.get(name), version) for name, version in expected.items()}
    assert {name: both for name, both in other.items() if both[0] != both[1]} == {}, "(installed, locked): run `make`"


def test_colab_pins_are_the_locked_ones():
    assert pins(COLAB).items() <= pins(LOCK).items()


def test_conda_environment_has_the_tested_python_and_the_locked_packages():
    dependencies = yaml.safe_load(read("environment.yml"))["dependencies"]
    python = next(Requirement(d.replace("=", "==")) for d in dependencies if str(d).startswith("python="))
    version = str(next(iter(python.specifier)).version)
    assert tomllib.loads(read("pyproject.toml"))["project"]["requires-python"] == f">={version},<3.12"
    assert next(d["pip"] for d in dependencies if isinstance(d, dict)) == [f"--requirement {LOCK}"]
    assert (ROOT / ".binder/runtime.txt").read_text().strip() == f"python-{version}"


def test_binder_installs_with_a_target_that_make_knows():
    command = next(line for line in read(".binder/postBuild").splitlines() if line.startswith("make "))
    plan = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--torch-backend cpu torch==" in plan.stdout
    assert f"install --requirement {LOCK}" in plan.stdout
    assert "-m venv" not in plan.stdout


def colab_cell() -> list[str]:
    return re.search(r"```ipython3\n(.+?)```", read("pages/online.md"), re.DOTALL)[1].splitlines()


def test_colab_cell_is_valid_and_names_files_that_exist():
    from IPython.core.inputtransformer2 import TransformerManager

    compile(TransformerManager().transform_cell("\n".join(colab_cell()) + "\n"), "colab", "exec")
    installs = [shlex.split(line)[2:] for line in colab_cell() if line.startswith("%pip install")]
    arguments = [argument for install in installs for argument in install]
    clone = next(shlex.split(line) for line in colab_cell() if line.startswith("!git clone"))
    here = [Path(a).relative_to(clone[-1]) for a in arguments if a.startswith("/content")]
    assert [ROOT / path for path in here] == [ROOT / COLAB, ROOT]
    assert (ROOT / COLAB).exists()
    assert str(matbench()) in arguments
    assert "--no-deps" in installs[-1]


def test_public_address_is_one():
    addresses = {
        name: set(re.findall(r"(?:github\.com/|https://)([\w-]+)(?:\.github\.io)?/(hybrid-crystals)\b", read(name)))
        for name in PLACES_OF_THE_ADDRESS
    }
    config = yaml.safe_load(read("pages/_config.yml"))
    owner = tuple(config["repository"]["url"].split("/")[-2:])
    assert addresses["README.md"] <= {owner}
    assert "/".join(owner) in read("README.md")
    assert {name: found for name, found in addresses.items() if name != "README.md" and found != {owner}} == {}


def test_citation_is_complete():
    config = yaml.safe_load(read("pages/_config.yml"))
    version = re.search(r'__version__ = "(.+)"', read("course_lib/__init__.py"))[1]
    citation = re.search(r"^## How to cite$(.+?)^## ", read("README.md"), re.MULTILINE | re.DOTALL)[1]
    wanted = [config["title"], config["author"], config["repository"]["url"], config["copyright"], f"Version {version}"]
    assert [text for text in wanted if text not in citation] == []


def test_top_of_the_repository_has_these_entries_only():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git repository")
    assert {name.split("/")[0] for name in tracked.stdout.splitlines() if not name.startswith(".")} == VISIBLE


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md", "README.md", "pages/teachers.md", "data/README.md"])
def test_guide_names_files_that_exist(guide):
    named = re.findall(r"[` ]((?:notebooks|course_lib|tests|tools|pages|data)/[\w./-]*\w)(?![*\w])", read(guide))
    assert named
    placeholders = ("topic", "exN", "NN_")
    assert [name for name in named if not (ROOT / name).exists() and not any(p in name for p in placeholders)] == []


def test_licence_names_the_files_that_exist():
    named = re.findall(r"\b(?:data|pages)/[\w./-]*\w", read("LICENSE"))
    assert len(named) == 2
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["_toc.yml", "environment.yml", ".github/workflows/course.yml"])
def test_yaml_files_parse(name):
    assert yaml.safe_load(read(name))


def test_workflow_runs_the_same_script_as_every_other_ci():
    workflow = yaml.safe_load(read(".github/workflows/course.yml"))
    assert {"run": "bash .ci/run"} in workflow["jobs"]["test"]["steps"]
    assert "make test" in read(".ci/run")
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


def test_jupyter_book_knows_every_setting():
    from jupyter_book.config import validate_yaml

    validate_yaml(yaml.safe_load(read("pages/_config.yml")), raise_on_errors=True)


# `make`, asked what it would do in a folder with nothing but the set-up files.


@pytest.fixture
def fresh(tmp_path) -> Path:
    (tmp_path / LOCK).parent.mkdir()
    for name in ("Makefile", LOCK, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def plan(folder: Path, *arguments: str) -> str:
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", ["book", "test", "lab"])
def test_first_make_sets_up_and_second_installs_nothing(fresh, target):
    assert "pip" in plan(fresh, target, "PYTHON=python3.11")
    (fresh / ".venv").mkdir()
    (fresh / ".venv/.installed").touch()
    assert "pip" not in plan(fresh, target)
    assert "venv " not in plan(fresh, target)


def test_changed_lock_file_is_installed(fresh):
    (fresh / ".venv").mkdir()
    (fresh / ".venv/.installed").touch()
    newer = (fresh / ".venv/.installed").stat().st_mtime + 10
    os.utime(fresh / LOCK, (newer, newer))
    assert "pip" in plan(fresh, "book", "PYTHON=python3.11")


def test_given_environment_is_left_alone(fresh):
    assert "pip" not in plan(fresh, "book", "PY=python")


def test_missing_python_is_told(fresh):
    run = subprocess.run(["make", "book", "PYTHON="], cwd=fresh, capture_output=True, text=True)
    assert run.returncode != 0
    assert "No Python 3.11 found" in run.stderr
