"""Composition features: 145 numbers that follow from the chemical formula alone (Magpie).

The element data, the labels and the definitions are those of matminer's featurizers
``Stoichiometry``, ``ElementProperty.from_preset("magpie")``, ``ValenceOrbital(props=["avg"])``
and ``IonProperty(fast=True)``. matminer works on one composition at a time; here all
compositions with the same number of elements are computed together.

Source: L. Ward, A. Agrawal, A. Choudhary, C. Wolverton, npj Comput. Mater. 2, 16028 (2016),
https://doi.org/10.1038/npjcompumats.2016.28.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from course_lib.validation import check_composition, check_same_length, check_unique_ids, describe_row

if TYPE_CHECKING:
    from pymatgen.core import Composition, DummySpecies, Element, Species, Structure

TABLES = Path(__file__).with_name("element_tables.json")
"""matminer's element data."""

_MAX_Z = 118
_CHARGE_TOLERANCE = 1e-8  # np.isclose(charge, 0), which matminer asks, means this
_BLOCK_ROWS = 2048  # compositions computed together: their element values fit in the CPU cache
_SYMBOL = re.compile("[A-Z][a-z]?")
# An element or a group, an amount with a decimal point and something after it.
_DOTTED = re.compile(
    r"(?P<of>[A-Z][a-z]?|\([^()]*\)|\[[^\[\]]*\])(?P<whole>[1-9][0-9]*|)\.(?P<decimals>[0-9]+)(?=[A-Z(\[])"
)
_SOLVENT = re.compile(r"[(\[]?(H2O|D2O|H2O2|NH3|CH3OH|CH4O|C2H5OH|C2H6O|CO2|SO2|HF|HCl|HBr|HI|HNO3)(?![a-z0-9])")
_MAX_PARTIAL_SUMS = 1_000_000  # partial charge sums held at a time, so that memory stays bounded


def magpie(
    compositions: Sequence[Composition | Structure | str], ids: Sequence[str] | None = None
) -> pd.DataFrame:  # (B, 145)
    """Return the 145 Magpie composition features of each crystal or formula.

    Parameters
    ----------
    compositions : sequence of pymatgen Composition, Structure or str, length B
        What to describe; a DataFrame column works. A string is read as a formula
        (``"SrTiO3"``). Amounts may be fractional. Oxidation states are used where every
        species of a composition carries one, as matminer does.
    ids : sequence of str, length B, optional
        Name of each row, the index of the result. Without it a pandas Series keeps its own
        index and anything else is numbered from 0.

    Returns
    -------
    pandas.DataFrame of float32, shape (B, 145)
        Columns named and ordered as matminer names and orders them; `feature_groups` says which
        belong together. Temperatures are in K, covalent radii in pm, volumes per atom in cubic
        angstrom, band gaps in eV.

    Raises
    ------
    ValueError
        If a row is empty, is not a formula, has an amount that is not positive and finite, or holds
        something that the tables do not cover (a dummy species, an isotope, an element beyond Cn).

    Notes
    -----
    A value that matminer's tables lack for an element (the melting point of helium, say) is
    replaced by the mean over all elements, which is matminer's default.

    Examples
    --------
    >>> features = magpie(["SrTiO3", "NaCl"])
    >>> features.shape
    (2, 145)
    >>> float(features.loc[1, "MagpieData mean Number"])
    14.0
    """
    if isinstance(compositions, str):
        raise ValueError(f"compositions is a single text, {compositions!r}. Give a list: [{compositions!r}].")
    index = _row_index(compositions, ids)
    features = _features(list(compositions), None if isinstance(index, pd.RangeIndex) else index)
    return pd.DataFrame(features.astype(np.float32), index=index, columns=list(chain(*feature_groups().values())))


def feature_groups() -> dict[str, list[str]]:
    """Return the column labels of `magpie` in their four groups, of 6, 132, 4 and 3 features.

    Returns
    -------
    dict of str to list of str
        ``"stoichiometry norms"``: p-norms of the atomic fractions, p = 0 (the number of elements), 2,
        3, 5, 7, 10; ``"element statistics"``: minimum, maximum, range, mean, average deviation and
        mode of 22 element properties; ``"valence orbitals"``: mean number of s, p, d and f valence
        electrons; ``"ionic character"``: whether the charges can balance, and the largest and the
        mean ionic character of the bonds. In the order of the columns.
    """
    return {group: list(labels) for group, labels in _element_tables().labels.items()}


def element_properties() -> pd.DataFrame:
    """Return the 22 element properties behind the element statistics, one row per element.

    Returns
    -------
    pandas.DataFrame of float64, shape (112, 22)
        Index: element symbols, H to Cn. Missing values are already replaced by the mean over all
        elements, as in the features.
    """
    from pymatgen.core import Element

    tables = _element_tables()
    numbers = np.flatnonzero(tables.known)
    symbols = pd.Index([Element.from_Z(int(number)).symbol for number in numbers], name="element")
    return pd.DataFrame(tables.values[numbers], index=symbols, columns=tables.properties)


def by_atomic_number(values: pd.DataFrame | pd.Series) -> np.ndarray:
    """Return rows of `element_properties`, or what was made of them, by atomic number: (113, ...), row 0 is zero."""
    rows = values.to_numpy()
    return np.concatenate([np.zeros_like(rows[:1]), rows])


# ---------------------------------------------------------------- matminer's data about the elements


@dataclass(frozen=True)
class _ElementTables:
    """matminer's element data as arrays; the first axis is the atomic number, row 0 stays empty."""

    labels: dict[str, list[str]]  # column labels in their four groups
    norms: np.ndarray  # (6,) the p of the stoichiometry norms
    properties: list[str]  # names of the 22 element properties
    valence: list[int]  # which of them are the numbers of s, p, d, f valence electrons
    values: np.ndarray  # (119, 22)
    known: np.ndarray  # (119,) bool, False where the tables have no row for the element
    ionic_character: np.ndarray  # (119, 119) of a bond between two elements
    oxidation_states: np.ndarray  # (119, most states of any element), only the first n_states count
    n_states: np.ndarray  # (119,)


@functools.cache
def _element_tables() -> _ElementTables:
    """Read the element data, which `tools/element_tables.py` takes from matminer: importing that takes a second."""
    stored = json.loads(TABLES.read_text(encoding="utf-8"))
    nothing = [[np.nan] * len(stored["properties"])]
    states = [[], *stored["oxidation_states"]]
    n_states = np.array([len(of_element) for of_element in states])
    electronegativity = np.array([np.nan, *stored["electronegativity"]])
    return _ElementTables(
        labels=stored["labels"],
        norms=np.array(stored["norms"]),
        properties=stored["properties"],
        valence=[stored["properties"].index(f"N{orbital}Valence") for orbital in stored["orbitals"]],
        values=np.array(nothing + stored["values"]),
        known=np.array([False, *stored["known"]]),
        ionic_character=1.0 - np.exp(-0.25 * np.subtract.outer(electronegativity, electronegativity) ** 2),
        oxidation_states=np.array([row + [0.0] * (n_states.max() - len(row)) for row in states]),
        n_states=n_states,
    )


# ---------------------------------------------------------------- from Python objects to flat arrays


@dataclass(frozen=True)
class _Packed:
    """All compositions as flat arrays; composition b has `counts[b]` consecutive entries."""

    counts: np.ndarray  # (B,) number of elements
    numbers: np.ndarray  # (n_entries,) atomic numbers
    amounts: np.ndarray  # (n_entries,)
    pair_amounts: np.ndarray  # (n_entries,) what is used for the amounts in the mean ionic character
    charge: np.ndarray  # (B,) sum of the given oxidation states, NaN where not every species has one


def _row_index(compositions: Sequence, ids: Sequence[str] | None) -> pd.Index:
    """Return the index of the result: `ids`, or the index of a Series, or 0 to B - 1."""
    if ids is not None:
        check_same_length(compositions=compositions, ids=ids)
        check_unique_ids(list(ids))
        return pd.Index(list(ids))
    return compositions.index if isinstance(compositions, pd.Series) else pd.RangeIndex(len(compositions))


def _as_composition(item: object, row: int, ids: Sequence[str] | None) -> Composition:
    """Return the composition of a structure or of a formula."""
    from pymatgen.core import Composition, IStructure

    if isinstance(item, IStructure):
        return item.composition
    where = describe_row(row, ids)
    if not isinstance(item, str):
        raise ValueError(
            f"{where}: {item!r} is not a composition. "
            "Give a pymatgen Composition or Structure or a formula such as 'SrTiO3'."
        )
    _check_dots(item, where)
    try:
        return Composition(item)
    except ValueError as error:
        raise ValueError(
            f"{where}: {item!r} is not a chemical formula ({error}). Write element symbols and positive amounts, "
            "such as 'SrTiO3', 'Ba0.5Sr0.5TiO3' or, for a hydrate, 'CuSO4(H2O)5'."
        ) from error


def _check_dots(formula: str, where: str) -> None:
    """Raise ``ValueError`` where a full stop may be a decimal point or separate two compounds.

    ``CuSO4.5H2O`` is copper sulfate with five waters, but reads like O4.5. A decimal amount is meant where only a 0
    would be left before the point (``Na0.5``), or where what follows is not a compound of its own: one that
    crystallises with others, one that contains the element again, or any other after a compound. Before a dot nobody
    writes an amount of 1, as in ``LiMn1.5NiO4``.
    """
    text = "".join(formula.split())
    for dotted in _DOTTED.finditer(text):
        rest = text[dotted.end() :].partition(".")[0]
        elements = set(_SYMBOL.findall(rest))
        again = len(elements) > 1 and not elements.isdisjoint(_SYMBOL.findall(dotted["of"]))
        before = _SYMBOL.findall(text[: dotted.end("of")].rpartition(".")[2])
        both = len(elements) > 1 and len(set(before)) > 1 and dotted["whole"] != "1"
        none_of_it = re.search("(?<![0-9])0$", rest)  # O1.5(OH)0.5
        if not none_of_it and (again or both or _SOLVENT.match(rest)):
            amount = f"{dotted['whole']}.{dotted['decimals']}"
            raise ValueError(
                f"{where}: {formula!r} can be read in two ways: with an amount of {amount}, or as two compounds with a "
                "dot between them. Write the second in parentheses, such as 'CuSO4(H2O)5', or the amount without a "
                "full stop, such as 'Fe2O5' for 'FeO2.5'."
            )


def _table_number(species: Element | Species | DummySpecies) -> int:
    """Return the atomic number of a species, 0 for a dummy species or an isotope, which no table covers."""
    from pymatgen.core import DummySpecies

    # An isotope has the symbol of its element and a name of its own: 'D' and 'H'.
    return 0 if isinstance(species, DummySpecies) or species.name != species.symbol else species.Z


def _pack(compositions: list[Composition], ids: Sequence[str] | None) -> _Packed:
    """Read all compositions into flat arrays and refuse what the tables do not cover."""
    from pymatgen.core import Species

    counts = np.fromiter(map(len, compositions), dtype=np.int64, count=len(compositions))
    flat = list(chain.from_iterable(chain.from_iterable(composition.items() for composition in compositions)))
    species, amounts = flat[::2], np.array(flat[1::2], dtype=np.float64)

    # pymatgen hashes a species slowly, and many entries share few objects: look each object up once, by identity.
    identities = list(map(id, species))
    distinct = dict(zip(identities, species, strict=True))
    place = {identity: position for position, identity in enumerate(distinct)}
    codes = np.fromiter(map(place.__getitem__, identities), dtype=np.int64, count=len(identities))
    numbers = np.array([_table_number(one) for one in distinct.values()], dtype=np.int64)[codes]

    rows = np.repeat(np.arange(len(compositions)), counts)
    usable = _element_tables().known[numbers] & (amounts > 0) & np.isfinite(amounts)
    if not usable.all() or not counts.all():
        row = int(min(rows[~usable].min(initial=len(rows)), np.flatnonzero(counts == 0).min(initial=len(rows))))
        _refuse(compositions[row], row, ids)

    if not any(isinstance(one, Species) for one in distinct.values()):
        return _Packed(counts, numbers, amounts, amounts, np.full(len(counts), np.nan))
    states = [getattr(one, "oxi_state", None) for one in distinct.values()]
    oxidation = np.array(states, dtype=np.float64)[codes]  # None becomes NaN
    return _merge_species(rows, counts, numbers, amounts, oxidation)


def _merge_species(
    rows: np.ndarray, counts: np.ndarray, numbers: np.ndarray, amounts: np.ndarray, oxidation: np.ndarray
) -> _Packed:
    """Add up the species of one element (Fe2+ and Fe3+), in the order in which the elements first appear."""
    charge = np.bincount(rows, weights=oxidation * amounts, minlength=len(counts))  # NaN where a state is missing
    _, first, inverse = np.unique(rows * (_MAX_Z + 1) + numbers, return_index=True, return_inverse=True)
    element_amounts = np.bincount(inverse, weights=amounts)

    order = np.argsort(first)
    first, element_amounts = first[order], element_amounts[order]
    element_rows = rows[first]
    element_counts = np.bincount(element_rows, minlength=len(counts))

    # matminer pairs the i-th element with the amount of the i-th *species* when oxidation states are given. The two
    # differ only where an element has several states; kept, because these features are matminer's by definition.
    position = np.arange(len(first)) - np.repeat(np.cumsum(element_counts) - element_counts, element_counts)
    species_amounts = amounts[(np.cumsum(counts) - counts)[element_rows] + position]
    pair_amounts = np.where(np.isnan(charge)[element_rows], element_amounts, species_amounts)
    return _Packed(element_counts, numbers[first], element_amounts, pair_amounts, charge)


def _refuse(composition: Composition, row: int, ids: Sequence[str] | None) -> NoReturn:
    """Raise the error that says what is wrong with a composition and how to fix it."""
    check_composition(composition, row, ids)
    where = describe_row(row, ids)
    for species, amount in composition.items():
        if not (amount > 0 and np.isfinite(amount)):
            raise ValueError(f"{where}: {species} has the amount {amount}. Give a positive, finite amount.")
    known = _element_tables().known
    beyond = [species.symbol for species in composition if not known[species.Z]]
    raise ValueError(
        f"{where}: no element data for {', '.join(beyond)}. "
        f"matminer's Magpie tables end at Z = {np.flatnonzero(known)[-1]}. Drop the row."
    )


# ---------------------------------------------------------------- the features


def _features(compositions: list, ids: Sequence[str] | None = None) -> np.ndarray:  # (B, 145) float64
    """Return the features in double precision."""
    from pymatgen.core import Composition

    packed = _pack(
        [
            item if isinstance(item, Composition) else _as_composition(item, row, ids)
            for row, item in enumerate(compositions)
        ],
        ids,
    )
    starts = np.cumsum(packed.counts) - packed.counts
    features = np.empty((len(compositions), sum(map(len, feature_groups().values()))))
    for n_elements in np.unique(packed.counts):
        same_size = np.flatnonzero(packed.counts == n_elements)
        for begin in range(0, len(same_size), _BLOCK_ROWS):
            rows = same_size[begin : begin + _BLOCK_ROWS]
            entries = starts[rows] + np.arange(n_elements)[:, None]
            features[rows] = _block_features(
                packed.numbers[entries], packed.amounts[entries], packed.pair_amounts[entries], packed.charge[rows]
            )
    return features


def _block_features(
    numbers: np.ndarray, amounts: np.ndarray, pair_amounts: np.ndarray, charge: np.ndarray
) -> np.ndarray:  # (n_elements, B), (n_elements, B), (n_elements, B), (B,) -> (B, 145)
    """Return the features of compositions that all have the same number of elements."""
    tables = _element_tables()
    total = amounts.sum(axis=0)  # (B,)
    fractions = amounts / total
    statistics = _element_statistics(tables.values[numbers], amounts, fractions)  # (B, 22, 6)
    mean = statistics[:, tables.valence, 3]
    return np.column_stack(
        [
            _stoichiometry_norms(fractions),
            statistics.reshape(len(total), -1),
            mean,
            _compound_possible(numbers, amounts, charge),
            _ionic_character(numbers, pair_amounts / total),
        ]
    )


def _stoichiometry_norms(fractions: np.ndarray) -> np.ndarray:  # (n_elements, B) -> (B, 6)
    """Return the p-norms of the atomic fractions; p = 0 counts the elements."""
    norms = [
        (fractions**p).sum(axis=0) ** (1.0 / p) if p else np.full(fractions.shape[1], len(fractions))
        for p in _element_tables().norms.tolist()
    ]
    return np.column_stack(norms)


def _element_statistics(values: np.ndarray, amounts: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return minimum, maximum, range, mean, average deviation and mode of each element property.

    The mode is the smallest value among the elements whose amount is close to the largest one.

    Parameters
    ----------
    values : numpy.ndarray, shape (n_elements, B, 22)
    amounts, fractions : numpy.ndarray, shape (n_elements, B)

    Returns
    -------
    numpy.ndarray, shape (B, 22, 6)
    """
    weights = fractions[:, :, None]
    lowest, highest = values.min(axis=0), values.max(axis=0)
    mean = (weights * values).sum(axis=0)
    deviation = (weights * np.abs(values - mean)).sum(axis=0)
    most_frequent = np.isclose(amounts, amounts.max(axis=0))[:, :, None]
    mode = np.where(most_frequent, values, np.inf).min(axis=0)
    return np.stack([lowest, highest, highest - lowest, mean, deviation, mode], axis=-1)


def _ionic_character(numbers: np.ndarray, fractions: np.ndarray) -> np.ndarray:  # 2 x (n_elements, B) -> (B, 2)
    """Return the largest and the fraction-weighted mean ionic character over all pairs of elements."""
    first, second = np.triu_indices(len(numbers), k=1)
    character = _element_tables().ionic_character[numbers[first], numbers[second]]  # (n_pairs, B)
    mean = (fractions[first] * fractions[second] * character).sum(axis=0)
    return np.column_stack([character.max(axis=0, initial=0.0), mean])


def _compound_possible(numbers: np.ndarray, amounts: np.ndarray, charge: np.ndarray) -> np.ndarray:
    """Return for each composition whether its charges can balance; an element always counts as possible.

    Parameters
    ----------
    numbers, amounts : numpy.ndarray, shape (n_elements, B)
    charge : numpy.ndarray, shape (B,)
        Sum of the oxidation states where the composition gives them, else NaN.

    Returns
    -------
    numpy.ndarray of bool, shape (B,)
    """
    possible = np.abs(charge) <= _CHARGE_TOLERANCE
    if len(numbers) == 1:
        return np.ones_like(possible)
    guessed = np.isnan(charge)
    possible[guessed] = _can_balance(numbers[:, guessed], amounts[:, guessed])
    return possible


def _can_balance(numbers: np.ndarray, amounts: np.ndarray) -> np.ndarray:  # 2 x (n_elements, B) -> (B,) bool
    """Return whether one common oxidation state for each element can add up to zero charge.

    All choices for all compositions grow together, one element at a time. Sums that the remaining
    elements cannot bring back to zero are dropped, and equal sums of a composition are merged.
    """
    tables = _element_tables()
    n_elements, n_rows = numbers.shape
    # Elements with few states first: then most sums are dropped before the elements with many states multiply them.
    order = np.argsort(tables.n_states[numbers], axis=0, kind="stable")
    numbers, amounts = np.take_along_axis(numbers, order, axis=0), np.take_along_axis(amounts, order, axis=0)
    n_states = tables.n_states[numbers]
    if n_rows > 1 and n_states.astype(float).prod(axis=0).sum() > _MAX_PARTIAL_SUMS:
        half = n_rows // 2
        halves = (slice(None, half), slice(half, None))
        return np.concatenate([_can_balance(numbers[:, part], amounts[:, part]) for part in halves])

    charges = tables.oxidation_states[numbers] * amounts[:, :, None]  # (n_elements, B, most states)
    counted = np.arange(charges.shape[2]) < n_states[:, :, None]
    lowest = np.where(counted, charges, np.inf).min(axis=2)
    highest = np.where(counted, charges, -np.inf).max(axis=2)
    row = np.arange(n_rows)  # a row with an element that has no states loses its only sum at once
    total = np.zeros(len(row))
    for element in range(n_elements):
        repeats = n_states[element, row]
        state = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        row, total = np.repeat(row, repeats), np.repeat(total, repeats)
        total = total + charges[element, row, state]
        slack = 100 * _CHARGE_TOLERANCE  # rounding must not drop a sum that could still balance
        low, high = lowest[element + 1 :].sum(axis=0), highest[element + 1 :].sum(axis=0)
        reachable = (total + low[row] <= slack) & (total + high[row] >= -slack)
        row, total = _merge_equal(row[reachable], total[reachable])
    possible = np.zeros(n_rows, dtype=bool)
    possible[row[np.abs(total) <= _CHARGE_TOLERANCE]] = True
    return possible


def _merge_equal(row: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep one of the sums of a row that differ by rounding only."""
    order = np.lexsort((total, row))
    row, total = row[order], total[order]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (np.diff(row) > 0) | (np.diff(total) > 0.01 * _CHARGE_TOLERANCE)
    return row[new], total[new]
