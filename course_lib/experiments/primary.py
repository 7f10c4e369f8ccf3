"""The primary comparisons of ``data/results/PROTOCOL.md``, from recorded runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.experiments.analysis import (
    corrected_interval,
    detectable_difference,
    level_of_each,
    with_ensemble,
    with_late_fusion,
)
from course_lib.experiments.protocol import N_FOLDS, N_REPEATS

SINGLE_VIEWS = ("kernel_ridge_composition", "kernel_ridge_structure")

COMPARISONS = (
    ("early_fusion", "cgcnn"),
    ("cgcnn_chemistry", "cgcnn"),
    ("alignn_chemistry", "alignn"),
    ("alignn_kernel_ridge", "alignn_ensemble"),
    ("kernel_ridge", "the better view"),
    ("delta_learning", "pretrained_references"),
)
"""First and second of each comparison, in the order of the protocol; ``"the better view"`` is one of `SINGLE_VIEWS`."""


def primary_differences(runs: pd.DataFrame, y: pd.Series) -> pd.DataFrame:
    """Return the errors of the first minus those of the second of each comparison, fold by fold.

    Parameters
    ----------
    runs : DataFrame
        Runs of the studies ``comparison`` and ``repeats`` together, on the formation energy, as from `load_results`;
        those on random folds are not used.
    y : Series
        The true values by crystal id, in eV/atom.

    Returns
    -------
    DataFrame
        One row for each of the 25 folds by formula; one column for each of `COMPARISONS`, labelled (first, second), in
        eV/atom. Every method counts with the mean over its seeds in that fold. The better view is the one with the
        smaller mean error over all folds.

    Raises
    ------
    ValueError
        If a method lacks a fold.
    """
    runs = runs[runs["split"] == "formula"]
    runs = with_ensemble(runs, y, "alignn")
    runs = with_late_fusion(_for_every_seed(runs, "kernel_ridge", "alignn"), y, "alignn_kernel_ridge")
    errors = runs.pivot_table("mae", "fold", "method")
    needed = {name for pair in COMPARISONS for name in pair} - {"the better view"} | set(SINGLE_VIEWS)
    errors = errors.reindex(index=range(N_REPEATS * N_FOLDS), columns=sorted(needed))
    if errors.isna().any(axis=None):
        fold, name = errors.isna().stack().loc[lambda lacks: lacks].index[0]
        raise ValueError(
            f"no run of {name} on fold {fold} by formula. Run it: python -m course_lib.experiments comparison repeats."
        )
    errors["the better view"] = errors[errors[list(SINGLE_VIEWS)].mean().idxmin()]
    return pd.DataFrame({(first, second): errors[first] - errors[second] for first, second in COMPARISONS})


def _for_every_seed(runs: pd.DataFrame, deterministic: str, other: str) -> pd.DataFrame:
    """Let the run of a method that has no random part stand for all seeds that another method has in the same fold."""
    partner = runs[runs["method"] == deterministic].drop_duplicates("fold").drop(columns="seed")
    seeds = runs.loc[runs["method"] == other, ["fold", "seed"]]
    return pd.concat([runs[runs["method"] != deterministic], partner.merge(seeds, on="fold")], ignore_index=True)


def summarize_comparisons(differences: pd.DataFrame, ratio: float | None = None) -> pd.DataFrame:
    """Return mean, interval and detectable difference of several comparisons, corrected for their number.

    Parameters
    ----------
    differences : DataFrame
        One column per comparison, one row per fold: the error of the first method minus that of the second.
    ratio : float, optional
        As for `course_lib.experiments.analysis.corrected_interval`.

    Returns
    -------
    DataFrame
        One row per comparison: ``mean``, ``low``, ``high``; ``detectable``
        (`course_lib.experiments.analysis.detectable_difference`); and ``verdict``, which is ``"shown better"`` or
        ``"shown worse"`` where the interval excludes zero, else ``"not shown"``.
    """
    level = level_of_each(differences.shape[1])
    rows = [
        (values.mean(), *corrected_interval(values, level, ratio), detectable_difference(values, level, ratio))
        for values in differences.to_numpy().T
    ]
    table = pd.DataFrame(rows, index=differences.columns, columns=["mean", "low", "high", "detectable"])
    table["verdict"] = np.select([table["high"] < 0, table["low"] > 0], ["shown better", "shown worse"], "not shown")
    return table
