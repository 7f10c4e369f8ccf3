"""Blend what methods predict for crystals that the project does not hold, and record the errors without predictions.

``python tools/blend_sizes.py FILE``, with the dataset of the recorded study ``training_sizes``. The page that shows
these runs cannot blend them itself: that takes the true values.
"""

import sys
from pathlib import Path

from course_lib.datasets import load_dataset
from course_lib.experiments.analysis import with_ensemble, with_late_fusion
from course_lib.experiments.records import load_results, results_file, write_without_predictions
from course_lib.experiments.studies import ENERGY

BLENDS = ("late_fusion", "alignn_kernel_ridge", "three_blended")
CONTROLS = ("cgcnn_ensemble", "alignn_ensemble", "alignn_three")


def main(dataset: str) -> None:
    """Read the runs and crystals, and write the file of the study ``sizes_and_blends``."""
    crystals = load_dataset(dataset)
    name = Path(crystals.attrs["name"]).name.split(".")[0]
    runs = trained = load_results(name, "training_sizes", crystals=crystals)
    for method in BLENDS:
        runs = with_late_fusion(runs, crystals[ENERGY], method)
    for method in CONTROLS:
        runs = with_ensemble(runs, crystals[ENERGY], method)
    write_without_predictions(runs, results_file(name, "sizes_and_blends"))
    print(f"{len(trained)} runs and {len(runs) - len(trained)} blends of them are recorded.")


if __name__ == "__main__":
    main(sys.argv[1])
