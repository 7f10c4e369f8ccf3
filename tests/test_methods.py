"""Adding a network, as the guide for contributors has it: one file with its class, one entry in the table."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from course_lib import cli, predictors
from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.experiments import records, runs, studies
from course_lib.experiments.protocol import N_FOLDS
from course_lib.experiments.provenance import code_sha256
from course_lib.graphs import CrystalGraphs
from course_lib.methods import BOTH_SPLITS, KINDS, LABELS, METHODS, Method, Network, compared, trained, twins

TARGET = "formation_energy_per_atom"
CLASS = """
import torch
from torch import nn

from course_lib.models.base import Trunk


class MeanSpecies(Trunk):
    def __init__(self, n_targets: int = 1, hidden: int = 4):
        super().__init__(n_targets=n_targets, hidden=hidden)
        self.embedding_size = hidden
        self.element = nn.Embedding(120, hidden)
        self.out = nn.Linear(hidden, n_targets)

    def embed(self, batch):
        atoms = self.element(batch.species)
        total = torch.zeros(batch.num_graphs, atoms.shape[1]).index_add(0, batch.batch, atoms)
        return total / torch.bincount(batch.batch)[:, None]
"""


@pytest.fixture
def mean_species(tmp_path, monkeypatch):
    """Add a network: a file, and an entry."""
    (tmp_path / "mean_species.py").write_text(CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    entry = Method("mean species", "composition", Network("mean_species", "MeanSpecies"), settings={"epochs": 2})
    monkeypatch.setitem(METHODS, "mean_species", entry)
    yield "mean_species"
    sys.modules.pop("mean_species", None)


@pytest.fixture(scope="module")
def crystals():
    whole = load_dataset("pbe_prototypes")
    few = whole.iloc[:40].copy()
    few.attrs = whole.attrs
    return few


def graphs_of(crystals):
    structures = crystals["structure"]
    graphs = CrystalGraphs.from_structures(
        structures, ids=crystals.index, composition=magpie(structures), targets=crystals[[TARGET]]
    )
    return graphs


def test_an_added_network_trains_saves_and_loads(mean_species, crystals, tmp_path):
    graphs = graphs_of(crystals)
    train, validation, test = (graphs.subset(part) for part in folds(crystals)[0])
    made = predictors.train(mean_species, train, validation, tmp_path / "run")
    # In a process that has not seen the class; the table says where it is.
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from course_lib import predictors
from course_lib.methods import METHODS, Method, Network
METHODS["mean_species"] = Method("mean species", "composition", Network("mean_species", "MeanSpecies"))
predictor = predictors.load({str(tmp_path / "run")!r})
print(type(predictor.model.network).__name__, predictor.method)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MeanSpecies", "mean_species"]
    loaded = predictors.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(test), made.predict(test))


def test_an_added_network_is_compared(mean_species, crystals, tmp_path, monkeypatch):
    wanted = [run for run in studies.comparison(crystals) if run.method == mean_species]
    assert len(wanted) == len(BOTH_SPLITS) * N_FOLDS * 3
    assert mean_species in {run.method for run in studies.tuning(crystals)}
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setattr(runs, "load_dataset", lambda name: crystals)
    monkeypatch.setitem(studies.STUDIES, "comparison", studies.Study(lambda n: wanted[:1]))
    runs.run_study("comparison")
    table = records.load_results(methods=[mean_species])
    assert table["method"].tolist() == [mean_species]
    assert table["configuration"].iloc[0] == {"epochs": 2}
    record = json.loads(records.results_file("pbe_prototypes", "comparison").read_text())
    code = code_sha256(["mean_species", "course_lib.training", "course_lib.composition"])
    made_by = f"{code} {METHODS[mean_species].network}"
    assert record["code_sha256"] == hashlib.sha256(made_by.encode()).hexdigest()
    assert record["commit"] is None or len(record["commit"].rstrip("+")) == 40


def test_an_added_network_predicts_by_the_command_line(mean_species, crystals, tmp_path, capsys):
    graphs = graphs_of(crystals)
    train, validation, _ = (graphs.subset(part) for part in folds(crystals)[0])
    predictors.train(mean_species, train, validation, tmp_path / "run")
    crystals["structure"].iloc[0].to(str(tmp_path / "one.cif"))
    assert cli.main(["predict", "--model", str(tmp_path / "run"), str(tmp_path / "one.cif")]) == 0
    assert "mean_species" in capsys.readouterr().out


def test_an_added_network_stands_in_tables_and_figures(mean_species):
    assert LABELS[mean_species] == "mean species"
    assert KINDS[mean_species] == "composition"
    assert mean_species in compared()
    assert "mean_species" in trained()


def test_the_table_is_consistent():
    for name, method in METHODS.items():
        assert method.kind in {"composition", "structure", "hybrid"}, name
        assert set(method.compared) <= set(BOTH_SPLITS), name
        assert {method.tuned_as, method.twin, *method.blends} - {None} <= METHODS.keys(), name
        if method.tuned_as:
            assert method.settings == METHODS[method.tuned_as].settings, name
    assert len(set(LABELS.values())) == len(METHODS)
    assert all(METHODS[multi].multitask and not METHODS[twin].multitask for multi, twin in twins().items())


def test_the_table_loads_nothing_heavy():
    code = "import sys, course_lib.methods; print({'torch', 'numpy', 'pandas', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
