"""Train a network on a dataset and print its error on crystals that it has not seen.

python tools/examples/train.py                          the bundled crystals
python tools/examples/train.py path/to/folder           CIF files with a table id_prop.csv
python tools/examples/train.py matbench_phonons --epochs 20
"""

import argparse

import torch

from course_lib.composition import magpie
from course_lib.datasets import folds, load_dataset
from course_lib.graphs import CrystalGraphs
from course_lib.models import EarlyFusion
from course_lib.training import FitConfig, fit, predict

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", nargs="?", default="pbe_prototypes", help="what course_lib.datasets.load_dataset takes")
parser.add_argument("--epochs", type=int, default=50)
options = parser.parse_args()

crystals = load_dataset(options.dataset)
target = crystals.attrs["targets"][0]
structures = crystals["structure"]
graphs = CrystalGraphs.from_structures(
    structures, ids=crystals.index, composition=magpie(structures), targets=crystals[[target]]
)
fold = folds(crystals, kind="formula")[0]
train, validation, test = (graphs.subset(rows) for rows in fold)

torch.manual_seed(0)  # the initial weights
result = fit(EarlyFusion(), train, validation, FitConfig(epochs=options.epochs))
predicted = predict(result.model, test)[target]
error = (predicted - crystals[target].iloc[fold.test]).abs().mean()
unit = crystals.attrs["units"][target]
print(f"{target}: mean absolute error {error:.3f} {unit} on {len(test)} test crystals")
