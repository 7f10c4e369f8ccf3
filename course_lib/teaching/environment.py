"""Is everything installed that the course needs? Says what is missing and how to fix it."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata

import pandas as pd

TESTED_PYTHON = "3.11"
"""The version of Python that the course is tested with."""

_MATBENCH = "0.6"  # installed on its own (see the Makefile), so it is not among the package's requirements


def check_environment() -> pd.DataFrame:
    """Compare this environment with what the course needs.

    Returns
    -------
    DataFrame
        One row per item, with the columns ``item``, ``found``, ``ok`` and ``fix`` (empty where ``ok`` is true).
    """
    rows = [_python(), *(_package(requirement) for requirement in _requirements()), _data(), _cores()]
    return pd.DataFrame(rows, columns=["item", "found", "ok", "fix"]).set_index("item")


def _requirements() -> list[str]:
    """Return what the package needs to run, as its metadata has it, for example ``"torch==2.13.0"``."""
    needed = [line for line in metadata.requires("course_lib") or [] if "extra ==" not in line]
    return [*needed, f"matbench=={_MATBENCH}"]


def _python() -> tuple[str, str, bool, str]:
    found = platform.python_version()
    ok = found.startswith(TESTED_PYTHON + ".")
    return (
        "Python",
        found,
        ok,
        "" if ok else f"The course is tested with Python {TESTED_PYTHON}; install that and run make.",
    )


def _package(requirement: str) -> tuple[str, str, bool, str]:
    name, _, wanted = requirement.partition("==")
    name = re.split(r"[<>=!~ ;]", name)[0]
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name, "missing", False, "Run `make book` in the course's folder; it installs what is missing."
    ok = not wanted or found.split("+")[0] == wanted
    return name, found, ok, "" if ok else f"The course is tested with {wanted}: pip install {requirement}"


def _data() -> tuple[str, str, bool, str]:
    from course_lib.datasets import BUNDLED, load_dataset

    try:
        crystals = load_dataset(BUNDLED)
    except (OSError, ValueError) as error:  # what load_dataset raises says how to fix it
        return "bundled crystals", "not readable", False, str(error)
    return "bundled crystals", f"{len(crystals)}", True, ""


def _cores() -> tuple[str, str, bool, str]:
    return "processor cores", str(os.cpu_count()), True, ""
