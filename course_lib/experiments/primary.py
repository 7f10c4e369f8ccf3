"""The primary comparisons of ``data/results/PROTOCOL.md``, from recorded runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.experiments.analysis import SUMMARY, level_of_each, summarize, with_ensemble, with_late_fusion
from course_lib.experiments.studies import ENERGY, PRIMARY, comparison, repeats

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
        eV/atom: negative where the first is better. (The protocol's table counts the other way round.) Every method
        counts with the mean over its seeds in that fold. The better view is the one with the smaller mean error over
        all folds.

    Raises
    ------
    ValueError
        If a method lacks a fold, or one of its seeds there.
    """
    runs = runs[runs["split"] == "formula"]
    _check_complete(runs)
    runs = with_ensemble(runs, y, "alignn_ensemble")
    runs = with_late_fusion(_for_every_seed(runs, "kernel_ridge", "alignn"), y, "alignn_kernel_ridge")
    errors = runs.pivot_table("mae", "fold", "method")
    errors["the better view"] = errors[errors[list(SINGLE_VIEWS)].mean().idxmin()]
    return pd.DataFrame({(first, second): errors[first] - errors[second] for first, second in COMPARISONS})


def _check_complete(runs: pd.DataFrame) -> None:
    recorded = set(zip(runs["method"], runs["fold"], runs["seed"], strict=True))
    for run in (*comparison(), *repeats()):
        wanted = run.split == "formula" and run.target == ENERGY and run.method in PRIMARY
        if wanted and (run.method, run.fold, run.seed) not in recorded:
            raise ValueError(
                f"no run of {run.method} on fold {run.fold} by formula with seed {run.seed}. Run it: python -m "
                "course_lib.experiments comparison repeats."
            )


def _for_every_seed(runs: pd.DataFrame, deterministic: str, other: str) -> pd.DataFrame:
    """Let the run of a method that has no random part stand for all seeds that another method has in the same fold."""
    partner = runs[runs["method"] == deterministic].drop_duplicates("fold").drop(columns="seed")
    seeds = runs.loc[runs["method"] == other, ["fold", "seed"]]
    return pd.concat([runs[runs["method"] != deterministic], partner.merge(seeds, on="fold")], ignore_index=True)


def summarize_comparisons(differences: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Return mean, interval and detectable difference of several comparisons, corrected for their number.

    Parameters
    ----------
    differences : DataFrame
        One column per comparison, one row per fold: the error of the first method minus that of the second.
    ratio : float
        Size of a test set over that of a training set, as for `course_lib.experiments.analysis.corrected_interval`.

    Returns
    -------
    DataFrame
        One row per comparison: ``mean``, ``low``, ``high`` and ``detectable``
        (`course_lib.experiments.analysis.summarize`); and ``verdict``, which is ``"shown better"`` or
        ``"shown worse"`` where the interval excludes zero, else ``"not shown"``.
    """
    level = level_of_each(differences.shape[1])
    rows = [summarize(values, level, ratio) for values in differences.to_numpy().T]
    table = pd.DataFrame(rows, index=differences.columns, columns=list(SUMMARY))
    table["verdict"] = np.select([table["high"] < 0, table["low"] > 0], ["shown better", "shown worse"], "not shown")
    return table
