"""Tables of features of crystals, put together from parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from course_lib.graphs import CrystalGraphs
from course_lib.local_environments import local_environments
from course_lib.pretrained import ENERGY, element_fractions


def _composition(graphs: CrystalGraphs, pretrained: pd.DataFrame | None) -> np.ndarray:
    if not graphs.features.shape[1]:
        raise ValueError("the graphs have no composition features. Build them with composition=magpie.")
    return graphs.features


def check_all_there(graphs: CrystalGraphs, pretrained: pd.DataFrame) -> None:
    """Raise ``ValueError`` unless there are pretrained features of every crystal, by its id."""
    lacking = [str(name) for name in graphs.names if name not in pretrained.index]
    if lacking:
        raise ValueError(
            f"the pretrained features lack crystal {lacking[0]!r}, the first of {len(lacking)}. Make them with the ids "
            "of the graphs."
        )


def _of_pretrained(columns: Callable[[str], bool]) -> Callable[[CrystalGraphs, pd.DataFrame | None], np.ndarray]:
    def select(graphs: CrystalGraphs, pretrained: pd.DataFrame | None) -> np.ndarray:
        if pretrained is None:
            raise ValueError("pretrained features are missing. Give those of course_lib.pretrained.")
        check_all_there(graphs, pretrained)
        return pretrained.loc[list(graphs.names), [name for name in pretrained if columns(name)]].to_numpy()

    return select


PARTS: dict[str, Callable[[CrystalGraphs, pd.DataFrame | None], np.ndarray]] = {
    "composition": _composition,
    "environments": lambda graphs, pretrained: local_environments(graphs).to_numpy(),
    "fractions": lambda graphs, pretrained: element_fractions(graphs),
    "energy": _of_pretrained(lambda name: name == ENERGY),
    "embedding": _of_pretrained(lambda name: name != ENERGY),
}
"""What a table of features may hold, by name: 145 composition features (Magpie), 158 of the local environments, 119
fractions of elements, the pretrained energy, 64 numbers of the pretrained embedding."""


def features_of(graphs: CrystalGraphs, parts: Sequence[str], pretrained: pd.DataFrame | None = None) -> np.ndarray:
    """Return features of crystals as a table.

    Parameters
    ----------
    graphs : CrystalGraphs
        B crystals; with composition features where these are wanted.
    parts : sequence of str
        Keys of `PARTS`.
    pretrained : DataFrame, optional
        As from `course_lib.pretrained.pretrained_features`, by crystal id; needed for the energy and the embedding.

    Returns
    -------
    numpy.ndarray of float, shape (B, n_features)
        The parts concatenated, in their order.

    Raises
    ------
    ValueError
        If a part is unknown, or its source is missing or lacks a crystal.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"unknown features {', '.join(unknown)!r}; choose from {', '.join(PARTS)}.")
    if not parts:
        raise ValueError(f"no features are asked for; choose from {', '.join(PARTS)}.")
    return np.hstack([PARTS[part](graphs, pretrained) for part in parts])
