"""The notebooks in a real JupyterLab, as learners use them: opened, run from the menu, explorers moved.

JupyterLab is that of this environment, with settings of its own, over a copy of the notebooks. What a learner does goes
through the page; only the state of the cells is read from the application, since JupyterLab need not draw cells that
are out of sight.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import PATIENCE, ROOT
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from test_site import TABLE_OF_VALUES, controls_of, move_through, set_width, tables_of_values, wait_for

pytestmark = pytest.mark.browser

STARTS = 60  # seconds that JupyterLab may take to start
RUNS = 300  # seconds that a notebook may take, on a loaded machine
PANEL = "jupyterapp.shell.currentWidget"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a copy of the notebooks, as they lie in the repository."""
    folder = tmp_path_factory.mktemp("lab") / "course"
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return folder


@pytest.fixture(scope="module")
def lab(browser, folder) -> Iterator[str]:
    """Start JupyterLab, and yield an address with %s for what to open."""
    own = {name: str(folder.parent / name) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
    )}  # fmt: skip
    settings = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "ServerApp.open_browser": False,
        "LabApp.expose_app_in_browser": True,
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in settings.items())]
    log = folder.parent / "log"
    with log.open("w") as written:
        server = subprocess.Popen(command, env=os.environ | own, stdout=written, stderr=subprocess.STDOUT)
    started = time.monotonic()
    try:
        while not (about := list(Path(own["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"))):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() - started < STARTS, log.read_text()
            time.sleep(0.2)
        about = json.loads(about[0].read_text())
        yield f"{about['url']}lab/workspaces/{{workspace}}/tree/{{path}}?token={about['token']}"
    finally:
        stop(server)


def stop(server: subprocess.Popen) -> None:
    """End JupyterLab, and its kernels with it: they end themselves where it cannot ask them to."""
    server.terminate()
    try:
        server.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:  # it waits for kernels as long as they take, which no test is about
        server.kill()
        server.wait()


def open_in_lab(browser: Chrome, lab: str, path: str) -> None:
    """Open a file as its address does, in a workspace where nothing else is open."""
    set_width(browser, 1280)
    browser.get_log("browser")
    browser.get(lab.format(workspace=uuid4().hex, path=path))
    wait_for(browser, f"return window.jupyterapp?.shell.currentWidget?.context?.isReady && {PANEL}.context.path", path)
    assert browser.execute_script(f"return {PANEL}.context.path") == path


def open_source_as_notebook(browser: Chrome, lab: str, name: str) -> None:
    """Open a ``.py`` from the list of files, with the menu of its right mouse button."""
    open_in_lab(browser, lab, f"notebooks/{name}.py")  # a text, so the list shows its folder
    item = found(browser, f".jp-DirListing-item[title*='{name}.py']")
    ActionChains(browser).context_click(item).perform()
    with_entry(browser, "Open With").click()
    with_entry(browser, "Notebook").click()
    wait_for(browser, f"return {PANEL}.content.model?.cells?.length > 1", "the source to open as a notebook")


def found(browser: Chrome, selector: str, within: float = PATIENCE) -> WebElement:
    return WebDriverWait(browser, within).until(
        lambda driver: next((e for e in driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()), None),
        message=selector,
    )


def with_entry(browser: Chrome, label: str) -> WebElement:
    """Return the entry of an open menu that reads so."""
    path = f"//li[contains(@class, 'lm-Menu-item')][.//div[contains(@class, 'lm-Menu-itemLabel')][.='{label}']]"
    return WebDriverWait(browser, PATIENCE).until(lambda driver: driver.find_element(By.XPATH, path), message=label)


def choose(browser: Chrome, menu: str, command: str) -> None:
    """Choose a command from the menu bar."""
    bar = browser.find_elements(By.CSS_SELECTOR, ".lm-MenuBar-item")
    next(entry for entry in bar if entry.text == menu).click()
    found(browser, f".lm-Menu-item[data-command='{command}']").click()


KERNEL = f"{PANEL}.sessionContext.session?.kernel"
READY = f"{KERNEL}?.status === 'idle' && {KERNEL}.connectionStatus === 'connected'"  # else requests may be lost
CELLS = f"""
const cells = [...{PANEL}.content.model.cells].filter(c => c.type === "code" && c.sharedModel.getSource().trim());
const outputs = cells.flatMap(cell => cell.outputs.toJSON());
return {{
  counts: cells.map(cell => cell.executionCount),
  faults: outputs.filter(o => o.output_type === "error" || o.name === "stderr").map(o => o.evalue ?? o.text),
  status: {KERNEL}?.status,
  connection: {KERNEL}?.connectionStatus}}
"""


def run_all(browser: Chrome) -> None:
    """Run all cells from the menu, and wait until the kernel has finished without an error or a warning."""
    wait_for(browser, f"return {READY}", "the kernel to start")
    choose(browser, "Edit", "editmenu:clear-all")
    assert set(browser.execute_script(CELLS)["counts"]) == {None}
    choose(browser, "Run", "runmenu:run-all")

    started, state = time.monotonic(), {"counts": [None]}
    while None in state["counts"] or state["status"] != "idle":
        assert time.monotonic() - started < RUNS, state
        time.sleep(1)
        state = browser.execute_script(CELLS)
        assert state["faults"] == []
    counts = state["counts"]
    assert counts == list(range(1, len(counts) + 1))


def show(browser: Chrome, selector: str) -> WebElement:
    """Scroll down until something is drawn, and return it."""
    pages = browser.execute_script(f"return {PANEL}.content.model.cells.length")
    for index in range(pages):
        browser.execute_async_script(f"{PANEL}.content.scrollToItem(arguments[0], 'start').then(arguments[1])", index)
        drawn = [e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]
        if drawn:
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawn[0])
            return drawn[0]
    raise AssertionError(f"{selector} is not drawn anywhere")


def severe(browser: Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_source_of_a_notebook_opens_runs_and_stays_as_it_was(browser, lab, folder):
    name = "00_start_here"
    source = folder / "notebooks" / f"{name}.py"
    before = source.read_text(encoding="utf-8")
    open_source_as_notebook(browser, lab, name)
    run_all(browser)
    choose(browser, "File", "docmanager:save")
    wait_for(browser, f"return !{PANEL}.context.model.dirty", "the notebook to be saved")
    # The header takes the name under which this JupyterLab lists the kernel; all else stays.
    after = source.read_text(encoding="utf-8").replace("Python 3 (ipykernel)", "Python 3")
    assert after == before
    assert severe(browser) == []


def test_a_notebook_runs_its_explorer_moves_and_what_needs_a_kernel_computes(browser, lab):
    open_in_lab(browser, lab, "notebooks/03_late_fusion.ipynb")
    run_all(browser)
    show(browser, ".explorer img")
    table, *_ = tables_of_values(show(browser, f".{TABLE_OF_VALUES}").get_attribute("outerHTML"))
    show(browser, ".explorer img")
    _, slider = controls_of(browser.find_element(By.CSS_SELECTOR, ".explorer"))
    steps = table[slider.get_attribute("aria-label")]
    move_through(browser, 0, table[steps.isin(steps.unique()[:3])])  # the tests of the site go through all of them
    show(browser, ".needs-kernel img")
    slider = browser.find_element(By.CSS_SELECTOR, ".needs-kernel [role=slider]")
    assert not any(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, ".without-kernel"))
    assert slider.get_attribute("aria-label") == "α"
    before = browser.find_element(By.CSS_SELECTOR, ".needs-kernel svg").get_attribute("outerHTML")
    slider.send_keys(Keys.ARROW_RIGHT)
    written = "return document.querySelector('.needs-kernel .widget-readout').textContent"
    wait_for(browser, f"{written} === '0.501'", "the slider to move by its step")
    shown = "document.querySelector('.needs-kernel p strong').textContent"
    wait_for(browser, f"return {shown} === '0.501'", "the kernel to draw")
    assert slider.get_attribute("aria-valuetext") == "0.501"
    assert browser.find_element(By.CSS_SELECTOR, ".needs-kernel svg").get_attribute("outerHTML") != before
    assert severe(browser) == []
