"""Predictions do not jump where neighbours come and go: the recorded run over real crystals, and what it measures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import strain_paths

from course_lib.datasets import DATA, load_dataset
from course_lib.methods import trained


def test_the_recorded_run_has_all_networks_and_no_jump():
    recorded = pd.read_json(DATA / "results" / "strain_paths.jsonl", lines=True)
    fading = recorded[recorded["fading"]]
    networks = {name for name, method in trained().items() if method.network}
    for which in ("bundled", "Materials Project"):
        of_set = fading[fading["crystals"] == which]
        assert set(of_set["method"]) == networks
        assert (of_set["number"] >= 40).all()
    assert fading["largest_jump"].max() <= 0.005
    assert recorded.loc[~recorded["fading"], "largest_jump"].max() > 0.05, (
        "where neighbours end at once there are jumps"
    )


def test_a_jump_is_told_from_a_slope():
    smooth = 5 * strain_paths.STRAINS + 300 * strain_paths.STRAINS**2
    assert strain_paths.largest_jump(np.concatenate([smooth, smooth])) < 1e-4
    jumping = smooth + 0.01 * (strain_paths.STRAINS > 0.003)
    assert strain_paths.largest_jump(np.concatenate([smooth, jumping])) == pytest.approx(0.01, abs=1e-4)


def test_paths_are_strains_of_the_crystals_in_between():
    (structure,) = load_dataset("pbe_prototypes")["structure"].iloc[:1]
    graphs = strain_paths.paths([structure])
    assert len(graphs) == len(strain_paths.STRAINS)
    direction = np.diag([1.0, 0, 0])
    first, *_, last = strain_paths.strained(structure, direction)
    assert first.volume / structure.volume == pytest.approx(0.99)
    assert last.volume / structure.volume == pytest.approx(1.01)
