"""Several properties from one network: its parts, how it learns, and what the tasks do to each other."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator

from course_lib.experiments.analysis import negative_transfer
from course_lib.methods import LABELS
from course_lib.teaching.figures.results import mean_and_interval
from course_lib.teaching.figures.schematics import STRUCTURE, draw_arrow, draw_box, inch_canvas
from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MUTED,
    PANEL,
    SMALL,
    WIDTH,
    check_known,
    colors_of,
    figure_function,
    folds_title,
    paler,
    pick,
    text_color,
    with_unit,
)

_TASKS = (COLORS[1], COLORS[4])


@figure_function
def plot_multi_task() -> Figure:
    """Draw a network with two tasks: the shared trunk, a head for each task, and how their errors become one loss."""
    figure, axes = inch_canvas(height=2.5)
    middle, rows = 1.15, (1.75, 0.55)
    shape = "round,pad=0,rounding_size=0.1"
    for left, width, label in ((1.32, 2.71, "shared: learns from both"), (4.17, 1.26, "one for each task")):
        axes.add_patch(FancyBboxPatch((left, 0.1), width, 2.05, boxstyle=shape, facecolor=PANEL, edgecolor="none"))
        axes.text(left + width / 2, 2.22, label, ha="center", va="bottom", fontsize=SMALL, color=MUTED)
    for x, name in ((0.65, "crystal\ngraph"), (2.0, "trunk:\nGAT, MEGNet"), (3.35, "embedding")):
        draw_box(axes, x, middle, name, paler(STRUCTURE, 0.75))
    draw_arrow(axes, (1.2, middle), (1.45, middle))
    draw_arrow(axes, (2.55, middle), (2.8, middle))
    for rank, (y, name) in enumerate(zip(rows, ("energy", "band gap"), strict=True)):
        towards = 0.12 if y > middle else -0.12
        draw_arrow(axes, (3.9, middle + towards), (4.25, y))
        draw_box(axes, 4.8, y, f"head of the\n{name}", paler(_TASKS[rank], 0.7))
        draw_arrow(axes, (5.35, y), (5.6, y))
        axes.text(5.8, y, f"L{'₁₂'[rank]}", ha="center", va="center", fontweight="bold")
        draw_arrow(axes, (6.0, y), (6.5, middle + towards))
        axes.text(6.42, y + towards / 3, f"× λ{'₁₂'[rank]}", ha="center", va="center", fontsize=SMALL)
    axes.add_patch(Circle((6.7, middle), 0.2, facecolor="white", edgecolor=INK, linewidth=1.2))
    axes.text(6.7, middle, "+", ha="center", va="center", fontweight="bold", fontsize=13)
    draw_arrow(axes, (6.9, middle), (7.15, middle))
    axes.text(7.28, middle, "L", ha="center", va="center", fontweight="bold")
    return figure


_ATOMS = {"i": (1.15, 0.95), "j": (0.4, 1.55), "k": (0.55, 0.45)}  # inches, in a panel
_BONDS = {"j": 0.2, "k": -0.2}  # each with i; how far above its middle the label stands
_STATE = (1.95, 1.55)
_SUBSCRIPTS = {"i": "ᵢ", "j": "ⱼ", "k": "ₖ"}
_STEPS = (
    ("1. bonds", "e′ᵢⱼ = φₑ(vᵢ, vⱼ, eᵢⱼ, u)", {"bond j"}, {"atom i", "atom j", "state"}),
    ("2. atoms", "v′ᵢ = φᵥ(mean of e′, vᵢ, u)", {"atom i"}, {"bond j", "bond k", "state"}),
    ("3. state", "u′ = φᵤ(mean of e′, mean of v′, u)", {"state"}, {f"{kind}" for kind in (
        "bond j", "bond k", "atom i", "atom j", "atom k")}),
)  # fmt: skip


@figure_function
def plot_megnet_updates() -> Figure:
    """Draw the three updates of a MEGNet layer: which of bonds, atoms and state is new in each, and what it reads."""
    figure, axes = inch_canvas(height=2.85)
    width = WIDTH / len(_STEPS)
    for step, (title, formula, new, read) in enumerate(_STEPS):
        left = step * width
        _draw_small_graph(axes, left, step, new, read)
        axes.text(left + 0.15, 2.2, title, va="center", fontweight="bold")
        axes.text(left + width / 2, 0.05, formula, ha="center", va="bottom", fontsize=SMALL)
    for x, face, label in (
        (2.3, COLORS[0], "new"),
        (3.2, paler(COLORS[0], 0.65), "read"),
        (4.1, "white", "not used"),
    ):
        axes.add_patch(Rectangle((x, 2.6), 0.18, 0.14, facecolor=face, edgecolor=INK, linewidth=0.9))
        axes.text(x + 0.25, 2.67, label, va="center", fontsize=SMALL)
    return figure


def _draw_small_graph(axes: Axes, left: float, step: int, new: set[str], read: set[str]) -> None:
    """Draw three atoms, two bonds and the state, each as `new`, `read` or neither; a prime where it is updated."""

    def face(part: str) -> tuple | str:
        return COLORS[0] if part in new else paler(COLORS[0], 0.65) if part in read else "white"

    def prime(part: str) -> str:
        updated_before = ("bond", "atom", "state")[:step]
        return "′" if part in new or (part in read and part.startswith(updated_before)) else ""

    def at(point: tuple[float, float]) -> np.ndarray:
        return np.array([left + point[0], point[1]])

    center = at(_ATOMS["i"])
    for other, above in _BONDS.items():
        ends = np.array([center, at(_ATOMS[other])])
        axes.plot(*ends.T, color=INK, linewidth=9, zorder=1, solid_capstyle="butt")
        axes.plot(*ends.T, color=face(f"bond {other}"), linewidth=7, zorder=1.1, solid_capstyle="butt")
        x, y = ends.mean(0)
        name = f"e{prime(f'bond {other}')}ᵢ{_SUBSCRIPTS[other]}"
        axes.text(x + 0.1, y + above, name, ha="center", va="center", fontsize=SMALL)
    for name, point in _ATOMS.items():
        color = face(f"atom {name}")
        axes.add_patch(Circle(at(point), 0.2, facecolor=color, edgecolor=INK, linewidth=1.2, zorder=2))
        axes.text(
            *at(point),
            f"v{prime(f'atom {name}')}{_SUBSCRIPTS[name]}",
            ha="center",
            va="center",
            fontsize=SMALL,
            color=text_color(color),
            zorder=3,
        )
    color = face("state")
    axes.add_patch(Rectangle(at(_STATE) - 0.2, 0.4, 0.4, facecolor=color, edgecolor=INK, linewidth=1.2, zorder=2))
    axes.text(
        *at(_STATE), f"u{prime('state')}", ha="center", va="center", fontsize=SMALL, color=text_color(color), zorder=3
    )


@figure_function
def plot_task_pairs(pairs: dict[str, pd.DataFrame], labels: Mapping[str, str]) -> Figure:
    """Draw one property against another, one dot per crystal, one panel per table, with their correlation.

    Parameters
    ----------
    pairs : dict of str to DataFrame
        Tables with both columns; rows without one of the two values are left out.
    labels : mapping of str to str
        The two columns, and the labels of their axes with the units.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a column is missing.
    """
    first, second = labels
    figure, panels = plt.subplots(1, len(pairs), figsize=(WIDTH, 3.4), sharex=True, sharey=True, squeeze=False)
    for rank, (axes, (title, table)) in enumerate(zip(panels[0], pairs.items(), strict=True)):
        check_known(labels, table.columns, f"column in {title!r}:")
        known = table[[first, second]].dropna()
        axes.plot(known[first], known[second], linestyle="", marker="o", markersize=3.5, alpha=0.4, markeredgewidth=0,
                  color=pick(COLORS, rank))  # fmt: skip
        correlation = f"{known.corr().iloc[0, 1]:.2f}".replace("-", "−")
        axes.text(0.97, 0.97, f"correlation {correlation}\n{len(known)} crystals", transform=axes.transAxes, ha="right",
                  va="top", fontsize=SMALL)  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel(labels[first])
    panels[0, 0].set_ylabel(labels[second])
    bottom, top = panels[0, 0].get_ylim()
    panels[0, 0].set_ylim(top=top + 0.2 * (top - bottom))  # room for the correlation above all dots
    return figure


@figure_function
def plot_negative_transfer(runs: pd.DataFrame, labels: Mapping[str, tuple[str, str]]) -> Figure:
    """Draw the errors of multi-task networks minus those of their twins: one panel per task, one dot per training run.

    A dot has the colour of the multi-task network. The diamond is the mean over folds, the bar its interval
    (`course_lib.experiments.analysis.negative_transfer`).

    Parameters
    ----------
    runs : DataFrame
        As from `course_lib.experiments.load_results`.
    labels : mapping of str to (str, str)
        The tasks: target, and its name and unit.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no runs on a target, or a network lacks a run that its twin has.
    """
    check_known(labels, runs["target"].unique(), "runs on the target")
    table = negative_transfer(runs)
    rows = [(trunk, split) for trunk in table.index.unique("trunk") for split in runs["split"].unique()]
    colors = colors_of(f"multitask_{trunk}" for trunk, _ in rows)
    height = 1.5 + 0.5 * len(rows)
    figure, panels = plt.subplots(1, len(labels), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for axes, (target, (name, unit)) in zip(panels[0], labels.items(), strict=True):
        of_target = runs[runs["target"] == target]
        reach = 0.0
        for row, (trunk, split) in enumerate(rows):
            differences = _by_training(of_target, trunk, split)
            mean, low, high = table.loc[(trunk, target, split), ["mean", "low", "high"]]
            axes.plot(differences, np.full(len(differences), row - 0.13), linestyle="", marker="o", markersize=5,
                      alpha=0.7, color=colors[f"multitask_{trunk}"], markeredgewidth=0)  # fmt: skip
            axes.errorbar(mean, row + 0.17, xerr=[[mean - low], [high - mean]], fmt="D", color=INK, markersize=5,
                          capsize=3, linewidth=1.4)  # fmt: skip
            axes.text(1.02, row, f"{(differences > 0).sum()} of {len(differences)}\nworse", va="center", fontsize=SMALL,
                      transform=axes.get_yaxis_transform(), linespacing=1.0)  # fmt: skip
            reach = max(reach, differences.abs().max(), abs(low), abs(high))
        axes.axvline(0, color=INK, linewidth=1.2)
        axes.set(xlim=(-1.08 * reach, 1.08 * reach), ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        axes.grid(axis="x")
        axes.set_title(with_unit(name, unit))
        axes.set_xlabel("← sharing helps   sharing harms →")
    panels[0, 0].set_yticks(range(len(rows)), [f"{LABELS[trunk]}, {folds_title(split)}" for trunk, split in rows])
    figure.supxlabel(
        "error of the multi-task network minus that of its single-task twin\n"
        f"dots: training runs; diamond and bar: {mean_and_interval(len(table))}",
        fontsize=10,
    )
    return figure


def _by_training(runs: pd.DataFrame, trunk: str, split: str) -> pd.Series:
    """Return the error of the multi-task network minus that of its twin, for each fold and seed."""
    errors = runs[runs["split"] == split].pivot(index=["fold", "seed"], columns="method", values="mae")
    return (errors[f"multitask_{trunk}"] - errors[trunk]).dropna()
