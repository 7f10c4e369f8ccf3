"""Store matminer's data about the elements for the composition features: ``python tools/element_tables.py``.

The features are computed from ``course_lib/element_tables.json``, because importing matminer's featurizers takes a
second. A test compares the file with the installed matminer.
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version

import numpy as np
from matminer.featurizers.composition import ElementProperty, IonProperty, Stoichiometry, ValenceOrbital
from matminer.utils.data import MagpieData
from pymatgen.core import Element

from course_lib.composition import TABLES
from course_lib.files import write_atomically

_STATISTICS = ["minimum", "maximum", "range", "mean", "avg_dev", "mode"]


def of_matminer() -> dict:
    """Return the element data of the installed matminer; lists over elements begin with hydrogen.

    Raises
    ------
    RuntimeError
        If its preset has other statistics than the ones that `course_lib.composition` computes.
    """
    stoichiometry, statistics = Stoichiometry(), ElementProperty.from_preset("magpie")
    orbitals, ions = ValenceOrbital(props=["avg"]), IonProperty(fast=True)
    if statistics.stats != _STATISTICS:
        raise RuntimeError(f"this matminer's magpie preset has the statistics {statistics.stats}, not {_STATISTICS}.")
    elements = [Element.from_Z(number) for number in range(1, 119)]

    def table(source: MagpieData) -> np.ndarray:
        """Return the element properties of the preset, (118, 22)."""
        return np.array([source.get_elemental_properties(elements, name) for name in statistics.features]).T

    with warnings.catch_warnings():
        # pymatgen warns about each element that has none; matminer puts the mean in its place.
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        electronegativity = ions.data_source.get_elemental_properties(elements, "X")
    return {
        "source": f"matminer {version('matminer')} (modified BSD licence)",
        "labels": {
            "stoichiometry norms": stoichiometry.feature_labels(),
            "element statistics": statistics.feature_labels(),
            "valence orbitals": orbitals.feature_labels(),
            "ionic character": ions.feature_labels(),
        },
        "norms": stoichiometry.p_list,
        "orbitals": orbitals.orbitals,
        "properties": statistics.features,
        "values": table(statistics.data_source).tolist(),
        "known": (~np.isnan(table(MagpieData(impute_nan=False)))).any(1).tolist(),
        "electronegativity": [float(value) for value in electronegativity],
        "oxidation_states": [
            [float(state) for state in ions.data_source.get_oxidation_states(element)] for element in elements
        ],
    }


if __name__ == "__main__":
    write_atomically(TABLES, json.dumps(of_matminer()) + "\n")
