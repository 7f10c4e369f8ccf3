"""The stored notebooks: paired with their sources, run from top to bottom, readable without their pictures."""

from __future__ import annotations

import json
import posixpath
import re
from concurrent.futures import Executor, Future
from pathlib import Path

import jupytext
import nbformat
import overview
import pytest
from conftest import ROOT, pages_of_the_book
from derive_exercises import page
from jupytext.config import load_jupytext_configuration_file
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from course_lib.files import write_atomically
from tools import run_notebooks
from tools.run_notebooks import NOTEBOOKS, RUN_TIMES, code_digest

NAMES = sorted({path.stem for path in NOTEBOOKS.iterdir() if path.suffix in (".py", ".ipynb")})
CHECKED = "# NBVAL_CHECK_OUTPUT"
LIMIT = 90  # seconds on two cores, for any notebook


def stored(name: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def as_source(notebook: NotebookNode) -> str:
    """Return the notebook as the text of its ``.py`` file."""
    config = load_jupytext_configuration_file(str(NOTEBOOKS / "jupytext.toml"))
    return jupytext.writes(notebook, fmt="py:percent", config=config)


# One function per rule, each returning what breaks it, so that the rules themselves can be tested below.


def pairing_faults(notebook: NotebookNode, source: str, name: str) -> list[str]:
    written = jupytext.reads(source, fmt="py:percent")
    if as_source(written) != source:
        return ["the .py is not in the form that jupytext writes: convert it with `jupytext --to py:percent`"]
    derived = as_source(page(written, name))  # an exercise becomes a page; any other notebook stays as it is
    return [] if as_source(notebook) == derived else ["the .ipynb and the .py differ: run `make notebooks`"]


def execution_faults(notebook: NotebookNode) -> list[str]:
    cells = code_cells(notebook)
    faults = []
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        faults.append("the cells were not run once each, from top to bottom")
    for number, cell in enumerate(cells, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                faults.append(f"code cell {number} stores the error {output.ename}: {output.evalue}")
            if output.output_type == "stream" and output.name == "stderr":
                faults.append(f"code cell {number} stores a warning: {output.text[:200]}")
        if CHECKED in cell.source and not cell.outputs:
            faults.append(f"code cell {number} is marked {CHECKED} but stores no output, so nothing is checked")
    return faults


def picture_faults(notebook: NotebookNode) -> list[str]:
    faults = []
    for number, cell in enumerate(code_cells(notebook), 1):
        pictures = [kind for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]
        alternative = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if pictures and not alternative.strip():
            faults.append(
                f'code cell {number} draws a figure without alt text: # %% mystnb={{"image": {{"alt": "..."}}}}'
            )
        if alternative.strip() and not pictures:
            faults.append(f"code cell {number} has alt text but draws no figure: let the figure be its last value")
    return faults


def widget_faults(notebook: NotebookNode) -> list[str]:
    kind = "application/vnd.jupyter.widget-view+json"
    shown = [o.data[kind]["model_id"] for c in code_cells(notebook) for o in c.outputs if kind in o.get("data", {})]
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return [f"widget {model_id} is shown but its state is not stored" for model_id in shown if model_id not in states]


def machine_faults(notebook: NotebookNode) -> list[str]:
    text = nbformat.writes(notebook)
    return [f"an output names a folder of this machine: {p}" for p in (str(ROOT), str(Path.home())) if f"{p}/" in text]


def na_faults(notebook: NotebookNode) -> list[str]:
    shown = ("".join(o.get("data", {}).get("text/plain", "")) for c in notebook.cells for o in c.get("outputs", []))
    return ["a table shows <NA>: leave the cell empty"] if any("<NA>" in text for text in shown) else []


def stated_seconds(notebook: NotebookNode) -> float:
    """Return the run time that the notebook's first cell promises."""
    found = re.search(r"\*\*Time to run:\*\* at most (\d+) (s|min)\b", notebook.cells[0].source)
    assert found, "the first cell must say `**Time to run:** at most 40 s` (or min)"
    return int(found[1]) * {"s": 1, "min": 60}[found[2]]


def time_faults(notebook: NotebookNode, recorded: dict | None) -> list[str]:
    if recorded is None or recorded["code_sha256"] != code_digest(notebook):
        return ["no run time is recorded for this code: run `make notebooks RECORD_TIMES=1 NB=...`"]
    stated, seconds = stated_seconds(notebook), recorded["seconds"]
    faults = []
    if seconds > LIMIT:
        faults.append(f"takes {seconds} s, more than the {LIMIT} s that any notebook may take")
    if not seconds <= stated <= max(4 * seconds, 30):
        faults.append(f"says that it takes at most {stated} s, but took {seconds} s")
    return faults


def test_there_are_notebooks():
    assert NAMES


def test_home_page_shows_every_page():
    home = (ROOT / "pages/index.md").read_text(encoding="utf-8")
    home = home.replace("```{notebook-cards}\n", overview.cards()).replace("```{exercise-table}\n", overview.table([]))
    links = {posixpath.normpath(f"pages/{to}") for to in re.findall(r"\]\(([\w/.]+?)(?:\.ipynb)?\)", home)}
    assert set(pages_of_the_book()) - {"pages/index"} <= links


@pytest.mark.parametrize("name", NAMES)
def test_has_source_and_pair_and_a_page(name):
    assert (NOTEBOOKS / f"{name}.py").exists()
    assert (NOTEBOOKS / f"{name}.ipynb").exists(), "run `make notebooks`"
    assert f"notebooks/{name}" in pages_of_the_book(), "name it in _toc.yml"


@pytest.mark.parametrize("name", NAMES)
def test_pair_agrees(name):
    assert pairing_faults(stored(name), (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8"), name) == []


@pytest.mark.parametrize("rule", [execution_faults, picture_faults, widget_faults, machine_faults, na_faults])
@pytest.mark.parametrize("name", NAMES)
def test_stored_notebook(name, rule):
    assert rule(stored(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_formulas_use_commands_that_mathjax_knows(name):
    """It shows an unknown one in red instead of stopping."""
    mathjax = (ROOT / "pages/_extra/vendor/mathjax/tex-chtml.js").read_text(encoding="utf-8")
    known = set(re.findall(r"\b([A-Za-z]+)[\"']?:", mathjax))
    text = "".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")
    used = {command for formula in re.findall(r"\$[^$]+\$", text) for command in re.findall(r"\\([A-Za-z]+)", formula)}
    assert used <= known


@pytest.mark.parametrize("name", NAMES)
def test_stated_run_time(name):
    recorded = json.loads(RUN_TIMES.read_text(encoding="utf-8"))
    assert time_faults(stored(name), recorded.get(name)) == []


# The rules on broken notebooks: each must notice its own fault, and say nothing of a good notebook.

SOURCE = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A title
#
# **Time to run:** at most 60 s

# %% mystnb={"image": {"alt": "a line"}}
1 + 1

# %%
# NBVAL_CHECK_OUTPUT
2 + 2
"""


@pytest.fixture
def good() -> NotebookNode:
    notebook = jupytext.reads(SOURCE, fmt="py:percent")
    picture, checked = code_cells(notebook)
    picture.execution_count, checked.execution_count = 1, 2
    picture.outputs = [nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})]
    checked.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "4"}, execution_count=2)]
    return notebook


def test_good_notebook_has_no_faults(good):
    recorded = {"seconds": 20.0, "code_sha256": code_digest(good)}
    faults = pairing_faults(good, SOURCE, "a") + time_faults(good, recorded)
    assert faults + execution_faults(good) + picture_faults(good) + widget_faults(good) + machine_faults(good) == []


def test_notices_a_pair_that_differs(good):
    good.cells[1].source = "1 + 2"
    assert pairing_faults(good, SOURCE, "a")


def test_notices_a_source_that_jupytext_would_write_otherwise(good):
    assert pairing_faults(good, SOURCE.replace("# %%\n", "#%%\n"), "a")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (nbformat.v4.new_output("error", ename="KeyError", evalue="'x'"), "KeyError"),
        (nbformat.v4.new_output("stream", name="stderr", text="UserWarning: mind the gap"), "mind the gap"),
    ],
)
def test_notices_errors_and_warnings(good, output, message):
    good.cells[1].outputs.append(output)
    assert message in "".join(execution_faults(good))


def test_notices_cells_not_run_in_order(good):
    good.cells[1].execution_count = 7
    assert execution_faults(good)


def test_notices_a_checked_cell_without_output(good):
    good.cells[2].outputs = []
    assert execution_faults(good)


def test_notices_a_figure_without_alt_text(good):
    good.cells[1].metadata["mystnb"]["image"]["alt"] = " "
    assert picture_faults(good)


def test_notices_alt_text_without_a_figure(good):
    good.cells[1].outputs = []
    assert picture_faults(good)


def test_notices_a_widget_without_state(good):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc", "version_major": 2, "version_minor": 0}}
    good.cells[1].outputs.append(nbformat.v4.new_output("display_data", view))
    assert widget_faults(good)


def test_notices_a_path_of_this_machine(good):
    good.cells[1].outputs.append(nbformat.v4.new_output("stream", name="stdout", text=f"saved to {ROOT}/data/x"))
    assert machine_faults(good)


def test_notices_a_missing_value_in_a_table(good):
    table = {"text/plain": "       epochs\nforest  <NA>"}
    good.cells[1].outputs.append(nbformat.v4.new_output("display_data", data=table))
    assert na_faults(good)


@pytest.mark.parametrize("seconds", [61.0, 10.0, 95.0])
def test_notices_a_stated_time_that_is_wrong(good, seconds):
    assert time_faults(good, {"seconds": seconds, "code_sha256": code_digest(good)})


def test_notices_a_time_recorded_for_other_code(good):
    assert time_faults(good, {"seconds": 20.0, "code_sha256": "0" * 64})
    assert time_faults(good, None)


def test_atomic_write_leaves_no_temporary_file(tmp_path):
    target = tmp_path / "a.json"
    write_atomically(target, "old")
    write_atomically(target, "new")
    assert target.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [target]


# The tool that runs them.


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(run_notebooks, "NOTEBOOKS", tmp_path)
    return tmp_path


def test_run_stores_outputs_widgets_and_keeps_cell_ids(workplace):
    source = SOURCE + "\n# %%\nimport ipywidgets\n\nipywidgets.IntSlider(value=3)\n"
    (workplace / "a.py").write_text(source, encoding="utf-8")
    seconds, _ = run_notebooks.run("a", workplace)
    first = nbformat.read(workplace / "a.ipynb", as_version=4)
    run_notebooks.run("a", workplace)
    second = nbformat.read(workplace / "a.ipynb", as_version=4)

    assert seconds > 0
    assert code_cells(first)[1].outputs[0].data["text/plain"] == "4"
    assert execution_faults(first) + widget_faults(first) + pairing_faults(first, source, "a") == []
    assert [cell.id for cell in second.cells] == [cell.id for cell in first.cells]
    view = code_cells(second)[2].outputs[0].data["application/vnd.jupyter.widget-view+json"]
    states = second.metadata.widgets["application/vnd.jupyter.widget-state+json"].state
    assert states[view.model_id].state.value == 3
    assert sum(state.model_name == "IntSliderModel" for state in states.values()) == 1, "an old run's widget is left"


def test_failing_run_leaves_the_stored_notebook_as_it_was(workplace):
    (workplace / "a.py").write_text(SOURCE, encoding="utf-8")
    run_notebooks.run("a", workplace)
    before = (workplace / "a.ipynb").read_bytes()
    (workplace / "a.py").write_text(SOURCE + "\n# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_notebooks.run("a", workplace)
    assert (workplace / "a.ipynb").read_bytes() == before


@pytest.mark.parametrize(("options", "changed"), [([], False), (["--store"], True)])
def test_only_store_changes_what_git_tracks(workplace, monkeypatch, options, changed):
    monkeypatch.setattr(run_notebooks, "RUNS", workplace / "runs")
    monkeypatch.setattr(run_notebooks, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr("sys.argv", ["run_notebooks.py", *options])
    (workplace / "a.py").write_text(SOURCE, encoding="utf-8")
    assert run_notebooks.main() == 0
    assert (workplace / "a.ipynb").exists() == changed
    assert (workplace / "runs" / "a.ipynb").exists() != changed


def test_the_longest_run_first(workplace, monkeypatch):
    monkeypatch.setattr(run_notebooks, "RUN_TIMES", workplace / "times.json")
    assert run_notebooks.longest_first(["a", "b"]) == ["a", "b"]
    run_notebooks.record_times({"a": (3.0, ""), "b": (20.0, ""), "c": (7.0, "")})
    assert run_notebooks.longest_first(["a", "b", "c", "new"]) == ["new", "b", "c", "a"]


class InThisProcess(Executor):
    """A pool that sees what a test has patched; new processes on macOS and Windows do not."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers

    def submit(self, function, *arguments) -> Future:
        done = Future()
        done.set_result(function(*arguments))
        return done
