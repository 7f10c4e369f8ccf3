"""The folds *The same in PyG*: what they show runs, on crystals made into graphs of PyTorch Geometric."""

from __future__ import annotations

import re
import textwrap

import pytest
import torch
from conftest import ROOT
from example_crystals import bundled
from torch_geometric.data import Data

from course_lib.graphs import CrystalGraphs
from course_lib.models.atom_features import atom_feature_table
from course_lib.models.layers import GaussianBasis

FOLDS = {"01_two_views": "loss", "06_multi_task": "predictions"}  # and what each of them computes last


def code_of(notebook: str) -> str:
    source = (ROOT / f"notebooks/{notebook}.py").read_text(encoding="utf-8")
    (fold,) = re.findall(r"<summary>The same in PyG</summary>(.*?)</details>", source, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)# ```", fold, re.DOTALL)
    return textwrap.dedent(re.sub("^# ?", "", code, flags=re.MULTILINE))


def list_of_data() -> list[Data]:
    structures = bundled(3)["structure"]
    graphs = CrystalGraphs.from_structures(structures)
    bits, basis = atom_feature_table(), GaussianBasis(stop=8.0, n_centers=41)
    made = []
    for row in range(len(structures)):
        one = graphs.batch([row])
        lengths = one.edge_vector.norm(dim=1)
        y = torch.tensor([float(row)])
        made.append(Data(x=bits[one.species], edge_index=one.edge_index, edge_attr=basis(lengths), y=y))
    return made


@pytest.mark.parametrize("notebook", FOLDS)
def test_the_code_of_the_fold_runs(notebook):
    names = {"list_of_data": list_of_data()}
    code = code_of(notebook)
    assert max(map(len, code.splitlines())) <= 88
    exec(code, names)
    made = names[FOLDS[notebook]]
    assert made.shape == (() if FOLDS[notebook] == "loss" else (3, 1))
    assert torch.isfinite(made).all()
