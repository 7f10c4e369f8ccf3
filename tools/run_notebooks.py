"""Run the notebooks: ``notebooks/NN_topic.py`` -> ``_build/notebooks/NN_topic.ipynb`` with outputs and widget state.

With ``--store`` the run replaces ``notebooks/NN_topic.ipynb``, which git tracks, and an exercise, ``exN_topic.py``,
also gives the learner's copy in ``notebooks/exercises`` (`derive_exercises`).

The ``.py`` file is the source. An ``.ipynb`` is replaced only when every
cell ran, and then in one step, so a failing or interrupted run leaves it as it was.

    python tools/run_notebooks.py                          all of them
    python tools/run_notebooks.py 01_two_views             one of them
    python tools/run_notebooks.py --store --record-times   store the outputs, and the run times in data/results/
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import jupytext
import nbformat
from derive_exercises import COPIES, ROOT, is_exercise, learners_copy, page
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from course_lib.files import locked, write_atomically
from course_lib.teaching.figures import narrow

NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "_build" / "notebooks"
RUN_TIMES = ROOT / "data" / "results" / "notebook_times.json"
CELL_TIMEOUT = 600  # seconds; a cell that takes longer hangs


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """Return the SHA-256 of the notebook's code cells: it shows whether a recorded time belongs to this code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\x00\n".join(code).encode()).hexdigest()


def merge_with_stored(source: Path, stored: Path) -> nbformat.NotebookNode:
    """Return the notebook of ``source`` with the cell ids of ``stored``, so that unchanged cells keep theirs."""
    notebook = page(jupytext.read(source), source.stem)
    if stored.exists():
        notebook = combine_inputs_with_outputs(notebook, nbformat.read(stored, as_version=4))
    # nbclient writes the state of this run's widgets, but leaves an old one where the run has none.
    notebook.metadata.pop("widgets", None)
    return notebook


def run(name: str, folder: Path) -> tuple[float, str]:
    """Run one notebook into `folder`; return its run time in seconds, kernel start included, and its code digest."""
    source = NOTEBOOKS / f"{name}.py"
    notebook = merge_with_stored(source, NOTEBOOKS / f"{name}.ipynb")
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,  # time stamps would change every cell at every run
        extra_arguments=[
            # ipykernel warns at every start that it talks over local TCP, which is how Jupyter always works.
            "--IPKernelApp.log_level=ERROR",
            f"--IPKernelApp.extra_extensions={narrow.__name__}",  # figures for the website on a phone
        ],
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    write_atomically(folder / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
    return seconds, code_digest(notebook)


def write_learners_copy(name: str) -> None:
    """Write the learner's copy if the notebook is an exercise."""
    source = jupytext.read(NOTEBOOKS / f"{name}.py")
    if is_exercise(source):
        copies = NOTEBOOKS / COPIES
        copies.mkdir(exist_ok=True)
        write_atomically(copies / f"{name}.ipynb", nbformat.writes(learners_copy(source)) + "\n")


def recorded_times() -> dict[str, dict]:
    """Return what ``RUN_TIMES`` holds, by notebook."""
    return json.loads(RUN_TIMES.read_text(encoding="utf-8")) if RUN_TIMES.exists() else {}


def longest_first(names: list[str]) -> list[str]:
    """Return the notebooks in the order in which no process waits long for the last one; unknown ones come first."""
    recorded = recorded_times()
    return sorted(names, key=lambda name: recorded[name]["seconds"] if name in recorded else float("inf"), reverse=True)


def record_times(measured: dict[str, tuple[float, str]]) -> None:
    """Put the run times of ``measured`` into ``RUN_TIMES``, and keep those of the other notebooks."""
    with locked(RUN_TIMES.with_name(f".{RUN_TIMES.name}.lock"), RUN_TIMES.name, 60):
        recorded = recorded_times()
        for name, (seconds, digest) in measured.items():
            recorded[name] = {"seconds": round(seconds, 1), "cores": os.cpu_count(), "code_sha256": digest}
        write_atomically(RUN_TIMES, json.dumps(recorded, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Run the notebooks named on the command line, or all, and return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="for example 01_two_views; all when none is given")
    parser.add_argument("--jobs", type=int, default=1, help="how many notebooks run at a time")
    parser.add_argument("--store", action="store_true", help="replace the stored notebooks, which git tracks")
    parser.add_argument("--record-times", action="store_true", help=f"keep the run times in {RUN_TIMES.name}")
    arguments = parser.parse_args()
    folder = NOTEBOOKS if arguments.store else RUNS
    folder.mkdir(parents=True, exist_ok=True)

    known = sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
    names = arguments.names or known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no such notebook: {', '.join(unknown)}. The notebooks are: {', '.join(known)}")

    measured, failed = {}, []
    with ProcessPoolExecutor(max_workers=arguments.jobs) as pool:
        futures = {pool.submit(run, name, folder): name for name in longest_first(names)}
        for future in as_completed(futures):
            name = futures[future]
            try:
                measured[name] = future.result()
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                failed.append(name)
                print(f"FAILED  {name}\n{error}\n", file=sys.stderr, flush=True)
            else:
                print(f"{measured[name][0]:6.1f} s  {name}", flush=True)
                if arguments.store:
                    write_learners_copy(name)
    if arguments.record_times:
        record_times(measured)
    if failed:
        print(f"Failed, and what was stored is unchanged: {', '.join(sorted(failed))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
