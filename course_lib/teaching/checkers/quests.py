"""The quest at the end of each notebook: one number about crystals that the notebook has not used."""

from __future__ import annotations

import pandas as pd

from course_lib.teaching.checkers.declarative import Number, asks
from course_lib.teaching.checkers.feedback import checker


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


@checker
def check_quest_0(answer: object, crystals: pd.DataFrame) -> str:
    """Check the smallest error that one number for all polymorphs of MgO can have at its worst.

    Parameters
    ----------
    answer : float
        In eV/atom.
    crystals : DataFrame
        The bundled crystals.

    Returns
    -------
    Feedback
    """
    error = largest_error(crystals).check(answer)
    return (
        f"Whatever one number she gives, it is off by {error:.2f} eV/atom or more for at least one of the crystals: "
        "half of the distance between the lowest and the highest energy."
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

check_quest_3 = asks(
    Number("alpha", 1 / 3, (
        ("That makes the *squared* error smallest. The absolute error has its minimum elsewhere.", 4 / 9),
        ("That is where the blend is right for the third crystal only, or the weight of the other model.", 2 / 3),
        ("The plain mean is not the best here. Try values to both sides of it.", 0.5),
        ("A weight lies between 0 and 1.", lambda value: not 0 <= value <= 1),
        ("With {value:g} the mean absolute error is not smallest. It is made of pieces of straight lines: where does "
         "one of the three errors become zero?", lambda value: True),
    )),
    shows="At one third the blend is right for two crystals at once. A weighted median finds it without trying.",
)  # fmt: skip

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

check_quest_5 = asks(
    Number("cosine", -1 / 3, (
        ("Where do your two vectors begin? Both must begin at the atom in the middle, or both end there.", 1 / 3),
        ("That is the angle in degrees. Its cosine is asked for.", 109.47),
        ("That is the angle in radians. Its cosine is asked for.", 1.9106),
        ("That is the angle head to tail, in degrees, not its cosine.", 70.53),
        ("That is a bond with itself, or with its own reverse. Take two different bonds.", 1.0, -1.0),
        ("You did not divide by the lengths of the bonds.", -0.7952, 0.7952),
        ("{value:g} is not right. Do your two edges have one target? And by which lengths do you divide?",
         lambda value: True),
    )),
    shows="All pairs of bonds of an atom in diamond have this one cosine: the angle of a tetrahedron, 109.5°.",
)  # fmt: skip

check_quest_6 = asks(
    Number("loss", 0.7, (
        ("You took the missing gap for an error of zero. How many gaps are known, and count in the mean?",
         0.3 + 0.5 * 1.6 / 3),
        ("You left λ out. Which of the two means does it multiply?", 1.1),
        ("You dropped the crystal without a gap, and its energy with it.", 0.6),
        ("That is the energy's part alone.", 0.3),
        ("That is the gap's part alone.", 0.4, 0.8),
        ("You added the errors up. Each task's error is a mean.", 1.7, 2.5),
        ("{value:g} is not right. What is the mean error of each task, over the labels that it has? And its weight?",
         lambda value: True),
    ), atol=2e-3),
    shows="Each task is averaged over its own labels. The crystal without a gap still gives its energy.",
)  # fmt: skip

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

check_quest_9 = asks(
    Number("predicted", -2.2, (
        ("You left the model of the rest out. Delta learning adds it to energy and references.", -2.15),
        ("The model says −0.05 eV/atom; you subtracted it.", -2.1),
        ("You subtracted the references. They are added.", -3.95 - 1.8 - 0.05),
        ("You added one reference for each atom of MgCl2. The energy is per atom, so take the shares of the elements.",
         -3.95 + 1.6 + 2 * 1.9 - 0.05),
        ("You gave both elements the same share. Of three atoms, how many are chlorine?",
         -3.95 + 1.75 - 0.05, -3.95 + 3.5 - 0.05),
        ("You exchanged the shares. Which of the two elements has more atoms?", -3.95 + 1.6 * 2 / 3 + 1.9 / 3 - 0.05),
        ("{value:g} is not right. What does delta learning add to the pretrained energy, and how much per element?",
         lambda value: True),
    ), atol=2e-3),
    shows="−4.00 from network and model, and 1.80 from the references: nearly half of the energy is a matter of where "
    "zero is.",
)  # fmt: skip

check_quest_10 = asks(
    Number("gigabytes", 8 / 3, (
        ("That is in megabytes.", lambda value: 2400 <= value <= 3000),
        ("You took 400 edges for each crystal. These have 500 atoms, not 30.", lambda value: 0.15 < value <= 0.17),
        ("That is for one crystal, in megabytes.", lambda value: 0.12 <= value <= 0.15),
        ("You counted atoms, not edges. Each atom has some 13 of them.", lambda value: 0.19 <= value <= 0.21),
        ("You joined every atom with every other one. An atom has edges to its nearest neighbours only.",
         lambda value: 95 <= value <= 105),
        ("{value:g} GB is not right. How many edges has one of these crystals, and how many bytes does each take?",
         lambda value: True),
    ), atol=0.3),
    shows="Less than three gigabytes: such a dataset would even fit into the memory, and it need not.",
)  # fmt: skip
