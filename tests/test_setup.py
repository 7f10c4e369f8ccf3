"""The files that set the course up agree with each other, and a second `make` installs nothing."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import course

PLACES_OF_THE_ADDRESS = ("pages/_config.yml", "README.md", "pages/index.md", "pages/online.md", "pages/teachers.md")
VISIBLE = {
    "notebooks", "course_lib", "data", "tests", "pages", "tools", "README.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "pyproject.toml", "environment.yml", "_toc.yml", "course.py",
}  # fmt: skip
LOCK = "tools/requirements.lock"
COLAB = "tools/requirements-colab.txt"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> list[Requirement]:
    """Return the packages of a requirements file; what it names by a path is left out."""
    lines = [line for line in read(name).splitlines() if line and not line.startswith(("#", "./"))]
    return [Requirement(line) for line in lines]


def pins_here() -> dict[str, str]:
    """Return package -> version of the lock file, for this Python and this system."""
    here = [pin for pin in pins(LOCK) if pin.marker is None or pin.marker.evaluate()]
    names = [canonicalize_name(pin.name) for pin in here]
    assert len(names) == len(set(names)), f"{LOCK} names a package twice"
    return dict(zip(names, (next(iter(pin.specifier)).version for pin in here), strict=True))


def test_lock_file_has_exact_versions_and_no_addresses():
    # A local version such as +cpu would bind to one platform.
    assert [str(pin) for pin in pins(LOCK) if not re.fullmatch(r"==[\w.]+", str(pin.specifier))] == []
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--hash", read(LOCK))


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0", "3.14.0"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_lock_file_pins_every_dependency_for_each_python_and_system(python, system):
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    place = {"python_full_version": python, "python_version": python[:4], "sys_platform": system}
    locked = {canonicalize_name(p.name): p for p in pins(LOCK) if p.marker is None or p.marker.evaluate(place)}
    wanted = [Requirement(text) for text in project["dependencies"] + extras["book"] + extras["test"]]
    wanted = [requirement for requirement in wanted if requirement.name != "matbench"]  # tools/matbench_unpinned
    versions = {name: next(iter(pin.specifier)).version for name, pin in locked.items()}
    unmet = [str(w) for w in wanted if not w.specifier.contains(versions.get(canonicalize_name(w.name), "0"))]
    assert unmet == [], "run `make lock`"
    assert project["requires-python"] == ">=3.11,<3.15"


def test_installed_packages_are_the_locked_ones():
    from importlib.metadata import distributions

    installed = {canonicalize_name(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    other = {name: (installed.get(name), version) for name, version in (pins_here() | {"matbench": "0.6"}).items()}
    assert {name: both for name, both in other.items() if both[0] != both[1]} == {}, "(installed, locked): run `make`"


def test_matbench_asks_for_no_versions_of_its_own():
    from importlib.metadata import requires

    assert not requires("matbench")


def test_lock_file_fits_what_the_colab_file_asks_for():
    unmet = {str(r) for r in pins(COLAB) if not r.specifier.contains(pins_here()[canonicalize_name(r.name)])}
    assert unmet == set()


def test_conda_environment_has_a_tested_python_the_locked_packages_and_the_library():
    dependencies = yaml.safe_load(read("environment.yml"))["dependencies"]
    (version,) = [d.removeprefix("python=") for d in dependencies if str(d).startswith("python=")]
    assert tuple(map(int, version.split("."))) in course.TESTED
    pip = [f"--requirement {LOCK}", "--editable ."]
    assert next(d["pip"] for d in dependencies if isinstance(d, dict)) == pip
    assert read(".binder/runtime.txt").strip() == f"python-{version}"
    assert shlex.join(shlex.split(" ".join(pip))) in read(".binder/postBuild")


def test_binder_keeps_caches_out_of_the_image():
    assert "export PIP_NO_CACHE_DIR=1" in read(".binder/postBuild")
    subprocess.run(["bash", "-n", str(ROOT / ".binder/postBuild")], check=True)


def colab_cell() -> list[str]:
    return re.search(r"```ipython3\n(.+?)```", read("pages/online.md"), re.DOTALL)[1].splitlines()


def test_colab_cell_is_valid_and_names_files_that_exist():
    from IPython.core.inputtransformer2 import TransformerManager

    compile(TransformerManager().transform_cell("\n".join(colab_cell()) + "\n"), "colab", "exec")
    installs = [shlex.split(line)[2:] for line in colab_cell() if line.startswith("%pip install")]
    arguments = [argument for install in installs for argument in install]
    clone = next(shlex.split(line) for line in colab_cell() if line.startswith("!git clone"))
    assert f"%cd -q {clone[-1]}" in colab_cell()
    assert COLAB in arguments
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


def test_workflow_runs_the_same_script_as_every_other_ci_with_each_tested_python():
    job = yaml.safe_load(read(".github/workflows/course.yml"))["jobs"]["test"]
    assert {"run": "bash .ci/run", "env": {"PYTHON": "python"}} in job["steps"]
    assert job["strategy"]["matrix"]["python"] == [course.spoken(version) for version in course.TESTED]
    assert "make test" in read(".ci/run")
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


def test_workflow_runs_on_macos_and_windows_without_make():
    job = yaml.safe_load(read(".github/workflows/course.yml"))["jobs"]["other-systems"]
    assert job["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert [command.split()[:3] for command in commands] == [
        ["python", "course.py", name] for name in ("check", "book")
    ]


def test_jupyter_book_knows_every_setting():
    from jupyter_book.config import validate_yaml

    validate_yaml(yaml.safe_load(read("pages/_config.yml")), raise_on_errors=True)


def test_readme_states_the_recorded_speeds():
    lines = (ROOT / "data" / "results" / "speed.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = ("bundled", "bundled, atoms displaced")
    recorded = {
        (row["network"], row["processor"], row["crystals"]): f"{row['times the cost']:.1f}"
        for row in map(json.loads, lines)
        if row["compared with"].startswith("PyG")
    }
    section = re.search(r"^## How fast it trains$(.+?)^## ", read("README.md"), re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| (\w.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    assert [name.split(",")[0] for name, *_ in rows] == ["CGCNN", "GAT", "MEGNet", "ALIGNN"]
    processors = ("AMD EPYC", "Intel(R) Xeon(R) Processor")
    for name, *times in rows:
        assert times == [recorded[name, processor, kind] for processor in processors for kind in kinds]
