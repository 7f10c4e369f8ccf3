"""Compare recorded runs honestly: pairs on the same crystals, intervals over folds, fronts and blends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np
import pandas as pd
from scipy import stats

from course_lib.experiments.protocol import N_FOLDS, SPLITS, members
from course_lib.experiments.studies import trials
from course_lib.late_fusion import stacked
from course_lib.methods import METHODS, twins


def paired_differences(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare every method with `reference` on the same test sets, each method by the mean over its seeds.

    Whatever makes a test set hard for all methods cancels in the difference.

    Parameters
    ----------
    runs : DataFrame
        Columns ``method``, ``split``, ``fold``, ``seed`` and ``mae``, as from `load_results`.
    reference : str
        One of the methods.

    Returns
    -------
    DataFrame
        Columns ``split``, ``method``, ``fold`` and ``difference``: error of the method minus error of the
        reference, positive where the reference is better.

    Raises
    ------
    ValueError
        If `reference` is not among the methods, a method has no run on a fold that another has, or two of one seed.
    """
    if "target" in runs:
        _check_one_target(runs)
    twice = runs.duplicated(["method", "split", "fold", "seed"])
    if twice.any():
        method, split, fold, seed = runs.loc[twice, ["method", "split", "fold", "seed"]].iloc[0]
        raise ValueError(
            f"there are two runs of {method!r} for split {split!r}, fold {fold}, seed {seed}. Choose those with one "
            "number of training crystals and one way of training."
        )
    errors = runs.pivot_table("mae", ["split", "fold"], "method", sort=False)
    if reference not in errors:
        raise ValueError(f"no runs of {reference!r}; the recorded methods are {', '.join(errors.columns)}.")
    if errors.isna().any(axis=None):
        split, fold = errors.index[errors.isna().any(axis=1)][0]
        raise ValueError(f"not every method has a run for split {split!r}, fold {fold}. Run the missing ones.")
    differences = errors.drop(columns=reference).sub(errors[reference], axis=0)
    return differences.melt(ignore_index=False, value_name="difference").reset_index()


def corrected_interval(differences: np.ndarray, level: float = 0.95, ratio: float | None = None) -> tuple[float, float]:
    """Return the confidence interval of the mean difference over the folds of a cross-validation, repeated or not.

    The folds share training crystals, so their results vary less than those of independent studies would. Nadeau and
    Bengio, Machine Learning 52, 239 (2003), https://doi.org/10.1023/A:1024068626366, widen the variance of the mean
    from :math:`s^2 / k` to :math:`s^2 (1/k + n_{test} / n_{train})`, here with k folds of equal size.

    Parameters
    ----------
    differences : array, shape (k,)
        One difference per fold, k at least 2.
    level : float, default 0.95
        Confidence level.
    ratio : float, optional
        Size of a test set over that of a training set; 1 / (k - 1) where not given, as it is for one cross-validation
        of k folds of equal size.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        If there are fewer than two folds.
    """
    half = stats.t.ppf((1 + level) / 2, len(differences) - 1) * _corrected_error(differences, ratio)
    return float(np.mean(differences) - half), float(np.mean(differences) + half)


def _corrected_error(differences: np.ndarray, ratio: float | None) -> float:
    """Return the standard error of the mean that `corrected_interval` describes."""
    k = len(differences)
    if k < 2:
        raise ValueError(f"{k} fold(s) give no interval; at least 2 are needed.")
    return float(np.std(differences, ddof=1) * np.sqrt(1 / k + (1 / (k - 1) if ratio is None else ratio)))


def detectable_difference(
    differences: np.ndarray, level: float = 0.95, ratio: float | None = None, power: float = 0.8
) -> float:
    r"""Return the true difference whose interval would have excluded zero with a probability of `power`.

    .. math:: \bigl(t_{(1 + \text{level}) / 2} + t_{\text{power}}\bigr)\, s \sqrt{1/k + n_{test} / n_{train}}

    with quantiles t of Student's distribution with k - 1 degrees of freedom (Bloom, Evaluation Review 19, 547 (1995)).
    A smaller difference may well exist even if an interval does not show it.

    Parameters
    ----------
    differences, level, ratio
        As for `corrected_interval`.
    power : float, default 0.8
        The probability with which it would have been detected.

    Returns
    -------
    float
        In the unit of the differences.
    """
    quantiles = stats.t.ppf([(1 + level) / 2, power], len(differences) - 1)
    return float(quantiles.sum() * _corrected_error(differences, ratio))


def level_of_each(n_comparisons: int) -> float:
    """Return the level of each of several intervals that together miss a true value in at most 5 % of all studies.

    This is Bonferroni's correction: 0.05 is divided by the number of comparisons that are asked for.
    """
    return 1 - 0.05 / n_comparisons


def summarize_differences(runs: pd.DataFrame, reference: str, level: float | None = None) -> pd.DataFrame:
    """Return mean and confidence interval of `paired_differences`, one row for each split and method.

    Parameters
    ----------
    runs, reference
        As for `paired_differences`.
    level : float, optional
        Confidence level of each interval; if None, `level_of_each` of the number of rows.

    Returns
    -------
    DataFrame
        Indexed by ``split`` and ``method``; columns ``mean``, ``low`` and ``high`` (see `corrected_interval`).
    """
    compared = [*_by_method(runs, reference)]
    level = level_of_each(len(compared)) if level is None else level
    rows = {key: (values.mean(), *corrected_interval(values, level, ratio)) for key, values, ratio in compared}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["split", "method"])
    return table


def detectable_differences(runs: pd.DataFrame, reference: str, level: float | None = None) -> pd.Series:
    """Return the `detectable_difference` of each row of `summarize_differences`, which takes the same arguments."""
    compared = [*_by_method(runs, reference)]
    level = level_of_each(len(compared)) if level is None else level
    found = {key: detectable_difference(values, level, ratio) for key, values, ratio in compared}
    return pd.Series(found, name="detectable").rename_axis(["split", "method"])


def _by_method(runs: pd.DataFrame, reference: str) -> Iterator[tuple[tuple[str, str], np.ndarray, float | None]]:
    """Yield split and method, the differences of the folds, and the ratio of the sizes of their parts, if known."""
    ratios = runs.groupby("split")["ratio"].mean() if "ratio" in runs else {}
    groups = paired_differences(runs, reference).groupby(["split", "method"], sort=False)["difference"]
    for (split, method), values in groups:
        ratio = ratios.get(split)
        yield (split, method), values.to_numpy(), None if pd.isna(ratio) else ratio


def between_and_within_formula_errors(runs: pd.DataFrame, crystals: pd.DataFrame) -> pd.DataFrame:
    r"""Split the error on polymorphs into the between-formula error and the within-formula error.

    With the mean over the polymorphs of a formula :math:`\bar y` and its prediction :math:`\bar{\hat y}`, the
    between-formula error of a crystal is :math:`|\bar{\hat y} - \bar y|` and its within-formula error is :math:`|(\hat
    y - \bar{\hat y}) - (y - \bar y)|`. The absolute error is at most their sum. A model that sees only the composition
    predicts no differences within a formula.

    Parameters
    ----------
    runs : DataFrame
        As from `load_results`, with folds that keep the polymorphs of a formula together.
    crystals : DataFrame
        The dataset of the runs.

    Returns
    -------
    DataFrame
        Two rows per run, in the form of `load_results`: columns ``method``, ``fold``, ``seed`` and ``ratio``;
        ``split``, which is ``"within a formula"`` or ``"between formulas"``; and ``mae``, the mean of that error over
        the test crystals that have a polymorph, in the target's unit.

    Raises
    ------
    ValueError
        If a run is on folds that split formulas.
    """
    others = runs.loc[runs["split"] != "formula", "split"]
    if len(others):
        raise ValueError(
            f"runs on {others.iloc[0]!r} folds split polymorphs across folds; give only those with split 'formula'."
        )
    rows = []
    for run in runs.itertuples():
        formula = crystals.loc[run.ids, "formula"]
        values = pd.DataFrame({"y": crystals.loc[run.ids, run.target], "prediction": run.predictions})
        values = values[formula.duplicated(keep=False)]
        means = values.groupby(formula).transform("mean")
        for part, of_part in (("within a formula", values - means), ("between formulas", means)):
            error = (of_part["prediction"] - of_part["y"]).abs().mean()
            rows.append((run.method, part, run.fold, run.seed, getattr(run, "ratio", nan), error))
    return pd.DataFrame(rows, columns=["method", "split", "fold", "seed", "ratio", "mae"])


def with_late_fusion(runs: pd.DataFrame, y: pd.Series, method: str = "late_fusion") -> pd.DataFrame:
    """Add a blend of recorded methods, as if it were a method of its own: late fusion of the forest and CGCNN.

    The test predictions of the five folds together are predictions for all crystals by models that did not learn from
    them. The weights of the blend in one fold come from the others (`course_lib.late_fusion.stacked`).

    Parameters
    ----------
    runs : DataFrame
        Runs on one target with its test predictions, as from `load_results`.
    y : Series
        The true values by crystal id.
    method : str, default "late_fusion"
        Which entry of `METHODS` that blends different methods.

    Returns
    -------
    DataFrame
        `runs`, and one row more with this method for every fold of each repeat, seed and size in which all blended
        methods have the same number of folds. Its ``seconds`` are those of all of them together, its ``alpha`` is the
        weight of the first; NaN in all others.

    Raises
    ------
    ValueError
        If the method does not blend different methods, or if nowhere all of them have runs on the same folds.
    """
    _check_one_target(runs)
    names = METHODS[method].blends
    if len(set(names)) < 2:
        raise ValueError(f"{method} is no blend of different methods. For the mean of several seeds: with_ensemble.")
    parents = runs[runs["method"].isin(names) & runs["split"].isin(SPLITS)]
    rows = []
    for _, group in parents.groupby(
        ["split", "seed", parents["fold"] // N_FOLDS, *_size(runs)], sort=False, dropna=False
    ):
        n_folds = group.groupby("method")["fold"].nunique().reindex(names, fill_value=0)
        if n_folds.nunique() > 1:
            continue
        out_of_fold = {name: _by_crystal(group[group["method"] == name]) for name in names}
        fold_of = next(iter(out_of_fold.values()))["fold"]
        predictions = {name: table["prediction"] for name, table in out_of_fold.items()}
        blended, weights = stacked(y.loc[fold_of.index], predictions, fold_of)
        rows += [
            _joint_run(of_fold, method, blended, y) | {"alpha": float(weights.loc[fold, names[0]])}
            for fold, of_fold in group.groupby("fold")
        ]
    if not rows:
        found = ", ".join(runs["method"].unique())
        raise ValueError(
            f"{method} needs runs of {' and '.join(names)} on the same folds of a cross-validation; given are runs of "
            f"{found}."
        )
    return pd.concat([runs, pd.DataFrame(rows)], ignore_index=True)


def with_ensemble(runs: pd.DataFrame, y: pd.Series, method: str, n_seeds: int = 2) -> pd.DataFrame:
    """Add the mean over the first seeds of a method, as the method ``"<method>_ensemble"``: the control of a blend.

    Parameters
    ----------
    runs, y
        As for `with_late_fusion`.
    method : str
        Which method.
    n_seeds : int, default 2
        How many of its seeds are averaged.

    Returns
    -------
    DataFrame
        `runs`, and for every split, fold and size with so many seeds one row more.
    """
    _check_one_target(runs)
    chosen = runs[(runs["method"] == method) & (runs["seed"] < n_seeds)]
    rows = []
    for _, group in chosen.groupby(["split", "fold", *_size(runs)], sort=False, dropna=False):
        if len(group) == n_seeds:
            mean = _by_crystal(group)["prediction"].groupby(level=0).mean()
            rows.append(_joint_run(group, f"{method}_ensemble", mean, y))
    return pd.concat([runs, pd.DataFrame(rows)], ignore_index=True)


def _size(runs: pd.DataFrame) -> list[str]:
    """Return the column that tells different numbers of training crystals apart, if there is one."""
    return ["n_train"] if "n_train" in runs else []


def _joint_run(of_fold: pd.DataFrame, method: str, predictions: pd.Series, y: pd.Series) -> dict:
    """Return the row of a method that is made of others, from their rows on one fold and its predictions."""
    first = of_fold.iloc[0].to_dict()
    ids = first["ids"]
    return (
        first
        | {"method": method, "predictions": predictions.loc[ids].tolist(), "n_parameters": nan, "best_epoch": nan}
        | {"mae": float((predictions.loc[ids] - y.loc[ids]).abs().mean()), "seconds": of_fold["seconds"].sum()}
    )


def _by_crystal(runs: pd.DataFrame) -> pd.DataFrame:
    """Return prediction and fold by crystal id, of runs of one method."""
    parts = [
        pd.DataFrame({"prediction": run.predictions, "fold": run.fold}, index=run.ids) for run in runs.itertuples()
    ]
    return pd.concat(parts)


def _check_one_target(runs: pd.DataFrame) -> None:
    targets = runs["target"].unique()
    if len(targets) > 1:
        raise ValueError(f"there are runs on {', '.join(targets)}; choose those on one: runs[runs['target'] == ...].")


def errors_by_crystal(runs: pd.DataFrame, y: pd.Series, split: str) -> pd.DataFrame:
    """Return the signed error of every method for every crystal, the mean over the seeds.

    Parameters
    ----------
    runs : DataFrame
        Runs on one target with its test predictions.
    y : Series
        The true values by crystal id.
    split : str
        Which kind of folds.

    Returns
    -------
    DataFrame
        Prediction minus truth; one row per crystal, one column per method. ``.corr()`` gives the correlations of the
        errors.
    """
    _check_one_target(runs)
    errors = {
        method: _by_crystal(of_method)["prediction"].groupby(level=0).mean().sub(y).dropna()
        for method, of_method in runs[runs["split"] == split].groupby("method", sort=False)
    }
    return pd.DataFrame(errors)


def left_out_errors(left_out: pd.DataFrame, runs: pd.DataFrame, crystals: pd.DataFrame) -> pd.DataFrame:
    """Return the errors on crystals of an element or prototype by models that did not know it, and by models that did.

    Parameters
    ----------
    left_out : DataFrame
        Runs of the study ``left_out``, as from `load_results`.
    runs : DataFrame
        Runs on one target with its test predictions on folds by formula; only the methods of `left_out` are used.
    crystals : DataFrame
        The dataset of the runs.

    Returns
    -------
    DataFrame
        One row per run that leaves something out: ``split``, ``name`` (of the element or prototype), ``method``, and
        the mean absolute errors ``known``, that of `runs` on the same crystals (each crystal's error is the mean over
        all runs that test it), and ``new``, in the target's unit.

    Raises
    ------
    ValueError
        If a crystal has no test prediction among `runs`.
    """
    _check_one_target(runs)
    y, rows = crystals[runs["target"].iloc[0]], []
    known = {
        method: (_by_crystal(group)["prediction"] - y).abs().groupby(level=0).mean()
        for method, group in runs[runs["split"] == "formula"].groupby("method")
    }
    names = {split: [*members(crystals, split)] for split in left_out["split"].unique()}
    for run in left_out.itertuples():
        name, errors = names[run.split][run.fold], known.get(run.method, pd.Series(dtype=float)).reindex(run.ids)
        if errors.isna().any():
            raise ValueError(
                f"crystal {errors.index[errors.isna()][0]!r} has no test prediction of {run.method} on folds by "
                "formula. Give the runs of all folds of the study 'comparison'."
            )
        rows.append((run.split, name, run.method, errors.mean(), run.mae))
    return pd.DataFrame(rows, columns=["split", "name", "method", "known", "new"])


def best_settings(tuning: pd.DataFrame) -> dict[str, dict]:
    """Return the settings of each tuned method with the smallest error.

    Parameters
    ----------
    tuning : DataFrame
        As from ``load_results(study="tuning")``.

    Returns
    -------
    dict of str to dict
        By method. Of several targets each error is divided by its mean over all runs of the method, so that they count
        equally.

    Raises
    ------
    ValueError
        If one of a method's settings was not tried.
    """
    best = {}
    for name, runs in tuning.groupby("method", sort=False):
        relative = runs["mae"] / runs.groupby("target")["mae"].transform("mean")
        errors = [relative[runs["settings"] == trial].mean() for trial in trials(name)]
        if np.isnan(errors).any():
            raise ValueError(
                f"the tuning of {name} is not complete: {int(np.isnan(errors).sum())} of {len(errors)} settings lack "
                "a run. Run it: python -m course_lib.experiments tuning."
            )
        best[name] = [*trials(name)][int(np.argmin(errors))]
    return best


def pareto_front(table: pd.DataFrame, costs: Sequence[str]) -> pd.Series:
    """Say which rows no other row beats: nowhere worse in any of the `costs`, and better in one.

    Parameters
    ----------
    table : DataFrame
        One row per candidate.
    costs : sequence of str
        Columns in which less is better.

    Returns
    -------
    Series of bool

    Raises
    ------
    ValueError
        If a cost is missing.
    """
    missing = table[list(costs)].isna()
    if missing.any(axis=None):
        row, column = missing.stack().idxmax()
        raise ValueError(f"{row!r} has no {column!r}, so nothing says what beats it. Drop the row or the column.")
    values = table[list(costs)].to_numpy()
    not_worse = (values[:, None] <= values).all(2)  # [a, b]: a is nowhere worse than b
    better = (values[:, None] < values).any(2)
    return pd.Series(~(not_worse & better).any(0), index=table.index, name="on_front")


def training_set_size(runs: pd.DataFrame) -> pd.Series:
    """Return the number of training crystals of each run, one number for all runs with nearly as many.

    Folds by formula are not exactly equal, and neither are their training sets.

    Parameters
    ----------
    runs : DataFrame
        With the column ``n_learned``.

    Returns
    -------
    Series
        With the index of `runs`: the mean size of the group of runs. The next group starts where the sorted sizes grow
        by more than 5 %.
    """
    sizes = runs["n_learned"].to_numpy(float)
    order = np.argsort(sizes)
    group = np.empty(len(sizes), dtype=int)
    group[order] = np.cumsum(np.diff(sizes[order], prepend=sizes.min()) > 0.05 * sizes[order])
    means = np.bincount(group, weights=sizes) / np.bincount(group)
    return pd.Series(means[group], index=runs.index, name="n_learned")


def negative_transfer(runs: pd.DataFrame) -> pd.DataFrame:
    """Compare each multi-task network with its single-task twins, on the same folds and seeds.

    Parameters
    ----------
    runs : DataFrame
        As from `load_results`, on kinds of folds that both networks have: those by formula.

    Returns
    -------
    DataFrame
        Indexed by ``trunk``, ``target`` and ``split``; ``mean``, ``low`` and ``high`` of the error of the multi-task
        network minus that of the twin (`summarize_differences`), in the target's unit: positive is negative transfer.
        ``share_worse`` is the share of the training runs in which the multi-task network was worse. The level of
        the intervals is `level_of_each` of the number of rows.

    Raises
    ------
    ValueError
        If a network lacks a run that its twin has.
    """
    rows = []
    level = level_of_each(len(twins()) * runs["target"].nunique() * runs["split"].nunique())
    for multi, trunk in twins().items():
        for target, group in runs[runs["method"].isin([trunk, multi])].groupby("target", sort=False):
            summary = summarize_differences(group, trunk, level).xs(multi, level="method")
            errors = group.pivot(index=["split", "fold", "seed"], columns="method", values="mae")
            if errors.isna().any(axis=None):
                split, fold, seed = errors.index[errors.isna().any(axis=1)][0]
                raise ValueError(
                    f"{multi} or {trunk} has no run for split {split!r}, fold {fold}, seed {seed}. Run the missing one."
                )
            worse = (errors[multi] > errors[trunk]).groupby(level="split").mean()
            rows.append(summary.assign(share_worse=worse, trunk=trunk, target=target).reset_index())
    return pd.concat(rows).set_index(["trunk", "target", "split"])


def task_correlation(crystals: pd.DataFrame, first: str, second: str, seed: int = 0) -> pd.DataFrame:
    """Return the correlation of two properties of the same crystals, with bootstrap intervals (95 %, 2,000 samples).

    Parameters
    ----------
    crystals : DataFrame
        With both columns; rows without one of them are left out.
    first, second : str
        The two properties.
    seed : int, default 0
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        Rows ``"Pearson"`` (linear) and ``"Spearman"`` (of the ranks); columns ``correlation``, ``low`` and ``high``.
    """
    values = crystals[[first, second]].dropna()
    rows = {}
    for name, table in (("Pearson", values), ("Spearman", values.rank())):
        found = stats.bootstrap(
            table.to_numpy().T, _correlation, n_resamples=2000, paired=True, method="percentile",
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        rows[name] = (_correlation(*table.to_numpy().T), *found.confidence_interval)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["correlation", "low", "high"])


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return np.corrcoef(x, y)[0, 1]
