"""Which of the bundled crystals a pretrained network may have seen: those with a match in the Materials Project.

A crystal *has a match* if that database holds one with the same formula and space group whose structure pymatgen's
``StructureMatcher`` fits (``data/results/PROTOCOL.md``). The matches are stored in ``data``; ``data/matches.py`` finds
them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from course_lib.datasets import DATA
from course_lib.pretrained import read_made_of, write_made_of

MATCHES = DATA / "mp_matches.csv"
"""Where the matches of the bundled crystals are."""


def store_matches(found: pd.Series, crystals: pd.DataFrame, searched: str, path: Path = MATCHES) -> None:
    """Write which of the bundled crystals have a match, with the checksum of these crystals.

    Parameters
    ----------
    found : Series of str
        Id of the match by id of the crystal, for each crystal that has one.
    crystals : DataFrame
        The dataset, with the column ``structure``.
    searched : str
        What was searched, for the first line of the file.
    path : Path, optional
        Where to.
    """
    table = found.to_csv(index_label="id", header=["materials_project_id"])
    write_made_of(path, f"matches among {searched}", crystals, table)


def stored_matches(crystals: pd.DataFrame, path: Path = MATCHES) -> pd.Series:
    """Read which of the bundled crystals have a match in the Materials Project.

    Parameters
    ----------
    crystals : DataFrame
        The bundled dataset.
    path : Path, optional
        Where from.

    Returns
    -------
    Series of str
        Id of the match by id of the crystal, for each crystal that has one.

    Raises
    ------
    ValueError
        If the file has changed, or the matches are not those of these crystals.
    """
    return read_made_of(path, crystals, "python -m data.matches PATH", str)["materials_project_id"]
