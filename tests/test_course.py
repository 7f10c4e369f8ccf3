"""course.py: sets up once, says early what is wrong, continues after an interruption, survives a moved folder."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import ROOT

import course

PYTHON = {"version": list(sys.version_info[:2]), "path": sys.executable, "machine": "x86_64", "venv": True}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
ODD_NAME = "Kurs & Übung 1"


class Interrupted(Exception):
    """Stands for Ctrl-C, a lost network or a full disk."""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Return a folder with an odd name, which is the repository for course.py."""
    folder = tmp_path / ODD_NAME
    (folder / "tools").mkdir(parents=True)
    (folder / "tools/requirements.lock").write_text("torch==2.13.0\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    (folder / "course_lib").mkdir()
    (folder / "course_lib/__init__.py").write_text("", encoding="utf-8")
    for name in ("VENV", "VENV_PYTHON", "STAMP", "LOCK", "WORK", "RUNS", "STAGE"):
        monkeypatch.setattr(course, name, folder / getattr(course, name).relative_to(ROOT))
    monkeypatch.setattr(course, "ROOT", folder)
    monkeypatch.setattr(course, "found_pythons", lambda: [PYTHON])
    return folder


@pytest.fixture
def commands(place, monkeypatch) -> list[str]:
    """Return the list of commands that course.py runs; of these only the one that makes .venv is carried out."""
    ran = []

    def pretend(command, **settings) -> int:
        ran.append(" ".join(map(str, command)))
        if "-m venv" in ran[-1]:
            venv.create(course.VENV)  # without pip: fast
        if "--editable" in ran[-1]:
            editable().write_text("/a/path", encoding="utf-8")
        return 0

    monkeypatch.setattr(course, "call", pretend)
    monkeypatch.setattr(course, "uv_settings", lambda pip: {})
    return ran


def editable() -> Path:
    """Return the file that an editable install leaves in .venv."""
    where = [course.VENV_PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    return Path(packages) / "__editable__.course_lib-0.pth"


def options(**given: str) -> object:
    """Return options as the command line gives them."""
    return type("Options", (), {"env": None, "python": None, "torch": None, "jobs": "2", "names": [], **given})


# --- set up once ---------------------------------------------------------------------------------------


def test_first_command_sets_up_and_the_second_installs_nothing(commands):
    assert course.environment(options()) == str(course.VENV_PYTHON)
    assert sum("-m venv" in command for command in commands) == 1
    assert any(f"--requirement {course.LOCK}" in command for command in commands)
    commands.clear()
    course.environment(options())
    assert commands == []


@pytest.mark.parametrize("changed", ["tools/requirements.lock", "pyproject.toml"])
def test_changed_lock_file_is_installed_into_the_same_environment(place, commands, changed):
    course.environment(options())
    commands.clear()
    (place / changed).write_text("torch==2.14.0\n", encoding="utf-8")
    course.environment(options())
    assert any("--requirement" in command for command in commands)


def test_interrupted_set_up_goes_on(commands, monkeypatch):
    def cut(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(course, "make_editable_install_relative", cut)
        with pytest.raises(Interrupted):
            course.environment(options())
    assert not course.STAMP.exists()
    commands.clear()
    course.environment(options())
    assert any("--requirement" in command for command in commands)
    assert course.STAMP.exists()


def test_environment_of_somebody_else_is_left_alone(commands):
    assert course.environment(options(env=sys.executable)) == sys.executable
    assert commands == []


def test_another_build_of_torch_is_not_passed_over(commands, capsys):
    course.environment(options(torch="cpu"))
    assert ".venv has PyTorch none, not the build cpu. Run" in stopped(capsys, options(torch="cpu"))
    about = editable().parent / "torch-2.13.0+cpu.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n", encoding="utf-8")
    course.environment(options(torch="cpu"))
    course.environment(options())
    assert ".venv has PyTorch 2.13.0+cpu, not the build cu126. Run" in stopped(capsys, options(torch="cu126"))


# --- what is wrong is said first -----------------------------------------------------------------------


def stopped(capsys, given: object) -> str:
    """Return what course.py says when it stops."""
    with pytest.raises(SystemExit) as stop:
        course.environment(given)
    assert stop.value.code not in (0, None)
    return str(stop.value.code)


@pytest.mark.parametrize("setting", ["python", "env"])
@pytest.mark.parametrize("set_up", [False, True])
def test_wrong_python_is_told_first(commands, capsys, setting, set_up):
    if set_up:
        course.environment(options())
        commands.clear()
    assert "no-such-python does not start a Python" in stopped(capsys, options(**{setting: "no-such-python"}))
    assert commands == []


@pytest.mark.parametrize("versions", [[[3, 8]], [[3, 10], [3, 15]]])
def test_no_tested_python_is_told_before_anything_is_downloaded(commands, capsys, monkeypatch, versions):
    monkeypatch.setattr(course, "found_pythons", lambda: [{**PYTHON, "version": version} for version in versions])
    message = stopped(capsys, options())
    assert "needs Python 3.11 to 3.14" in message
    assert course.spoken(versions[-1]) in message
    assert commands == []


def test_newest_tested_python_is_taken(place, monkeypatch):
    versions = [[3, 8], [3, 13], [3, 11], [3, 15]]
    monkeypatch.setattr(course, "found_pythons", lambda: [{**PYTHON, "version": version} for version in versions])
    assert course.chosen_python(None)["version"] == [3, 13]


def test_python_without_venv_is_told(commands, capsys, monkeypatch):
    monkeypatch.setattr(course, "found_pythons", lambda: [{**PYTHON, "version": [3, 12], "venv": False}])
    assert "apt install python3.12-venv" in stopped(capsys, options())


def test_intel_mac_is_told_in_one_sentence(place, capsys, monkeypatch):
    monkeypatch.setattr(course.sys, "platform", "darwin")
    message = stopped(capsys, options())
    assert "Intel" in message
    assert len(re.findall(r"\.(?= |$)", message)) == 1


def test_other_version_than_the_one_of_the_environment_is_told(commands, capsys, monkeypatch):
    course.environment(options())
    other = {**PYTHON, "version": [3, 14] if sys.version_info[:2] != (3, 14) else [3, 13]}
    probe = course.probe
    monkeypatch.setattr(course, "probe", lambda *command: other if command == ("other",) else probe(*command))
    assert "distclean" in stopped(capsys, options(python="other"))


@pytest.mark.skipif(os.name == "nt", reason="environments on Windows have no link to the base Python")
def test_vanished_base_python_is_told(commands, capsys):
    course.environment(options())
    course.VENV_PYTHON.unlink()
    course.VENV_PYTHON.symlink_to("/no/such/python3.11")
    message = stopped(capsys, options())
    assert "gone" in message
    assert course.base_python() in message
    assert "distclean" in message


# --- folders -------------------------------------------------------------------------------------------


def test_moved_folder_still_finds_the_library(place, commands):
    course.environment(options())
    moved = place.rename(place.with_name("moved"))
    python = moved / course.VENV_PYTHON.relative_to(place)
    found = subprocess.run(
        [python, "-c", "import course_lib; print(ascii(course_lib.__file__))"],
        cwd="/" if os.name != "nt" else None, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert Path(ast.literal_eval(found.stdout)) == moved / "course_lib" / "__init__.py"
    assert "relocatable = true" in (moved / ".venv/pyvenv.cfg").read_text(encoding="utf-8")


def test_home_that_cannot_be_written_is_replaced(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place / "none"))
    monkeypatch.setenv("USERPROFILE", str(place / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "none"))
    course.use_writable_home()
    assert Path(os.environ["HOME"]) == course.VENV / "home"
    assert "XDG_CACHE_HOME" not in os.environ


def test_writable_home_is_kept(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("USERPROFILE", str(place))
    course.use_writable_home()
    assert os.environ["HOME"] == str(place)


# --- PyTorch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "card", "asked", "index"),
    [
        ("linux", False, None, "/whl/cpu"),
        ("linux", True, None, None),
        ("linux", True, "cu128", "/whl/cu128"),
        ("win32", False, None, None),
    ],
)
def test_build_of_torch_fits_the_machine(commands, monkeypatch, system, card, asked, index):
    monkeypatch.setattr(course.sys, "platform", system)
    monkeypatch.setattr(course, "has_nvidia_card", lambda: card)
    course.set_up(PYTHON, asked)
    named = [command for command in commands if "--default-index" in command]
    assert [f"{index} torch==2.13.0" in command for command in named] == ([True] if index else [])


def test_index_of_builds_that_cannot_be_reached_is_told_and_set_up_goes_on(commands, capsys, monkeypatch):
    pretend = course.call
    monkeypatch.setattr(course, "call", lambda command, **more: "--default-index" in command or pretend(command))
    course.set_up(PYTHON, "cpu")
    assert "NOTICE: https://download.pytorch.org/whl/cpu cannot be reached" in capsys.readouterr().out
    assert any("--requirement" in command for command in commands)


def test_settings_of_pip_hold_for_uv(monkeypatch):
    for name in ("UV_DEFAULT_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    env = course.uv_settings([sys.executable, "-m", "pip"])
    assert env["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


# --- the folder work -----------------------------------------------------------------------------------


@pytest.fixture
def notebook(place) -> Path:
    """Return a stored notebook."""
    path = place / "notebooks/exercises/ex1.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("1", encoding="utf-8")
    return path


def test_new_version_of_a_notebook_replaces_an_unchanged_copy(place, notebook):
    course.copy_notebooks()
    notebook.write_text("2", encoding="utf-8")
    course.copy_notebooks()
    assert (place / "work/exercises/ex1.ipynb").read_text(encoding="utf-8") == "2"


def test_learners_work_is_never_replaced(place, notebook, capsys):
    course.copy_notebooks()
    mine = place / "work/exercises/ex1.ipynb"
    mine.write_text("my answer", encoding="utf-8")
    course.copy_notebooks()
    assert capsys.readouterr().out == ""
    notebook.write_text("2", encoding="utf-8")
    course.copy_notebooks()
    assert mine.read_text(encoding="utf-8") == "my answer"
    assert "notebooks/exercises/ex1.ipynb is newer" in capsys.readouterr().out
    course.distclean(options())
    assert mine.exists()


# --- the file and the Makefile -------------------------------------------------------------------------


def test_old_pythons_can_read_the_file():
    source = (ROOT / "course.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    modules = {n.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    modules |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= sys.stdlib_module_names


def test_makefile_has_every_command_of_course_py():
    targets = re.search(r"^((?:[a-z]+ )+[a-z]+):$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert set(targets.split()) == set(course.COMMANDS)


@needs_make
@pytest.mark.parametrize("command", ["book", "test", "lab"])
def test_make_hands_its_settings_on(command):
    settings = ["JOBS=3", "PYTHON=/a python", "TORCH=cu128", "PY=other"]
    plan = subprocess.run(["make", "-n", command, *settings], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'course.py {command}  \\\n\t--jobs 3 --python "/a python" --torch cu128' in plan.stdout
    assert '--env "other"' in plan.stdout


@needs_make
def test_settings_of_make_in_the_environment_do_not_name_an_environment():
    env = {**os.environ, "PY": "other"}
    plan = subprocess.run(["make", "-n", "book"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "--env" not in plan.stdout


@pytest.mark.parametrize("name", ["work/00_start_here.ipynb", "_build/notebooks/01_two_views.ipynb", ".venv/home"])
def test_git_does_not_look_where_runs_and_work_go(name):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT).returncode == 0


def test_guides_name_commands_that_exist():
    guides = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "pages").glob("*.md")]
    text = " ".join(guide.read_text(encoding="utf-8") for guide in guides)
    named = re.findall(r"(?:`make|^make(?= \w+ +#)|course\.py) ([a-z]+)", text, re.MULTILINE)
    assert {"book", "test", "lab"} <= set(named)
    assert set(named) <= {*course.COMMANDS, "help"}
