"""Exercise 3: from a crystal to its atom graph, from there to its line graph, and what the angles add."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from course_lib.teaching.checkers.feedback import (
    Hint,
    Mistake,
    Statement,
    array_from,
    as_array,
    checker,
    close,
    first_wrong,
    judge,
    number_from,
    recognise_function,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure

EDGES = ((1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2))
"""Source and target of the edges of trigonal selenium with two neighbours an atom, in the library's order."""


def selenium() -> Structure:
    """Return trigonal selenium, helical chains of bent bonds (Cherin and Unger, Inorg. Chem. 6, 1589 (1967)).

    The three atoms of the cell are neighbours in one chain, which runs along the third axis.
    """
    from pymatgen.core import Lattice, Structure

    a, c, u = 4.3662, 4.9536, 0.2254  # angstrom, angstrom, fraction of a
    return Structure(Lattice.hexagonal(a, c), ["Se"] * 3, [[-u, -u, 0], [u, 0, 1 / 3], [0, u, 2 / 3]])


def straightened(chain: Structure) -> Structure:
    """Return a crystal that does not exist: the chains of `chain` pulled straight, their bonds as long as before."""
    from pymatgen.core import Lattice, Structure

    bond = chain.distance_matrix[0, 1]
    lattice = Lattice.hexagonal(chain.lattice.a, len(chain) * bond)
    return Structure(lattice, chain.species, [[0, 0, site / len(chain)] for site in range(len(chain))])


def along_chain(chain: Structure, count: int) -> np.ndarray:
    """Return the positions of `count` atoms in a row, in angstrom, (count, 3)."""
    turns, sites = np.divmod(np.arange(count), len(chain))
    return chain.cart_coords[sites] + turns[:, None] * chain.lattice.matrix[2]


# --- the cosine of an angle -----------------------------------------------------------------------------------------


def _cosine(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    first, second = a - b, c - b
    return first @ second / (np.linalg.norm(first) * np.linalg.norm(second))


_COSINES = (
    Mistake(
        lambda a, b, c: np.arccos(_cosine(a, b, c)),
        "That is the angle itself, in radians. The network reads its cosine: leave out the last step.",
    ),
    Mistake(
        lambda a, b, c: np.degrees(np.arccos(_cosine(a, b, c))),
        "That is the angle itself, in degrees. The network reads its cosine: leave out the last step.",
    ),
    Mistake(
        lambda a, b, c: -_cosine(a, b, c),
        "The size is right, the sign is not. Both vectors must start at the middle atom b: one of yours ends there. "
        "For a straight line a–b–c the cosine is −1.",
    ),
    Mistake(
        lambda a, b, c: (a - b) @ (c - b),
        "That is the dot product. It also grows with the lengths of the two bonds; what must it be divided by?",
    ),
    *(
        Mistake(half, "Only one of the two vectors is of length one; the other one's length is still in the product.")
        for half in (
            lambda a, b, c: _cosine(a, b, c) * np.linalg.norm(a - b),
            lambda a, b, c: _cosine(a, b, c) * np.linalg.norm(c - b),
        )
    ),
    Mistake(
        lambda a, b, c: _cosine(b, a, c),
        "That is the angle at a. The angle at b lies between the bonds from b to a and from b to c.",
    ),
    Mistake(
        lambda a, b, c: _cosine(b, c, a),
        "That is the angle at c. The angle at b lies between the bonds from b to a and from b to c.",
    ),
    Mistake(
        lambda a, b, c: a @ c / (np.linalg.norm(a) * np.linalg.norm(c)),
        "You took the positions as they are, so the result changes when the whole molecule is moved. Begin with the "
        "vectors from b to a and from b to c.",
    ),
    Mistake(
        lambda a, b, c: np.sqrt(1 - _cosine(a, b, c) ** 2),
        "That is the sine: the same for 75.5° and 104.5°. Which function of the angle tells the two apart?",
    ),
    Mistake(
        lambda a, b, c: abs(_cosine(a, b, c)),
        "You dropped the sign. It tells an acute angle from an obtuse one.",
    ),
    Mistake(
        lambda a, b, c: np.cos(np.degrees(np.arccos(_cosine(a, b, c)))),
        "NumPy's `cos` wants radians, and yours got degrees. Better still, take the cosine from the vectors; no angle "
        "is needed in between.",
    ),
)

WATER = np.array([[0.958, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.23986, 0.92748, 0.0]])
"""Positions of H, O and H in a water molecule, in angstrom: bonds of 0.958 angstrom at 104.5 degrees."""

_PROBES = (
    tuple(WATER),
    (np.array([1.0, 2.0, 3.0]), np.array([1.5, 0.5, 2.0]), np.array([4.0, 1.0, 0.5])),
    (np.array([0.0, 2.0, 0.0]), np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.5, 1.0])),
    (np.array([3.0, 0.0, 1.0]), np.array([2.0, 1.0, 1.0]), np.array([4.5, 1.0, 0.0])),
)


@checker
def check_angle_cosine(function: object) -> str:
    """Check the cosine of the angle at the middle one of three atoms.

    Parameters
    ----------
    function : callable
        ``function(a, b, c) -> float`` for positions (3,); the angle is the one at b.

    Returns
    -------
    Feedback
    """
    values = [number_from(function, "angle_cosine", *probe) for probe in _PROBES]
    right = [_cosine(*probe) for probe in _PROBES]
    if close(values, right):
        return f"Water's H–O–H has the cosine {right[0]:.2f}. A negative cosine means an obtuse angle."
    recognise_function(values, _PROBES, _COSINES)
    beyond = next((value for value in values if abs(value) > 1 + 1e-9), None)
    if beyond is not None:
        raise Hint(
            f"A cosine lies between −1 and 1, but yours came out as {beyond:.3g}. Are both vectors of length one?"
        )
    (a, b, c), value, wanted = first_wrong(_PROBES, values, right)
    at = f"For a = {a.tolist()}, b = {b.tolist()}, c = {c.tolist()} yours gives {value:.9g}, where the cosine is "
    if close(values, right, atol=0.05):
        raise Hint(f"{at}{wanted:.9g}. Close, but not the same: do you round? Leave all digits as they are.")
    raise Hint(
        f"{at}{wanted:.6f}. Take the vectors from b to a and from b to c, scale both to length one, and multiply them."
    )


# --- pairs of edges -------------------------------------------------------------------------------------------------


def _pairs(joined: Callable[[tuple[int, int], tuple[int, int]], bool]) -> frozenset[tuple[int, int]]:
    """Return the pairs of different edges for which ``joined(first, second)``."""
    numbers = range(len(EDGES))
    return frozenset((e, f) for e in numbers for f in numbers if e != f and joined(EDGES[e], EDGES[f]))


_RIGHT = _pairs(lambda first, second: first[1] == second[0])

_WRONG_PAIRS = (
    (
        frozenset((second, first) for first, second in _RIGHT),
        "Your pairs are right, but the other way round. In (first, second) the *first* edge ends where the second "
        "begins.",
    ),
    (
        _pairs(lambda first, second: first[1] == second[0] and first[0] != second[1]),
        "All of yours are right, but those that go back along the same bond are missing, such as 0 → 1 followed by "
        "1 → 0. The task counts them, as ALIGNN does.",
    ),
    (
        _pairs(lambda first, second: first[1] == second[1]),
        "You joined edges that *end* at the same atom. A pair is a path of two steps: where must the second begin?",
    ),
    (
        _pairs(lambda first, second: first[0] == second[0]),
        "You joined edges that *begin* at the same atom. A pair is a path of two steps: where must the first end?",
    ),
    (
        _pairs(lambda first, second: first == second[::-1]),
        "You joined each edge to its own reverse, only. The path may also go on to the third atom.",
    ),
    (
        _pairs(lambda first, second: bool(set(first) & set(second))),
        "You joined all edges that have an atom in common. The direction counts: the first must end where the second "
        "begins.",
    ),
    (
        frozenset(pair for pair in _RIGHT if pair[0] < pair[1]),
        "You have each pair once, with the smaller number first. But (2, 0) and (0, 2) are two different paths: write "
        "down both, where both exist.",
    ),
)


@checker
def check_pairs(answer: object) -> str:
    """Check the line graph of selenium, written down by hand.

    Parameters
    ----------
    answer : list of (int, int)
        For each path of two steps, the numbers of its first and its second edge.

    Returns
    -------
    Feedback
    """
    if isinstance(answer, set | frozenset):
        answer = list(answer)
    if isinstance(answer, list | tuple) and not answer:
        raise Hint("`pairs` is empty. Start with edge 0: at which atom does it end, and which edges begin there?")
    array = as_array(answer, "pairs", None)
    if array.ndim == 2 and len(array) == 2 != array.shape[1]:
        raise Hint("`pairs` holds all first edges, then all second ones. Transpose it: one row, two numbers, a pair.")
    array = as_array(answer, "pairs", (None, 2))
    if (array != array.round()).any() or array.min() < 0 or array.max() >= len(EDGES):
        raise Hint(f"The pairs are of edge numbers, whole numbers from 0 to {len(EDGES) - 1}, as in the table.")
    listed = [tuple(map(int, pair)) for pair in array]
    pairs = frozenset(listed)
    if len(pairs) < len(listed):
        twice = next(pair for pair in listed if listed.count(pair) > 1)
        raise Hint(f"The pair {twice} stands there twice. Each path counts once.")
    itself = [pair for pair in listed if pair[0] == pair[1]]
    if itself:
        raise Hint(
            f"The pair {itself[0]} joins an edge to itself, but no edge here ends where it begins. Leave it out."
        )
    if pairs == _RIGHT:
        return (
            f"{len(EDGES)} nodes and {len(_RIGHT)} edges: in the line graph, each edge of the crystal goes on to two "
            "others, one of them its own way back."
        )
    for wrong, hint in _WRONG_PAIRS:
        if pairs == wrong:
            raise Hint(hint)
    extra = sorted(pairs - _RIGHT)
    if extra:
        (first, second), ((_, end), (begin, _)) = extra[0], (EDGES[edge] for edge in extra[0])
        raise Hint(
            f"The pair ({first}, {second}) is no path: edge {first} ends at atom {end}, edge {second} begins at atom "
            f"{begin}."
        )
    edge = min(first for first, _ in _RIGHT - pairs)
    raise Hint(
        f"So far all are right: {len(pairs)} of {len(_RIGHT)}. Look at edge {edge}, which ends at atom "
        f"{EDGES[edge][1]}: which edges begin there?"
    )


# --- cosines from edge vectors ----------------------------------------------------------------------------------------


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _pair_cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    units = _units(vectors)
    return -(units[pairs[:, 0]] * units[pairs[:, 1]]).sum(axis=1)


def _dots(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)


def _lengths(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1)[pairs]


_PAIR_COSINES = (
    Mistake(
        lambda v, p: -_pair_cosines(v, p),
        "The sign is turned. At the middle atom b, the first edge's vector points from b to a, away from b. The second "
        "edge ends at c: where does *its* vector start?",
    ),
    Mistake(
        lambda v, p: -_dots(v, p),
        "The sign is right, but the vectors are not of length one, so the bond lengths are still in it.",
    ),
    Mistake(
        _dots,
        "That is the dot product of the two vectors as they are. Two things are missing: bring them to length one, and "
        "mind from which atom each of them starts.",
    ),
    Mistake(
        lambda v, p: np.degrees(np.arccos(np.clip(_pair_cosines(v, p), -1, 1))),
        "Those are the angles, in degrees. Their cosines are asked for.",
    ),
    Mistake(
        lambda v, p: np.arccos(np.clip(_pair_cosines(v, p), -1, 1)),
        "Those are the angles, in radians. Their cosines are asked for.",
    ),
    Mistake(
        lambda v, p: np.abs(_pair_cosines(v, p)),
        "You dropped the sign, which tells an acute angle from an obtuse one.",
    ),
    Mistake(
        lambda v, p: -_units(v)[p[:, 0]] @ _units(v)[p[:, 1]].T,
        "You got a table of every first edge with every second edge. Each pair needs one number: multiply row by row "
        "and sum over x, y and z.",
    ),
    Mistake(
        lambda v, p: -_units(v)[p[:, 0]] * _units(v)[p[:, 1]],
        "You have the three products of the components; the dot product is their sum.",
    ),
    *(
        Mistake(
            along_columns,
            "You divided by three lengths, one for all x, one for all y, one for all z. A vector is a *row*: over "
            "which axis does its length run?",
        )
        for along_columns in (
            lambda v, p: -_dots(v / np.linalg.norm(v, axis=0), p),
            lambda v, p: _dots(v / np.linalg.norm(v, axis=0), p),
        )
    ),
    *(
        Mistake(
            without_brackets,
            "You divide by the first length and multiply by the second. In Python `a / b * c` is `(a / b) * c`: where "
            "are brackets needed?",
        )
        for without_brackets in (
            lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 0] * _lengths(v, p)[:, 1],
            lambda v, p: _dots(v, p) / _lengths(v, p)[:, 0] * _lengths(v, p)[:, 1],
        )
    ),
    *(
        Mistake(half, "Only one of the two vectors is of length one; the other one's length is still in the product.")
        for half in (
            lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 0],
            lambda v, p: -_dots(v, p) / _lengths(v, p)[:, 1],
        )
    ),
)


@checker
def check_pair_cosines(function: object) -> str:
    """Check the cosines of a line graph, from the library's edge vectors.

    Parameters
    ----------
    function : callable
        ``function(vectors, pairs) -> (T,)`` for vectors (E, 3) from target to source and pairs (T, 2).

    Returns
    -------
    Feedback
    """
    rng = np.random.default_rng(0)
    probes = [
        (rng.normal(size=(6, 3)), np.array(sorted(_RIGHT))),
        (2 * rng.normal(size=(4, 3)), np.array([[0, 2], [3, 1]])),
        (rng.normal(size=(6, 3)), np.array(sorted(_RIGHT))),  # the pairs of the first, with other vectors
    ]
    right = [_pair_cosines(*probe) for probe in probes]
    values = [array_from(function, "pair_cosines", None, *probe) for probe in probes]
    if all(close(value, wanted) for value, wanted in zip(values, right, strict=True)):
        return "One number per pair: −1 for straight on, 1 for back where it came from. The unit drops out."
    recognise_function(values, probes, _PAIR_COSINES)
    if values[0].shape != right[0].shape:
        raise Hint(f"For 12 pairs yours returns the shape {values[0].shape}. Return one number per pair, shape (12,).")
    if close(values[0], values[2]):
        raise Hint(
            "For other vectors yours gives the same numbers. Does it use its argument `vectors`, or something that "
            "has a value outside the function?"
        )
    if any(value.shape != wanted.shape for value, wanted in zip(values, right, strict=True)):
        raise Hint(f"For 2 pairs yours returns the shape {values[1].shape}. Return one number per pair, shape (2,).")
    if all(close(value, wanted, atol=0.05) for value, wanted in zip(values, right, strict=True)):
        raise Hint(
            f"For one pair yours gives {values[0][0]:.9g}, where the cosine is {right[0][0]:.9g}. Close, but not the "
            "same: do you round? Leave all digits as they are."
        )
    dots = [_dots(*probe) for probe in probes]
    if all(close(value, value @ dot / (dot @ dot) * dot) for value, dot in zip(values, dots, strict=True)):
        raise Hint(
            "You divide all dot products by one and the same number. But each vector has a length of its own: over "
            "which axis does `np.linalg.norm` run?"
        )
    largest = max(values[0], key=abs)
    if abs(largest) > 1 + 1e-9:
        raise Hint(
            f"A cosine lies between −1 and 1, but yours came out as {largest:.3f}. Are both vectors of length one when "
            "you multiply them?"
        )
    if all(close(np.sign(value), np.sign(wanted)) for value, wanted in zip(values, right, strict=True)):
        raise Hint(
            f"The signs are right, the sizes are not: for one pair yours gives {values[0][0]:.3f}, where the cosine is "
            f"{right[0][0]:.3f}. By which two lengths do you divide?"
        )
    raise Hint(
        f"For one pair yours gives {values[0][0]:.3f} where the cosine is {right[0][0]:.3f}. Write down, for (a → b) "
        "and (b → c), from where to where each of the two vectors points; the angle is the one at b."
    )


# --- bent and straight ------------------------------------------------------------------------------------------------

_STATEMENTS = {
    "edges": Statement(
        True,
        "pulling the chain straight kept the bonds as long as they were, and each atom has two of them. What else "
        "does an edge know?",
    ),
    "line graph": Statement(
        True,
        "which pairs there are depends on which edges meet, not on how the atoms lie. Did that change?",
    ),
    "distances tell": Statement(
        False,
        "list all that a network sees that reads the elements and the lengths of these edges. Does anything in the "
        "list differ between the two crystals?",
    ),
    "cosines tell": Statement(
        True,
        "what is the cosine of 180°, and which cosine did you find in selenium?",
    ),
    "never": Statement(
        False,
        "in a bent chain, how far is an atom from its second neighbour along the chain? And in a straight one? Who has "
        "edges that long?",
    ),
}


check_straight_or_bent = judge(
    "statements",
    _STATEMENTS,
    "With few and short edges only the angles tell the two apart; with longer ones the distances do it as well.",
)
"""Check what tells a bent chain from a straight one."""
