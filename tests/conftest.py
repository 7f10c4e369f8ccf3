"""What several test files share: where the repository is, and its table of contents."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def pages_of_the_book() -> list[str]:
    """Return every page that ``_toc.yml`` names, without suffix, the home page first."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def files(entry: dict) -> list[str]:
        named = [entry[key] for key in ("root", "file") if key in entry]
        below = [child for key in ("parts", "chapters", "sections") for child in entry.get(key, [])]
        return named + [file for child in below for file in files(child)]

    return files(contents)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's folder."""
    return ROOT
