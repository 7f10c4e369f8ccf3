"""What several test files share: where the repository is, its table of contents, a server, and a browser."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from inspect import isfunction
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from local_server import FileServer
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 20  # seconds that a page may take, on a loaded machine


def pages_of_the_book() -> list[str]:
    """Return every page that ``_toc.yml`` names, without suffix, in the order of the book, the home page first."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def files(entry: dict) -> list[str]:
        named = [entry[key] for key in ("root", "file") if key in entry]
        if "glob" in entry:
            named += sorted(str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.glob(f"{entry['glob']}.ipynb"))
        below = [child for key in ("parts", "chapters", "sections") for child in entry.get(key, [])]
        return named + [file for child in below for file in files(child)]

    return files(contents)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test with the same initial weights, whatever was drawn before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's folder."""
    return ROOT


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """Yield a web server on this machine with a file of 300 kB."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = FileServer()
    server.content = np.random.default_rng(0).bytes(300_000)
    yield server
    server.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    """Yield a headless Chromium that finds no host but this machine; skip the tests where there is none."""
    options = ChromeOptions()
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    installed = next(filter(None, map(shutil.which, names)), None)
    if installed:
        options.binary_location = installed
    try:
        # Without a driver on the path, Selenium's own manager looks for one, and for a browser if there is none.
        driver = Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver")))
    except WebDriverException as error:
        message = f"no Chromium with its driver (see 'When something fails' in README.md): {error.msg}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    driver.set_page_load_timeout(PATIENCE)
    yield driver
    driver.quit()


def public_functions(package: ModuleType, prefix: str = "") -> dict[str, Callable]:
    """Return the public functions whose names begin with `prefix` of all modules of a package, by name."""
    modules = [importlib.import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    return {
        name: thing
        for module in modules
        for name, thing in vars(module).items()
        if isfunction(thing)
        and thing.__module__.startswith(package.__name__)
        and name.startswith(prefix)
        and name[0] != "_"
    }
