"""The explorer of learning curves: which method is ahead, and how surely, from few training crystals to many."""

from __future__ import annotations

import pandas as pd

from course_lib.experiments.analysis import level_of_each, summarize_differences, training_set_size
from course_lib.methods import LABELS
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.figures.explorers import plot_difference_axes, plot_errors_along_size
from course_lib.teaching.figures.style import FAINT, INK, colors_of


def training_size_explorer(runs: pd.DataFrame, reference: str, unit: str = "eV/atom") -> Explorer:
    """Let the reader set the number of training crystals, and see the errors and the differences from one method.

    Parameters
    ----------
    runs : DataFrame
        Runs on one target with different numbers of training crystals, as from `load_results`: ``method``, ``split``,
        ``fold``, ``seed``, ``n_learned`` and ``mae``, and ``alpha`` where a method blends two others. Nearly equal
        numbers are one (`training_set_size`).
    reference : str
        The method with which the others are compared.
    unit : str, default "eV/atom"
        Unit of ``mae``.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If `reference` or a run of a method is missing, or there are no runs of a split with one of the sizes.
    """
    runs = runs.assign(size=training_set_size(runs).round().astype(int))
    splits, sizes = list(runs["split"].unique()), sorted(runs["size"].unique())
    level = level_of_each(len(splits) * len(sizes) * max(runs["method"].nunique() - 1, 1))
    summaries = {}
    for split in splits:
        for size in sizes:
            of_size = runs[(runs["split"] == split) & (runs["size"] == size)]
            if of_size.empty:
                raise ValueError(f"there are no {split} runs with {size} training crystals. Choose runs of one study.")
            summaries[split, size] = summarize_differences(of_size, reference, level).xs(split)
    # From one end of all intervals to the other, so that the axis stays as it is from size to size.
    ends = pd.concat(summaries)[["low", "high"]].stack()
    limits = (min(ends.min(), 0.0), max(ends.max(), 0.0))
    frames = {}
    for row, split in enumerate(splits):
        curves = _Curves(runs[runs["split"] == split], reference, limits, unit)
        for column, size in enumerate(sizes):
            frames[row, column] = curves.frame(split, size, summaries[split, size])
    written = tuple(map(str, sizes))
    choices = [Choice("folds", tuple(splits)), Choice("training crystals", written, len(sizes) - 1, slider=True)]
    return Explorer(choices, frames)


class _Curves:
    """The learning curves on one kind of test, and the axes of the differences: two pictures, and marks upon them."""

    def __init__(self, runs: pd.DataFrame, reference: str, limits: tuple[float, float], unit: str):
        self.runs, self.reference, self.unit = runs, reference, unit
        self.colors = colors_of(runs["method"].unique())
        others = [name for name in self.colors if name != reference]
        self.rows = {name: row for row, name in enumerate(others)}
        self.along = plot_errors_along_size(runs, unit)
        self.differences = plot_difference_axes(others, reference, limits, unit)
        self.along_picture = picture(self.along, "Error of each method against the number of training crystals.")
        names = ", ".join(LABELS.get(name, name) for name in others)
        label = LABELS.get(reference, reference)
        self.differences_picture = picture(
            self.differences, f"A row for each of {names}: error minus that of {label}, with a line at zero."
        )

    def frame(self, split: str, size: int, summary: pd.DataFrame) -> Frame:
        """Return the frame of one number of training crystals."""
        summary = summary.loc[list(self.rows)]
        of_size = self.runs[self.runs["size"] == size]
        errors = of_size.groupby("method", sort=False)["mae"].agg(["mean", "std"]).fillna(0.0)
        said = {
            LABELS.get(name, name): f"{mean:.3f} ± {spread:.3f} {self.unit}"
            for name, mean, spread in errors.itertuples()
        }
        best = errors["mean"].idxmin()
        settings = {"folds": split, "training crystals": f"{size}", "smallest error": LABELS.get(best, best)}
        shown = {
            f"{LABELS.get(name, name)} − {LABELS.get(self.reference, self.reference)}": _written(row)
            for name, row in summary.iterrows()
        }
        lines = [settings, said, shown]
        if "alpha" in of_size and of_size["alpha"].notna().any():
            lines.append({"α, mean over the folds": f"{of_size['alpha'].mean():.2f}"})
        lines.append({"±": "standard deviation of the runs", "[ ]": "interval over the folds"})
        pictures = (self.along_picture, self._at(size, errors)), (self.differences_picture, self._intervals(summary))
        return Frame(pictures, tuple(lines))

    def _at(self, size: int, errors: pd.DataFrame) -> str:
        (axes,) = self.along.axes
        layer = Layer(self.along).line(axes, (size, size), axes.get_ylim(), FAINT)
        for name, mean, _ in errors.itertuples():
            layer.disc(axes, size, mean, self.colors[name])
        return layer.html(f"Marked: {size} training crystals.")

    def _intervals(self, summary: pd.DataFrame) -> str:
        (axes,) = self.differences.axes
        layer = Layer(self.differences)
        for name, row in summary.iterrows():
            place = self.rows[name]
            layer.line(axes, (row["low"], row["high"]), (place, place), INK, 2.0)
            layer.disc(axes, row["mean"], place, self.colors[name])
        return layer.html("; ".join(f"{LABELS.get(name, name)}: {_written(row)}" for name, row in summary.iterrows()))


def _written(difference: pd.Series) -> str:
    mean, low, high = (f"{difference[name]:+.3f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
