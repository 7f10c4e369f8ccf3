"""Is everything installed that the course needs? Says what is missing and how to fix it."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import pandas as pd
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet


def check_environment() -> pd.DataFrame:
    """Compare this environment with what the course needs.

    Returns
    -------
    DataFrame
        One row per item, with the columns ``item``, ``found``, ``ok`` and ``fix`` (empty where ``ok`` is true).
    """
    rows = [_python(), *(_package(requirement) for requirement in _requirements()), _data(), _cores()]
    return pd.DataFrame(rows, columns=["item", "found", "ok", "fix"]).set_index("item")


def _requirements() -> list[Requirement]:
    """Return the requirements of the package from its metadata, for example ``torch>=2.8``."""
    needed = map(Requirement, metadata.requires("course_lib") or [])
    return [requirement for requirement in needed if requirement.marker is None]  # extras have a marker


def _python() -> tuple[str, str, bool, str]:
    found, tested = platform.python_version(), metadata.metadata("course_lib")["Requires-Python"]
    ok = SpecifierSet(tested).contains(found)
    fix = f"The course is tested with Python {tested}: install one and run `make distclean`, then `make book`."
    return "Python", found, ok, "" if ok else fix


def _package(requirement: Requirement) -> tuple[str, str, bool, str]:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        fix = "Run `make book` in the course's folder; it installs what is missing."
        return requirement.name, "missing", False, fix
    ok = requirement.specifier.contains(found, prereleases=True)
    return requirement.name, found, ok, "" if ok else f'The course needs another version: pip install "{requirement}"'


def _data() -> tuple[str, str, bool, str]:
    from course_lib.datasets import BUNDLED, load_dataset

    try:
        crystals = load_dataset(BUNDLED)
    except (OSError, ValueError) as error:  # errors of load_dataset say how to fix it
        return "bundled crystals", "not readable", False, str(error)
    return "bundled crystals", f"{len(crystals)}", True, ""


def _cores() -> tuple[str, str, bool, str]:
    return "processor cores", str(os.cpu_count()), True, ""
