"""Several properties from one network: its parts, how it learns, and what the tasks do to each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

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
from course_lib.teaching.figures.schematics import (
    STRUCTURE,
    draw_arrow,
    draw_box,
    flow_canvas,
    inch_canvas,
    rectangle_between,
)
from course_lib.teaching.figures.style import (
    COLORS,
    INK,
    MUTED,
    NARROW_WIDTH,
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
    wrapped,
)

_TASKS = (COLORS[1], COLORS[4])


@figure_function
def plot_multi_task(narrow: bool = False) -> Figure:
    """Draw a network with two tasks: the shared trunk, a head for each task, and how their errors become one loss.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; it then runs from top to bottom.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes, at = flow_canvas(2.5, 5.95, narrow)
    # Inches along and across the way from the crystal to the loss.
    if narrow:
        steps, half, (head, loss, total), (middle, *rows) = (0.4, 1.35, 2.2), 0.3, (3.3, 4.05, 5.1), (2.2, 3.3, 1.1)
        notes = ((0.95, 1.65, (1.775, 3.4)), (2.9, 0.8, (3.3, middle)))
    else:
        steps, half, (head, loss, total), (middle, *rows) = (0.65, 2.0, 3.35), 0.55, (4.8, 5.8, 6.7), (1.15, 1.75, 0.55)
        notes = ((1.32, 2.71, (2.675, 2.22)), (4.17, 1.26, (4.8, 2.22)))
    low, high = (0.2, NARROW_WIDTH - 0.2) if narrow else (0.1, 2.15)
    shape = "round,pad=0,rounding_size=0.1"
    for (start, length, place), label in zip(notes, ("shared: learns from both", "one for each task"), strict=True):
        panel = rectangle_between(at(start, low), at(start + length, high))
        axes.add_patch(FancyBboxPatch(*panel, boxstyle=shape, facecolor=PANEL, edgecolor="none"))
        axes.text(*at(*place), wrapped(label, 11) if narrow else label, ha="center",
                  va="center" if narrow else "bottom", fontsize=SMALL, color=MUTED)  # fmt: skip
    for along, name in zip(steps, ("crystal\ngraph", "trunk:\nGAT, MEGNet", "embedding"), strict=True):
        draw_box(axes, *at(along, middle), name, paler(STRUCTURE, 0.75))
    for along, end in pairwise(steps):
        draw_arrow(axes, at(along + half, middle), at(end - half, middle))
    for rank, (lane, name) in enumerate(zip(rows, ("energy", "band gap"), strict=True)):
        towards = (0.24 if narrow else 0.12) * np.sign(lane - middle)
        draw_arrow(axes, at(steps[-1] + half, middle + towards), at(head - half, lane))
        draw_box(axes, *at(head, lane), f"head of the\n{name}", paler(_TASKS[rank], 0.7))
        draw_arrow(axes, at(head + half, lane), at(loss - 0.2, lane))
        axes.text(*at(loss, lane), f"L{'₁₂'[rank]}", ha="center", va="center", fontweight="bold")
        draw_arrow(axes, at(loss + 0.2, lane), at(total - (0.1 if narrow else 0.2), middle + towards))
        beside = at(loss + 0.7, lane) if narrow else at(6.42, lane + towards / 3)
        axes.text(*beside, f"× λ{'₁₂'[rank]}", ha="center", va="center", fontsize=SMALL)
    axes.add_patch(Circle(at(total, middle), 0.2, facecolor="white", edgecolor=INK, linewidth=1.2))
    axes.text(*at(total, middle), "+", ha="center", va="center", fontweight="bold", fontsize=13)
    draw_arrow(axes, at(total + 0.2, middle), at(total + 0.45, middle))
    axes.text(*at(total + 0.58, middle), "L", ha="center", va="center", fontweight="bold")
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
def plot_megnet_updates(narrow: bool = False) -> Figure:
    """Draw the three updates of a MEGNet layer: which of bonds, atoms and state is new in each, and what it reads.

    Parameters
    ----------
    narrow : bool, default False
        Whether the figure is for a screen as narrow as a phone's; the updates are then below each other.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = inch_canvas(5.4, NARROW_WIDTH) if narrow else inch_canvas(2.85)
    width, row = WIDTH / len(_STEPS), 1.65
    for step, (title, formula, new, read) in enumerate(_STEPS):
        if narrow:
            x, y = 0.0, row * (len(_STEPS) - 1 - step) - 0.15
            title_at, formula_at, style = (2.4, y + 1.55), (2.4, y + 1.3), {"va": "top"}
        else:
            x, y = step * width, 0.0
            title_at, formula_at, style = (x + 0.15, 2.2), (x + width / 2, 0.05), {"ha": "center", "va": "bottom"}
        _draw_small_graph(axes, (x, y), step, new, read)
        axes.text(*title_at, title, va="center", fontweight="bold")
        axes.text(*formula_at, formula.replace(", mean", ",\nmean") if narrow else formula, fontsize=SMALL, **style)
    left, top = (0.2, 5.15) if narrow else (2.3, 2.6)
    for rank, (face, label) in enumerate(((COLORS[0], "new"), (paler(COLORS[0], 0.65), "read"), ("white", "not used"))):
        x = left + 0.9 * rank
        axes.add_patch(Rectangle((x, top), 0.18, 0.14, facecolor=face, edgecolor=INK, linewidth=0.9))
        axes.text(x + 0.25, top + 0.07, label, va="center", fontsize=SMALL)
    return figure


def _draw_small_graph(axes: Axes, corner: tuple[float, float], step: int, new: set[str], read: set[str]) -> None:
    """Draw three atoms, two bonds and the state, each as `new`, `read` or neither; a prime where it is updated."""

    def face(part: str) -> tuple | str:
        return COLORS[0] if part in new else paler(COLORS[0], 0.65) if part in read else "white"

    def prime(part: str) -> str:
        updated_before = ("bond", "atom", "state")[:step]
        return "′" if part in new or (part in read and part.startswith(updated_before)) else ""

    def at(point: tuple[float, float]) -> np.ndarray:
        return np.add(corner, point)

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
