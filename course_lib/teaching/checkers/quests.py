"""The quest at the end of each notebook: one number about crystals that the notebook has not used.

Where the number depends on the bundled crystals or on recorded runs, a function makes the question of them, and its
checker takes the crystals as well (`asks_of_crystals`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from course_lib.teaching.checkers.declarative import Mistakes, Number, asks, asks_of_crystals

ENERGY, GAP = "formation_energy_per_atom", "band_gap"


def told_apart(right: float, mistakes: Mistakes, atol: float) -> tuple[tuple, ...]:
    """Return mistakes without the values that are the right answer, or another mistake, for the data at hand."""
    taken, kept = [right], []
    for hint, *answers in mistakes:
        own = [answer for answer in answers if callable(answer) or not _is_near(answer, taken, atol)]
        taken += [answer for answer in own if not callable(answer)]
        kept += [(hint, *own)] if own else []
    return tuple(kept)


def _is_near(value: float, others: list[float], atol: float) -> bool:
    return any(abs(value - other) <= 1.01 * atol + 2e-6 * abs(value) for other in others)


def _holds(crystals: pd.DataFrame, element: str) -> np.ndarray:
    """Return which crystals hold an element."""
    return np.array([element in structure.composition for structure in crystals["structure"]])


@cache
def _recorded() -> pd.DataFrame:
    """Return the recorded runs on new formulas of the methods that quests ask about, with one seed."""
    from course_lib.experiments.records import load_results

    runs = load_results(methods=["early_fusion", "cgcnn", "multitask_gat"])
    return runs[(runs["split"] == "formula") & (runs["seed"] == 0)]


def _predicted(method: str, target: str) -> pd.Series:
    """Return the recorded prediction for each crystal by its id; their mean where there are several."""
    runs = _recorded()
    runs = runs[(runs["method"] == method) & (runs["target"] == target)]
    return pd.concat([pd.Series(run.predictions, run.ids) for run in runs.itertuples()]).groupby(level=0).mean()


def largest_error(crystals: pd.DataFrame) -> Number:
    """Return the question of quest 0, about the polymorphs of MgO, with the answer that these crystals give."""
    energies = crystals.loc[crystals["formula"] == "MgO", "formation_energy_per_atom"]
    half = float(energies.max() - energies.min()) / 2
    return Number("largest_error", half, (
        ("That is how far apart the lowest and the highest energy are. Where between the two is her best number?",
         2 * half),
        ("You let her say the mean of the energies. Another number comes closer to the crystal that she misses most.",
         float((energies - energies.mean()).abs().max())),
        ("You let her say the median of the energies. Another number comes closer to the crystal that she misses most.",
         float((energies - energies.median()).abs().max())),
        ("That is a mean error over the crystals. The largest of her errors is asked for.",
         float((energies - energies.mean()).abs().mean()), float((energies - energies.median()).abs().mean())),
        ("That is the standard deviation. How far is her number from the lowest and from the highest energy?",
         float(energies.std()), float(energies.std(ddof=0))),
        ("That is an energy, of one crystal or between two. How far from it are the crystals?",
         *map(float, energies), float(energies.max() + energies.min()) / 2),
        ("That is in meV/atom. Give eV/atom.", 1000 * half),
        ("An error cannot be negative.", lambda value: value < 0),
        ("{value:g} is not right. Which two crystals decide how large her largest error is?", lambda value: True),
    ), atol=2e-3)  # fmt: skip


check_quest_0 = asks_of_crystals(
    largest_error,
    lambda error, crystals: (
        f"Whatever one number she gives, it is off by {error:.2f} eV/atom or more for at least one of the crystals: "
        "half of the distance between the lowest and the highest energy."
    ),
)


check_quest_1 = asks(
    Number("from_oxygen", 6, (
        ("You counted all edges that lead to titanium. Some of them come from strontium.", 14),
        ("Those come from strontium. Which atoms are at the corners of the cell, and which on its faces?", 8),
        ("Twelve neighbours are asked for, but an atom gets whole shells, and titanium's second one does not end at "
         "twelve. How many atoms are in the first?", 12),
        ("That is how many oxygen atoms the cell has. An edge leads from a periodic image, too.", 3),
        ("That is how many edges lead from titanium to one oxygen atom: the other direction.", 2),
        ("{value:g} is not right. Which edges lead to titanium, and from which atom does each of them come?",
         lambda value: True),
    ), atol=0),
    shows="Titanium sits in an octahedron of six oxygen atoms, though the cell holds three: the others are periodic "
    "images.",
)  # fmt: skip

check_quest_2 = asks(
    Number("standardised", 3.0, (
        ("K2O took part in mean and standard deviation, so the scaler knows the test crystal. Take both from Li2O and "
         "Na2O alone.", 1.2247),
        ("You divided by the standard deviation with n − 1. The library's scaler divides by n: `std(ddof=0)`.", 2.1213),
        ("You subtracted the mean but did not divide by the standard deviation.", 8.0),
        ("You divided by the standard deviation but did not subtract the mean first.", 5.75),
        ("The sign is wrong. Which of the two numbers is subtracted?", -3.0),
        ("{value:g} is not right. Which crystals does the scaler see, and which two numbers does it take from them?",
         lambda value: True),
    ), atol=0.02),
    shows="Three standard deviations from the mean: to this scaler the potassium oxide is unlike anything that it was "
    "fitted to.",
)  # fmt: skip


def fluorides(crystals: pd.DataFrame) -> pd.DataFrame:
    """Return the energies of the bundled fluorides for quest 3, computed and predicted, in eV/atom.

    Parameters
    ----------
    crystals : DataFrame
        The bundled crystals.

    Returns
    -------
    DataFrame
        One row per crystal with fluorine that recorded runs predict, with the columns ``computed`` and
        ``early_fusion`` and ``cgcnn``: predictions by models that were trained on other formulas.
    """
    table = crystals.loc[_holds(crystals, "F"), [ENERGY]].rename(columns={ENERGY: "computed"})
    predicted = {method: _predicted(method, ENERGY) for method in ("early_fusion", "cgcnn")}
    return table.assign(**predicted).dropna()


def best_weight(crystals: pd.DataFrame) -> Number:
    """Return the question of quest 3, about a blend for the bundled fluorides, with the answer of recorded runs."""
    from course_lib.late_fusion import alpha_from_errors, optimal_alpha

    table = fluorides(crystals)
    models = (table["computed"], table["early_fusion"], table["cgcnn"])
    right = optimal_alpha(*models)
    errors = table[["early_fusion", "cgcnn"]].sub(table["computed"], axis=0)
    blend = right * errors["early_fusion"] + (1 - right) * errors["cgcnn"]
    by_formula = float(alpha_from_errors(*errors.std(), errors.corr().iloc[0, 1]))
    atol = 0.01  # what values in steps of 0.01 can be off by
    return Number("alpha", right, told_apart(right, (
        ("That is the weight of CGCNN. Which of the two models does alpha multiply?", 1 - right),
        ("That makes the *squared* error smallest. The absolute error has its minimum elsewhere.",
         optimal_alpha(*models, loss="mse"), by_formula),
        ("That is the error of the best blend, in eV/atom. At which weight is it so small?",
         float(blend.abs().mean())),
        ("The plain mean is not the best here. Try values to both sides of it.", 0.5),
        ("A weight lies between 0 and 1.", lambda value: not 0 <= value <= 1),
        ("With {value:g} the mean absolute error is not smallest. Which function of this page finds the best weight, "
         "and in which order does it take the two models?", lambda value: True),
    ), atol), atol)  # fmt: skip


check_quest_3 = asks_of_crystals(
    best_weight,
    lambda weight, crystals: (
        f"The best weight for these {len(fluorides(crystals))} fluorides. It was chosen and judged on the same "
        "crystals; to report the error of such a blend, take the weight from other folds."
    ),
)


check_quest_4 = asks(
    Number("numbers", 384, (
        ("That is for one convolution. The composition comes in before each of the three.", 128),
        ("Those are the factors alone, or the shifts alone. Both are set by the composition.", 192),
        ("That is for one convolution, the factors alone.", 64),
        ("That is for both crystals together. How many does one of them get?", 768),
        ("You multiplied by the atoms as well. All atoms of a crystal get the same numbers.", 384 * 4, 384 * 8),
        ("{value:g} is not right. Which shape has `scale_and_shift`, and which of its axes runs over the crystals?",
         lambda value: True),
    ), atol=0),
    shows="384 numbers, and the same ones for zinc blende and wurtzite: what tells the two apart is the graph.",
)  # fmt: skip

_RHO, _HEIGHT = 3.760 / 3**0.5, (2 * 0.2271 - 1 / 3) * 10.548  # of a bond of grey arsenic: across its axis, along it
_DOT, _SQUARE = _HEIGHT**2 - _RHO**2 / 2, _HEIGHT**2 + _RHO**2
_ANGLE = float(np.degrees(np.arccos(_DOT / _SQUARE)))

check_quest_5 = asks(
    Number("cosine", _DOT / _SQUARE, (
        ("Where do your two vectors begin? Both must begin at the atom in the middle, or both end there.",
         -_DOT / _SQUARE),
        ("That is the angle in degrees. Its cosine is asked for.", _ANGLE),
        ("That is the angle in radians. Its cosine is asked for.", float(np.radians(_ANGLE))),
        ("That is the angle head to tail, in degrees, not its cosine.", 180 - _ANGLE),
        ("That is a bond with itself, or with its own reverse. Take two different bonds.", 1.0, -1.0),
        ("You did not divide by the lengths of the bonds.", _DOT, -_DOT),
        ("That is the angle of a tetrahedron. How many bonds does an arsenic atom have?", -1 / 3),
        ("{value:g} is not right. Do your two edges have one target? And by which lengths do you divide?",
         lambda value: True),
    )),
    shows="All pairs of bonds of an atom in grey arsenic have this one cosine. Its angle of 96.6° is closer to the "
    "right angle between p orbitals than to the angle of a tetrahedron.",
)  # fmt: skip


def nitrides(crystals: pd.DataFrame) -> pd.DataFrame:
    """Return how far a recorded two-task network is off for the bundled nitrides, for quest 6.

    Parameters
    ----------
    crystals : DataFrame
        The bundled crystals.

    Returns
    -------
    DataFrame
        One row per crystal with nitrogen that recorded runs predict: prediction minus label of energy (eV/atom) and gap
        (eV), by models that were trained on other formulas. The gap of a metal is masked: NaN.
    """
    labels = crystals.loc[_holds(crystals, "N"), [ENERGY, GAP]]
    off_by = pd.DataFrame({task: _predicted("multitask_gat", task) for task in labels}).reindex(labels.index) - labels
    off_by = off_by.dropna()
    off_by[GAP] = off_by[GAP].where(labels[GAP] > 0)
    return off_by


def masked_loss(crystals: pd.DataFrame) -> Number:
    """Return the question of quest 6, about two tasks with missing labels, with the answer of recorded runs."""
    off_by = nitrides(crystals).to_numpy()
    size, known = np.abs(off_by), ~np.isnan(off_by[:, 1])
    energy, gap = np.nanmean(size, axis=0)
    right, atol = float(energy + 0.5 * gap), 2e-3
    return Number("loss", right, told_apart(right, (
        ("You took a masked gap for an error of zero. How many gaps are known, and count in the mean?",
         float(energy + 0.5 * np.nansum(size[:, 1]) / len(size))),
        ("You left λ out. Which of the two means does it multiply?", float(energy + gap)),
        ("You exchanged the two weights. Which of them belongs to the energy?", float(0.5 * energy + gap)),
        ("You dropped the metals, and their energies with them.", float(size[known, 0].mean() + 0.5 * gap)),
        ("That is the energy's part alone.", float(energy)),
        ("That is the gap's part alone.", float(0.5 * gap), float(gap)),
        ("Errors of different sign cancel in your means. Take the absolute values first.",
         float(np.dot(np.nanmean(off_by, axis=0), [1, 0.5]))),
        ("You took one mean over all labels. Each task has a mean of its own.", float(np.nanmean(size))),
        ("You added the errors up. Each task's error is a mean.", float(np.dot(np.nansum(size, axis=0), [1, 0.5]))),
        ("{value:g} is not right. What is the mean error of each task, over the labels that it has? And its weight?",
         lambda value: True),
    ), atol), atol)  # fmt: skip


def _labels_of_nitrides(loss: float, crystals: pd.DataFrame) -> str:
    off_by = nitrides(crystals)
    return (
        f"Each task is averaged over its own labels: {len(off_by)} energies and {off_by[GAP].count()} gaps. A crystal "
        "without a gap still gives its energy."
    )


check_quest_6 = asks_of_crystals(masked_loss, _labels_of_nitrides)


check_quest_7 = asks(
    Number("less", 1 - 43.4244 / 50.0440, (
        ("You divided by ALIGNN's error. By how much is it smaller, as a share of the forest's?", 50.044 / 43.4244 - 1),
        ("That is the ratio of the two errors. What is left out of one?", 43.4244 / 50.0440, 50.0440 / 43.4244),
        ("That is the difference in meV/atom. As a share of the forest's error?", 50.0440 - 43.4244),
        ("That is the comparison with the dummy, not with the forest.", 1 - 43.4244 / 67.2851),
        ("{value:g} is not right. Which share of the forest's error is left with ALIGNN, for the layered crystals?",
         lambda value: True),
    ), atol=2e-3),
    shows="13 % less, for 636 layered crystals. For the energies of `mp_e_form`, with two hundred times as many, it is "
    "more than 80 %.",
)  # fmt: skip

check_quest_8 = asks(
    Number("relative_distance", 5.42 * 3**0.5 / 4 / 2.34, (
        ("That is half of the lattice constant over the radii: the bond of rock salt. Where is the neighbour here?",
         2.71 / 2.34),
        ("That is the lattice constant over the radii. How far apart are the two atoms?", 5.42 / 2.34),
        ("That is the length of the bond in Å. Which length is it compared with?", 5.42 * 3**0.5 / 4),
        ("That is the length over the *mean* of the two radii. Take their sum.", 5.42 * 3**0.5 / 2 / 2.34),
        ("The table has the radii in picometres; divide them by 100 to get Å.", 5.42 * 3**0.5 / 4 / 234),
        ("That is the length over one radius. Both atoms have one.",
         5.42 * 3**0.5 / 4 / 1.32, 5.42 * 3**0.5 / 4 / 1.02),
        ("That is the sum of the radii over the length.", 2.34 / (2.71 * 3**0.5)),
        ("{value:g} is not right. How long is the bond in Å, and which length is it compared with?",
         lambda value: True),
    ), atol=2e-3),
    shows="The bond is as long as the two radii together. Each atom has four neighbours here, not six as in rock salt.",
)  # fmt: skip

SALTS, ASKED = ("rocksalt-K-Cl", "rocksalt-Mg-S", "fluorite-S-K"), "fluorite-Mg-Cl"
"""Quest 9: crystals to which references are fitted, and the one to predict; each element of it is in one of them."""


def with_references(crystals: pd.DataFrame) -> Number:
    """Return the question of quest 9, about the energy of MgCl2, with the answer that these crystals give."""
    from course_lib.pretrained import ENERGY as PRETRAINED
    from course_lib.pretrained import stored_features

    pretrained = stored_features(crystals)[PRETRAINED].astype(float)
    computed, compositions = crystals[ENERGY], crystals["structure"].map(lambda structure: structure.composition)
    symbols = sorted({element.symbol for name in SALTS for element in compositions[name]})
    shares = [[compositions[name].get_atomic_fraction(symbol) for symbol in symbols] for name in SALTS]
    shift = [computed[name] - pretrained[name] for name in SALTS]
    of = dict(zip(symbols, map(float, np.linalg.lstsq(shares, shift)[0]), strict=True))
    energy, mean = float(pretrained[ASKED]), of["Mg"] / 3 + of["Cl"] * 2 / 3
    right, atol = energy + mean, 5e-3
    return Number("predicted", right, told_apart(right, (
        ("You left the references out. What is added to the pretrained energy?", energy),
        ("You subtracted the references. They are added.", energy - mean),
        ("That is the sum of the references. Where is the pretrained energy?", mean),
        ("You added one reference for each atom of MgCl2. The energy is per atom, so take the shares of the elements.",
         energy + 3 * mean),
        ("You gave both elements the same share. Of three atoms, how many are chlorine?",
         energy + (of["Mg"] + of["Cl"]) / 2, energy + of["Mg"] + of["Cl"]),
        ("You exchanged the shares. Which of the two elements has more atoms?",
         energy + of["Mg"] * 2 / 3 + of["Cl"] / 3),
        ("That is the computed energy. What do the pretrained energy and the references predict?",
         float(computed[ASKED])),
        ("{value:g} is not right. What is added to the pretrained energy, and how much of each element's reference?",
         lambda value: True),
    ), atol), atol)  # fmt: skip


def _compared_with_computed(predicted: float, crystals: pd.DataFrame) -> str:
    off = predicted - crystals.loc[ASKED, ENERGY]
    return (
        f"The computed energy is {abs(off):.2f} eV/atom {'lower' if off > 0 else 'higher'}. None of the three crystals "
        "is a magnesium chloride, and yet they settle what this formula needs."
    )


check_quest_9 = asks_of_crystals(with_references, _compared_with_computed)


N_LAST, N_LIKE_THESE, BYTES_PER_EDGE = 200, 5_000_000, 20
"""Quest 10: how many of the last bundled crystals to look at, and the size of the dataset to plan for."""


def size_of_edges(crystals: pd.DataFrame) -> Number:
    """Return the question of quest 10, about the memory of graphs, with the answer that these crystals give."""
    from course_lib.graphs import CrystalGraphs

    graphs = CrystalGraphs.from_structures(crystals["structure"].iloc[-N_LAST:])
    edges = len(graphs.vector) / N_LAST
    atoms = sum(map(len, crystals["structure"].iloc[-N_LAST:])) / N_LAST
    unit = N_LIKE_THESE * BYTES_PER_EDGE / 1e9  # of one edge per crystal, in GB
    right, atol = edges * unit, 0.01 * edges * unit
    return Number("gigabytes", right, told_apart(right, (
        ("That is in megabytes.", lambda value: 990 * right <= value <= 1010 * right),
        ("You took 400 edges for each crystal. These are smaller: how many do they have?", 400 * unit),
        ("That counts in steps of 1024. Here a gigabyte is a billion bytes.", right * 1e9 / 2**30),
        ("Those are billions of edges. How many bytes does each take?", right / BYTES_PER_EDGE),
        ("You counted atoms, not edges.", atoms * unit),
        ("That is for the crystals of the cell alone. How many of the same kind are asked for?",
         lambda value: abs(value - right * N_LAST / N_LIKE_THESE) < 1e-5),
        ("You took all edges of the cell for those of one crystal.", lambda value: 190 * right <= value <= 210 * right),
        ("{value:g} GB is not right. How many edges has one of these crystals, and how many bytes does each take?",
         lambda value: True),
    ), atol), atol)  # fmt: skip


check_quest_10 = asks_of_crystals(
    size_of_edges,
    lambda gigabytes, crystals: (
        f"About {gigabytes:.0f} GB on the disk, for five million small crystals. A training step reads 64 of them."
    ),
)
