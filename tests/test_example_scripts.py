"""The example scripts in ``tools/examples`` run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from example_crystals import TARGET, bundled

SCRIPT = ROOT / "tools/examples/train.py"
LIMIT = 120  # seconds on a loaded machine; it takes 10


@pytest.fixture
def folder(tmp_path):
    """A folder of 40 CIF files with id_prop.csv."""
    frame = bundled(40)
    for name, structure in frame["structure"].items():
        structure.to(filename=str(tmp_path / f"{name}.cif"))
    frame[TARGET].to_csv(tmp_path / "id_prop.csv", header=False)
    return tmp_path


def test_script_prints_the_error_on_the_test_part(folder):
    command = [sys.executable, str(SCRIPT), str(folder), "--epochs", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=True)
    found = re.search(r"^target: mean absolute error (\d+\.\d{3}) .*on (\d+) test crystals$", run.stdout, re.MULTILINE)
    assert found, run.stdout + run.stderr
    assert 0 < float(found[1]) < 10
    assert 5 <= int(found[2]) <= 12  # a fifth of 40, as whole formulas


def test_script_is_short_and_names_a_dataset_that_does_not_exist(tmp_path):
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 50
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "none" in run.stderr.splitlines()[-1]
