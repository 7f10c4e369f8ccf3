"""The figures: what must be in them is in them, nothing covers anything else, and pyplot keeps nothing."""

from __future__ import annotations

import io
import itertools
import re
from base64 import b64decode
from types import SimpleNamespace

import matplotlib
import nbformat

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import public_functions
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from nbclient import NotebookClient
from PIL import Image
from pymatgen.core import Lattice, Structure

from course_lib.composition import feature_groups, magpie
from course_lib.datasets import load_dataset
from course_lib.experiments.analysis import (
    corrected_interval,
    detectable_difference,
    pareto_front,
    summarize_differences,
)
from course_lib.experiments.records import load_results
from course_lib.interpret import shapley_values
from course_lib.invariance import BATCH, TRANSFORMATIONS
from course_lib.late_fusion import alpha_path, optimal_alpha
from course_lib.methods import LABELS, compared
from course_lib.models.atom_features import ATOM_FEATURE_BLOCKS, atom_features
from course_lib.teaching import figures
from course_lib.teaching.figures.crystals import shells_of
from course_lib.teaching.figures.narrow import KEY, narrow
from course_lib.teaching.figures.style import (
    COLORS,
    FREE_COLORS,
    METHOD_COLORS,
    NARROW_WIDTH,
    colors_of,
    paler,
)


@pytest.fixture(scope="module")
def crystals() -> pd.DataFrame:
    return load_dataset("pbe_prototypes")


REFERENCES = {"Na": 1.3, "Mg": 1.6, "Cl": 1.8, "Ti": 7.8, "W": 13.0, "Re": 12.4}


def embeddings(crystals: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return made-up embeddings of 60 crystals in three groups, which each column tells apart."""
    some = crystals.iloc[:60]
    groups = pd.Series(np.arange(60) // 20, some.index).map({0: "salt", 1: "metal", 2: "gas"})
    values = np.random.default_rng(0).normal(size=(60, 5))
    values += 10 * (np.arange(60) // 20)[:, None]
    return pd.DataFrame(values, some.index), groups


def rock_salt() -> Structure:
    """Return the primitive cell of NaCl, lattice constant 5.64 angstrom."""
    fcc = Lattice([[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
    return Structure(fcc, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def caesium_chloride() -> Structure:
    return Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def zinc_blende() -> Structure:
    fcc = Lattice([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]])
    return Structure(fcc, ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def perovskite() -> Structure:
    oxygen = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(4.0), ["Ba", "Ti", "O", "O", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], *oxygen])


plots = SimpleNamespace(**{
    name: function
    for name, function in public_functions(figures).items()
    if function.__annotations__.get("return") == "Figure"
})  # fmt: skip
IDS = pd.Index([f"crystal-{k}" for k in range(30)])
TRUE = pd.Series(np.linspace(-3, 1, 30), index=IDS)
TRIO_PAIRS = [
    ((0, 1), (1, 2)),
    ((2, 1), (1, 0)),
    ((0, 1), (1, 0)),
    ((1, 0), (0, 1)),
    ((1, 2), (2, 1)),
    ((2, 1), (1, 2)),
]
BENDING = pd.DataFrame({"made up": [0.7, 0.1, 0.5], "cgcnn": [0.4, 0.4, 0.4]}, index=[60, 110, 180])


def predictions() -> dict[str, pd.Series]:
    """Return the predictions of two models, in another order than the true values."""
    noise = np.random.default_rng(0).normal(0, 0.2, (2, len(IDS)))
    shuffled = [(TRUE + noise[k]).sample(frac=1, random_state=k) for k in range(2)]
    return dict(zip(("random forest", "CGCNN"), shuffled, strict=True))


def runs() -> pd.DataFrame:
    """Return made-up runs: three methods on five folds of two kinds, three seeds each."""
    random = np.random.default_rng(1)
    methods = {"random_forest": 0.18, "cgcnn": 0.12, "early_fusion": 0.10}
    rows = itertools.product(("random", "formula"), methods, range(5), range(3))
    return pd.DataFrame(
        {"method": m, "split": s, "fold": f, "seed": k, "mae": methods[m] * (1 + (s == "formula")) + 0.01 * f + noise}
        for (s, m, f, k), noise in zip(rows, random.normal(0, 0.005, 90), strict=True)
    )


def curves() -> pd.DataFrame:
    """Return the runs with five sizes of the training set, the folds up to one percent apart."""
    sized = [
        runs().assign(
            n_learned=lambda table, n=size: n + table["fold"] % 2 * n // 100,
            mae=lambda table, n=size: table["mae"] / n,
        )
        for size in (100, 200, 400, 800, 1600)
    ]
    return pd.concat(sized)


def timed() -> pd.DataFrame:
    """Return runs on one split with training times; attention fusion is slower than early fusion, and no better."""
    extra = runs()[lambda table: table["method"] == "early_fusion"]
    alignn = extra.assign(method="alignn", mae=extra["mae"] - 0.004)
    attention = extra.assign(method="attention_fusion", mae=extra["mae"] + 0.001)
    table = pd.concat([runs(), alignn, attention])
    seconds = {"random_forest": 0.9, "cgcnn": 20.0, "early_fusion": 21.0, "attention_fusion": 22.0, "alignn": 200.0}
    return table[table["split"] == "random"].assign(seconds=lambda rows: rows["method"].map(seconds))


def bond_blocks() -> dict[str, tuple[np.ndarray, pd.DataFrame]]:
    """Return made-up numbers of two bonds: equal in the first block, apart in the second."""
    near, far = np.arange(0, 3, 0.5), np.arange(0.6, 3, 0.1)
    bonds = ["a short bond", "a long bond"]
    return {
        "centre of the Gaussian (Å)": (near, pd.DataFrame(np.tile(np.exp(-((near - 2) ** 2)), (2, 1)), bonds)),
        "centre of the Gaussian (no unit)": (
            far,
            pd.DataFrame([np.exp(-(((far - one) / 0.1) ** 2)) for one in (1.0, 1.6)], bonds),
        ),
    }


def blended_pairs() -> pd.DataFrame:
    kinds = ["two seeds", "two networks", "network and kernel ridge"]
    return pd.DataFrame({"correlation": [0.85, 0.7, 0.5], "gain": [0.04, 0.05, 0.12], "kind": kinds})


def compared_pairs() -> pd.DataFrame:
    """Return differences of five folds: the first is shown, the second is not."""
    return pd.DataFrame(
        {"blend − two seeds": [-0.1, -0.11, -0.09, -0.1, -0.1], "this − that": [-0.1, 0.08, 0.0, 0.05, 0.02]}
    )


def left_out() -> pd.DataFrame:
    rows = [("F", "random_forest", 0.3, 0.9), ("F", "mine", 0.2, 0.8), ("Ti", "random_forest", 0.3, 0.4),
            ("Ti", "mine", 0.2, 0.25)]  # fmt: skip
    return pd.DataFrame(rows, columns=["element", "method", "known", "new"])


def left_out_one_by_one() -> pd.DataFrame:
    rows = [("element", name, method, 0.2, 0.2 * factor)
            for method, factors in {"random_forest": (1, 2, 6), "mine": (0.8, 1.5, 3)}.items()
            for name, factor in zip(("F", "Ti", "O"), factors, strict=True)]  # fmt: skip
    rows += [("prototype", "wurtzite", "mine", 0.1, 0.25)]
    return pd.DataFrame(rows, columns=["split", "name", "method", "known", "new"])


TASKS = {"formation_energy_per_atom": "error of the energy (eV/atom)", "band_gap": "error of the gap (eV)"}


def twins() -> pd.DataFrame:
    """Return made-up runs of multi-task networks and their twins; sharing helps the energy and harms the gap."""
    noise = np.random.default_rng(2)
    rows = itertools.product(TASKS, ("gat", "megnet"), (False, True), ("random", "formula"), range(5), range(2))
    return pd.DataFrame(
        {
            "target": target, "method": f"multitask_{trunk}" if multi else trunk, "split": split, "fold": fold,
            "seed": seed, "mae": 0.3 + 0.05 * multi * (1 if target == "band_gap" else -1) + noise.normal(0, 0.01),
        }
        for target, trunk, multi, split, fold, seed in rows
    )  # fmt: skip


def error_pair() -> pd.DataFrame:
    return pd.DataFrame({name: values - TRUE for name, values in predictions().items()})


def alpha_paths() -> dict[str, pd.DataFrame]:
    first, second = predictions().values()
    return {"out of fold": alpha_path(TRUE, first, second), "training set": alpha_path(TRUE, TRUE, second)}


def by_class() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mean": [0.3, -0.02, 0.01],
            "mean_absolute": [0.3, 0.025, 0.02],
            "n": [12, 5, 7],
            "corrected": [True] + [False] * 2,
        },
        index=["oxide", "carbide", "selenide"],
    )


def history() -> pd.DataFrame:
    return pd.DataFrame({"val_mae_energy": [0.8, 0.3, 0.125, 0.2], "train_loss": [1.0, 0.5, 0.2, 0.1]})


def scaled_pair(crystals: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    raw = magpie(crystals["structure"].iloc[::10])
    return raw, (raw - raw.mean()) / raw.std().replace(0, 1)


def scales() -> tuple[np.ndarray, pd.Series]:
    """Return factors for 40 crystals: the first feature falls with the property, the second rises."""
    by = pd.Series(np.random.default_rng(2).permutation(np.linspace(0, 1, 40)))
    return np.stack([1.5 - by, 0.5 + by], axis=1), by


def weights(df: pd.DataFrame) -> dict[str, pd.Series]:
    draw = np.random.default_rng(3)
    return {f"start {k}": pd.Series(draw.uniform(0, 1, len(df)), df.index) for k in range(3)}


def board() -> pd.DataFrame:
    """Return errors on three tasks: the forest gains little from more crystals, the network much."""
    tasks = {"large": [4.0, 2.0, 0.4], "small": [10.0, 8.0, 7.0], "middle": [2.0, 1.0, 0.5]}
    return pd.DataFrame(tasks, index=["Dummy", "forest", "network"])


def memory() -> pd.DataFrame:
    """Return measured memory of two ways to build graphs, the largest dataset first."""
    rows = [
        ("in memory", 28_000, 2000.0),
        ("in memory", 1000, 400.0),
        ("stream", 130_000, 500.0),
        ("stream", 1000, 390.0),
    ]
    return pd.DataFrame(rows, columns=["step", "crystals", "own_mb"])


def block_table() -> pd.DataFrame:
    """Return errors of models with one block, both or neither, in two repeats."""
    errors = {"neither": [0.9, 0.92], "composition": [0.3, 0.31], "structure": [0.5, 0.52], "both": [0.2, 0.19]}
    return pd.DataFrame(errors)


TRIANGLE = np.array([[0, 1, 1, 2, 2, 0], [1, 0, 2, 1, 0, 2]])


def chain(bend: float) -> np.ndarray:
    """Return the positions of five atoms along a zigzag, (5, 3)."""
    return np.stack([bend * (np.arange(5) % 2), np.zeros(5), 2.0 * np.arange(5)], axis=1)


def weighted() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs with three weights of the second task, and runs of single-task networks."""
    energy, gap = TASKS
    fixed = pd.DataFrame({"lambda": np.repeat([0.1, 1, 10], 2), energy: [0.2, 0.21, 0.22, 0.23, 0.3, 0.31],
                          gap: [0.6, 0.61, 0.5, 0.52, 0.45, 0.46]})  # fmt: skip
    return fixed, pd.DataFrame({energy: [0.21, 0.23], gap: [0.48, 0.5]})


FIGURES = {
    "embedding_map": lambda df: plots.plot_embedding_map(*embeddings(df), "kind of crystal"),
    "element_references": lambda df: plots.plot_element_references(REFERENCES),
    "crystal_and_graph": lambda df: plots.plot_crystal_and_graph(rock_salt()),
    "polymorphs": lambda df: plots.plot_polymorphs(df, df["formula"].value_counts().index[:6]),
    "feature_groups": lambda df: plots.plot_feature_groups(feature_groups()),
    "feature_table": lambda df: plots.plot_feature_table(
        magpie(["NaCl", "BaTiO3", "GaAs"]).set_axis(["NaCl", "BaTiO3", "GaAs"]),
        ["0-norm", "MagpieData mean Electronegativity", "MagpieData range MeltingT"],
    ),
    "feature_scales": lambda df: plots.plot_feature_scales(*scaled_pair(df)),
    "shells": lambda df: plots.plot_shells(rock_salt()),
    "gaussian_basis": lambda df: plots.plot_gaussian_basis([2.1, 2.82, 3.99]),
    "atom_features": lambda df: plots.plot_atom_features(["Na", "Cl", "Fe", "La"]),
    "parity": lambda df: plots.plot_parity(TRUE, predictions()),
    "history": lambda df: plots.plot_history(
        {"CGCNN": history(), "early fusion": history() / 2}, "val_mae_energy", "eV"
    ),
    "errors": lambda df: plots.plot_errors(runs(), "eV/atom"),
    "paired_differences": lambda df: plots.plot_paired_differences(runs(), "cgcnn", "eV/atom"),
    "errors_by_group": lambda df: plots.plot_errors_by_group(
        df["prototype"], {"forest": df["band_gap"].abs(), "CGCNN": df["formation_energy_per_atom"].abs()}, "eV/atom"
    ),
    "learning_curves": lambda df: plots.plot_learning_curves(curves(), "eV/atom"),
    "what_methods_read": lambda df: plots.plot_what_methods_read(["random_forest", "cgcnn", "early_fusion"]),
    "errors_by_kind": lambda df: plots.plot_errors_by_kind(runs(), "eV/atom"),
    "error_against_time": lambda df: plots.plot_error_against_time(timed(), "eV/atom"),
    "early_fusion": lambda df: plots.plot_early_fusion(145, 128, (128, 64)),
    "periodic_table": lambda df: plots.plot_periodic_table(pd.Series({"H": 3, "O": 40, "Au": 12, "U": 1})),
    "by_prototype": lambda df: plots.plot_by_prototype(
        df, {"formation_energy_per_atom": "formation energy (eV/atom)", "band_gap": "band gap (eV)"}
    ),
    "polymorph_differences": lambda df: plots.plot_polymorph_differences(df, "formation_energy_per_atom", "eV/atom"),
    "validation": lambda df: plots.plot_validation(by_class(), "eV/atom"),
    "convergence": lambda df: plots.plot_convergence(
        pd.DataFrame({"coarse": [-2.3, np.nan], "plain": [-0.1, -1.0], "recorded": [0.1, 0.3]}, index=["InSb", "MgO"]),
        pd.Series([0.1, -0.2, 0.6]),
        pd.Series({"rocksalt-Na-Cl": 0.002, "zincblende-In-Sb": -0.005}),
    ),
    "late_fusion": lambda df: plots.plot_late_fusion(),
    "alpha_paths": lambda df: plots.plot_alpha_paths(alpha_paths(), "eV/atom"),
    "error_pairs": lambda df: plots.plot_error_pairs({"random": error_pair(), "formula": error_pair()}, "eV/atom"),
    "blending_gain": lambda df: plots.plot_blending_gain(measured={"random": (0.5, 0.03), "formula": (0.6, 0.05)}),
    "multi_task": lambda df: plots.plot_multi_task(),
    "megnet_updates": lambda df: plots.plot_megnet_updates(),
    "task_pairs": lambda df: plots.plot_task_pairs(
        {"joined by id": df, "by position": df.assign(band_gap=df["band_gap"].iloc[::-1].to_numpy())}, TASKS
    ),
    "negative_transfer": lambda df: plots.plot_negative_transfer(
        twins(), {"formation_energy_per_atom": ("formation energy", "eV/atom"), "band_gap": ("band gap", "eV")}
    ),
    "fusion_places": lambda df: plots.plot_fusion_places(),
    "scales": lambda df: plots.plot_scales(*scales(), "average deviation of electronegativity"),
    "weights_by_group": lambda df: plots.plot_weights_by_group(
        weights(df), df["prototype"], "weight of the composition"
    ),
    "surroundings": lambda df: plots.plot_surroundings(
        {"rock salt": (rock_salt(), 0), "CsCl": (caesium_chloride(), 0)}, "Cl"
    ),
    "angle_to_number": lambda df: plots.plot_angle_to_number(zinc_blende(), neighbors=4, pair=1),
    "angle_basis": lambda df: plots.plot_angle_basis([60, 90, 180]),
    "alignn_layer": lambda df: plots.plot_alignn_layer(),
    "leaderboard": lambda df: plots.plot_leaderboard(
        board(), {"large": 130_000, "small": 600, "middle": 5000}, ["forest", "network"], "Dummy"
    ),
    "memory": lambda df: plots.plot_memory(memory(), {"killed": (28_000, 500.0)}),
    "block_orders": lambda df: plots.plot_block_orders(block_table(), "eV/atom"),
    "block_values": lambda df: plots.plot_block_values(
        {"Shapley values": shapley_values(block_table()), "permutation": shapley_values(block_table() / 2)}, "eV/atom"
    ),
    "error_ratios": lambda df: plots.plot_error_ratios(
        pd.Series({"large": 0.4, "small": 1.2}), {"large": 130_000, "small": 600}, "error of A / error of B"
    ),
    "prediction_changes": lambda df: plots.plot_prediction_changes(
        pd.DataFrame([[1e-7, 0.4, 2e-6]], columns=[*list(TRANSFORMATIONS)[:2], BATCH])
    ),
    "task_shares": lambda df: plots.plot_task_shares(
        {"as they are": {"energy": 0.1, "gap": 0.9}, "each by its spread": {"energy": 0.5, "gap": 0.5}}
    ),
    "chains": lambda df: plots.plot_chains({"bent": chain(0.8), "straight": chain(0)}),
    "numbered_edges": lambda df: plots.plot_numbered_edges(TRIANGLE),
    "line_graph": lambda df: plots.plot_line_graph(
        TRIANGLE, np.array([[0, 1, 4, 2, 5, 3], [2, 3, 0, 4, 1, 5]]), np.array([-1, -1, -1, 0.5, 0.5, 0.5])
    ),
    "shells_in_crystal": lambda df: plots.plot_shells_in_crystal(rock_salt(), 0, shells_of(rock_salt(), 0, 18), 4.5),
    "neighbor_weights": lambda df: plots.plot_neighbor_weights(rock_salt()),
    "neighbor_count": lambda df: plots.plot_neighbor_count(shells_of(rock_salt(), 0, 30), 6.0),
    "trio_axes": lambda df: plots.plot_trio_axes(2.5, ("S", "Zn"), 40),
    "trio_line_graph": lambda df: plots.plot_trio_line_graph(("S", "Zn", "Se"), TRIO_PAIRS, BENDING, (-0.1, 1.1), "eV"),
    "chemistry_places": lambda df: plots.plot_chemistry_places(),
    "bond_numbers": lambda df: plots.plot_bond_numbers(bond_blocks()),
    "gain_against_correlation": lambda df: plots.plot_gain_against_correlation(blended_pairs()),
    "comparisons": lambda df: plots.plot_comparisons(compared_pairs(), "eV/atom", 0.25),
    "left_out": lambda df: plots.plot_left_out(left_out(), "eV/atom"),
    "left_out_ratios": lambda df: plots.plot_left_out_ratios(left_out_one_by_one()),
    "calibration": lambda df: plots.plot_calibration(
        pd.DataFrame({"spread as it is": [0.2, 0.4, 0.6], "scaled": [0.5, 0.8, 0.9]}, index=[0.5, 0.8, 0.9])
    ),
    "error_by_spread": lambda df: plots.plot_error_by_spread(
        pd.DataFrame({"three seeds": [0.1, 0.2, 0.4], "two partners": [0.15, 0.2, 0.3]}), "eV/atom"
    ),
    "parity_axes": lambda df: plots.plot_parity_axes((-3, 1), "eV/atom"),
    "alpha_path": lambda df: plots.plot_alpha_path(
        alpha_paths()["out of fold"],
        (0.5, 0.1),
        {"training set": alpha_paths()["training set"]},
        ("random forest", "CGCNN"),
        "eV/atom",
        0.3,
    ),
    "errors_along_size": lambda df: plots.plot_errors_along_size(
        pd.concat([runs().query("split == 'formula'").assign(size=size) for size in (100, 400, 1600)]), "eV/atom"
    ),
    "difference_axes": lambda df: plots.plot_difference_axes(
        ["random_forest", "early_fusion"], "cgcnn", (-0.2, 0.1), "eV/atom"
    ),
    "errors_along_lambda": lambda df: plots.plot_errors_along_lambda(*weighted(), TASKS),
    "trade_off": lambda df: plots.plot_trade_off(
        weighted()[0],
        pd.concat(
            [pareto_front(weighted()[0].groupby("lambda").mean(), list(TASKS)), pd.Series({"uncertainty": True})]
        ),
        {"uncertainty": weighted()[1] * 0.97},
        weighted()[1],
        TASKS,
    ),
}


NOT_NARROW = {
    # As narrow as a phone, or part of an explorer.
    "alpha_path", "difference_axes", "errors_along_lambda", "errors_along_size", "neighbor_count", "numbered_edges",
    "parity_axes", "shells_in_crystal", "trade_off", "trio_axes", "trio_line_graph",
    # In the data card only, which is not a notebook: there is no output to hold a narrow form.
    "convergence",
}  # fmt: skip
"""Figures without a narrow form."""


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Draw the figure and return what text was really put on it."""
    drawn = []
    draw = Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)
        return draw(self, renderer, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    assert drawn
    return list(dict.fromkeys(drawn))


def extent(text: Text) -> Bbox:
    """Return where a text is, with the box around it if it has one."""
    return (text.get_bbox_patch() or text).get_window_extent()


def overlaps(drawn: list[Text]) -> list[tuple[str, str]]:
    """Return the pairs of texts that cover each other by more than a pixel."""
    boxes = [(text.get_text(), extent(text).padded(-1)) for text in drawn]
    return [(a, b) for (a, first), (b, second) in itertools.combinations(boxes, 2) if first.overlaps(second)]


def covered_nodes(figure: Figure) -> list[str]:
    """Return the labels of the crystal graph that cover one of its nodes."""
    graph = figure.axes[1]
    discs = [patch.get_window_extent() for patch in graph.patches if isinstance(patch, Circle)]
    found = []
    for text in graph.texts:
        box = extent(text)
        for disc in discs:
            center = (disc.p0 + disc.p1) / 2
            gap = np.linalg.norm(center - np.clip(center, box.p0, box.p1))
            if "×" in text.get_text() and gap < disc.width / 2:
                found.append(text.get_text())
    return found


def outside(figure: Figure, drawn: list[Text]) -> list[str]:
    """Return the texts that are cut off at the border of the figure."""
    canvas = figure.bbox.padded(1)
    boxes = {text.get_text(): extent(text) for text in drawn}
    return [
        label
        for label, box in boxes.items()
        if box.x0 < canvas.x0 or box.x1 > canvas.x1 or box.y0 < canvas.y0 or box.y1 > canvas.y1
    ]


def test_every_function_is_tested():
    """Whatever its name, a public function that returns a figure has a case in `FIGURES`."""
    assert {f"plot_{name}" for name in FIGURES} == vars(plots).keys()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_legible_and_leaves_nothing_behind(name, crystals, monkeypatch):
    before = dict(plt.rcParams)
    figure = FIGURES[name](crystals)
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before
    assert figure.get_size_inches()[0] <= 7.5
    assert figure.get_facecolor() == to_rgba("white")
    drawn = drawn_texts(figure, monkeypatch)
    assert min(text.get_fontsize() for text in drawn) >= 9
    assert overlaps(drawn) == []
    assert outside(figure, drawn) == []
    redrawn = narrow(figure)
    assert (redrawn is None) == (name in NOT_NARROW)
    if redrawn is not None:
        drawn = drawn_texts(redrawn, monkeypatch)
        assert overlaps(drawn) == []
        assert outside(redrawn, drawn) == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_says_what_it_shows_and_in_which_unit(name, crystals):
    """An axis with numbers has a label of its own, or that of a panel that shares it, or that of the whole figure.

    A title can stand for the label of the y axis.
    """
    figure = FIGURES[name](crystals)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    for axes in panels:
        title = axes.get_title(loc="left") or axes.get_title()
        says = title, label_of(figure, axes, "x"), label_of(figure, axes, "y")
        assert len(panels) == 1 or any(says), "a panel does not say what it shows"
        for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            if axes.axison and shows_numbers(axis):
                label = label_of(figure, axes, which) or title * (which == "y")
                assert label, f"the {which} axis of the panel {title!r} has no label"
                assert "(" in label + title or label.startswith(WITHOUT_UNIT), f"no unit in {label!r}"


NUMBER = re.compile(r"[−\d][\d.,]*(e[−+]?\d+)?$|\$.*10\^")
WITHOUT_UNIT = (
    "atom features", "correlation", "crystals", "epoch", "error / error", "error without / error with",
    "error of A / error of B", "factor",
    "neighbours", "pairs", "centre of", "share", "training crystals", "value", "weight of", "α", "θ", "λ",
)  # fmt: skip
"""How the labels of axes begin that show counts, shares, ratios or numbers of a network, which have no unit."""


def shows_numbers(axis: Axis) -> bool:
    return any(NUMBER.match(tick.get_text()) for tick in axis.get_ticklabels() if tick.get_visible())


def label_of(figure: Figure, axes: Axes, which: str) -> str:
    """Return the label of an axis; where it has none, of a panel that shares it, or of the figure."""
    shared = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
    labels = [getattr(panel, f"get_{which}label")() for panel in (axes, *shared)]
    return next(filter(None, labels), getattr(figure, f"get_sup{which}label")())


def test_a_failing_plot_leaves_no_figure_open():
    with pytest.raises(ValueError, match="raw and scaled"):
        plots.plot_feature_scales(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]}))
    with pytest.raises(ValueError, match="no column in the history of CGCNN: 'loss'"):
        plots.plot_history({"CGCNN": history()}, "loss", "")
    assert plt.get_fignums() == []


def test_a_cell_that_ends_in_a_plot_shows_one_image():
    call = "plot_early_fusion(145, 128, (128, 64))"
    sources = ("from course_lib.teaching.figures.schematics import plot_early_fusion", call, f"figure = {call}")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(notebook, timeout=120).execute()
    shown = [[kind for out in cell.outputs for kind in out.get("data", {})] for cell in notebook.cells]
    assert [kinds.count("image/png") for kinds in shown] == [0, 1, 0]


def test_panels_stack_on_a_phone_and_the_figure_stays_as_it_was():
    figure = plots.plot_learning_curves(curves(), "eV/atom")
    size, label = figure.get_size_inches().tolist(), figure.axes[0].get_xlabel()
    first, second = (axes.get_position() for axes in narrow(figure).axes)
    assert second.y1 < first.y0
    assert first.x0 == pytest.approx(second.x0)
    assert figure.get_size_inches().tolist() == size
    assert figure.axes[0].get_xlabel() == label
    assert figure.axes[0].get_position().y0 == pytest.approx(figure.axes[1].get_position().y0)


@pytest.mark.parametrize(
    ("words", "fits"), [("short", True), ("words of a width that a phone does not have" * 2, False)]
)
def test_what_does_not_fit_on_a_phone_is_not_redrawn(words, fits):
    figure, axes = plt.subplots(figsize=(7.5, 3), layout="constrained")
    plt.close(figure)
    axes.text(0, 0.5, words)
    assert (narrow(figure) is not None) == fits


def test_a_panel_that_its_labels_leave_no_room_is_not_redrawn():
    figure, axes = plt.subplots(figsize=(7.5, 3), layout="constrained")
    plt.close(figure)
    axes.set_yticks([0, 1], ["a", "b"])
    assert narrow(figure) is not None
    axes.set_yticks([0, 1], ["a", "a method with a long name that takes more than half"])
    assert narrow(figure) is None


SCHEMES = {
    "alignn_layer": ("atoms  x", "atoms  x′"),
    "early_fusion": ("composition", "ŷ"),
    "fusion_places": ("composition", "ŷ"),
    "late_fusion": ("composition", "ŷ"),
    "multi_task": ("crystal\ngraph", "L"),
}
"""Where drawings begin and end that run from left to right, on a phone from top to bottom."""


@pytest.mark.parametrize("name", [*SCHEMES, "angle_to_number", "chemistry_places", "feature_groups", "megnet_updates"])
def test_a_drawing_says_the_same_on_a_phone(name):
    wide = FIGURES[name](None)
    small = narrow(wide)
    assert small.get_size_inches()[0] == NARROW_WIDTH
    assert sorted(" ".join(texts(small)).split()) == sorted(" ".join(texts(wide)).split())


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_runs_from_top_to_bottom_on_a_phone(name):
    wide = FIGURES[name](None)
    first, last = SCHEMES[name]
    places = [
        {text.get_text(): text.get_position() for text in figure.axes[0].texts} for figure in (wide, narrow(wide))
    ]
    (x, y), (small_x, small_y) = (np.subtract(at[last], at[first]) for at in places)
    assert abs(x) > abs(y)
    assert -small_y > abs(small_x)


def test_an_output_holds_the_narrow_form():
    shell = InteractiveShell()
    shell.extension_manager.load_extension(narrow.__module__)
    figure = plots.plot_history({"CGCNN": history()}, "val_mae_energy", "eV")
    _, metadata = shell.display_formatter.format(figure)
    width, _ = Image.open(io.BytesIO(b64decode(metadata["image/png"][KEY]))).size
    assert 700 < width < 800
    _, metadata = shell.display_formatter.format(plots.plot_numbered_edges(TRIANGLE))  # narrow as it is
    assert metadata == {}


# --- crystals -----------------------------------------------------------------------------------------------------


def balls_and_bonds(figure: Figure) -> tuple[int, int, int]:
    """Return the number of atoms drawn, of lines that join them, and of bonds in the graph."""
    crystal, graph = figure.axes
    joining = [line for line in crystal.lines if line.get_solid_capstyle() == "butt"]
    return len(crystal.images), len(joining), sum(isinstance(patch, FancyArrowPatch) for patch in graph.patches)


def test_crystal_and_graph_of_rock_salt():
    figure = plots.plot_crystal_and_graph(rock_salt())
    # The conventional cell has an atom at each of 3 x 3 x 3 places, and all 6 + 12 neighbours are among them.
    assert balls_and_bonds(figure) == (27, 18, 3)
    assert "Crystal: one Na and its 18 neighbours" in texts(figure)
    assert "Graph: 2 atoms, 3 bonds" in texts(figure)
    assert sorted(text for text in texts(figure) if "×" in text) == ["12 × 3.99 Å", "12 × 3.99 Å", "6 × 2.82 Å"]
    assert "outside the cell" not in texts(figure)


def test_neighbours_outside_the_cell_are_drawn_too():
    figure = plots.plot_crystal_and_graph(caesium_chloride())
    assert balls_and_bonds(figure) == (1 + 8 + 6, 14, 3)
    assert {"outside the cell", "8 × 3.57 Å", "6 × 4.12 Å"} < set(texts(figure))


def test_one_way_messages_have_arrows():
    figure = plots.plot_crystal_and_graph(perovskite(), site=1)
    # Ti sees 8 Ba in its 14 neighbours, Ba has its 12 O before any Ti.
    assert "8 × 3.46 Å" in texts(figure)
    assert "arrow: the message goes one way only" in texts(figure)
    heads = [patch for patch in figure.axes[1].patches if isinstance(patch, FancyArrowPatch)]
    pointed = [patch for patch in heads if type(patch.get_arrowstyle()).__name__ != "Curve"]
    assert len(pointed) == 1
    assert len(heads) == 10


def test_all_prototypes_have_labels_that_do_not_cover_each_other(crystals, monkeypatch):
    for prototype, group in crystals.groupby("prototype"):
        structure = group["structure"].iloc[0]
        figure = plots.plot_crystal_and_graph(structure, site=len(structure) - 1)
        drawn = drawn_texts(figure, monkeypatch)
        assert overlaps(drawn) == [], prototype
        assert outside(figure, drawn) == [], prototype
        assert covered_nodes(figure) == [], prototype


def test_other_structures_can_be_drawn():
    copper = Structure(Lattice([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), ["Cu"], [[0, 0, 0]])
    assert "Graph: 1 atom, 1 bond" in texts(plots.plot_crystal_and_graph(copper))
    ions = rock_salt()
    ions.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert {"Na", "Cl"} < set(texts(plots.plot_crystal_and_graph(ions)))
    xenon = Structure(Lattice.cubic(4.3), ["Xe", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]])  # without electronegativity
    assert {"Xe", "F"} < set(texts(plots.plot_crystal_and_graph(xenon)))


@pytest.mark.parametrize("draw", [plots.plot_crystal_and_graph, plots.plot_shells])
@pytest.mark.parametrize("site", [-1, 2])
def test_no_such_site(draw, site):
    with pytest.raises(ValueError, match=f"site is {site}, but the structure has the sites 0 to 1"):
        draw(rock_salt(), site=site)


def marks(figure: Figure) -> list[tuple[float, float, bool]]:
    """Return distance, rank and filling of each neighbour in a plot of shells."""
    points = [line for line in figure.axes[0].lines if line.get_linestyle() == "None" or len(line.get_xdata()) == 1]
    return [(float(p.get_xdata()[0]), float(p.get_ydata()[0]), p.get_markerfacecolor() != "white") for p in points]


def test_shells_of_rock_salt():
    figure = plots.plot_shells(rock_salt())
    neighbours = marks(figure)
    assert [rank for _, rank, _ in neighbours] == list(range(1, 27))
    np.testing.assert_allclose(
        [distance for distance, _, _ in neighbours], np.repeat(2.82 * np.sqrt([1, 2, 3]), [6, 12, 8])
    )
    assert [filled for _, _, filled in neighbours] == [True] * 12 + [False] * 14
    assert {"6 Cl, 2.82 Å", "12 Na, 3.99 Å", "8 Cl, 4.88 Å"} < set(texts(figure))
    assert "takes 6 of 12 atoms at one distance" in figure.axes[0].get_title(loc="left")
    assert "each of the 12 has the weight 0.50" in figure.axes[0].get_title(loc="left")


def test_the_weights_that_are_drawn_add_up_to_twelve():
    """Each line of the right panel counts as often as its label says."""
    axes = plots.plot_neighbor_weights(rock_salt()).axes[1]
    total = sum(int(line.get_label().split()[0]) * line.get_ydata() for line in axes.lines)
    np.testing.assert_allclose(total, 12, atol=0.01)
    assert axes.lines[0].get_ydata().min() > 0.99  # the six nearest
    assert min(line.get_ydata().min() for line in axes.lines) == 0  # some have gone


def test_a_cut_between_shells_splits_none():
    title = plots.plot_shells(rock_salt(), neighbors=18).axes[0].get_title(loc="left")
    assert title == "A cut after 18 falls between two shells"
    with pytest.raises(ValueError, match="neighbors is 0; it must be at least 1"):
        plots.plot_shells(rock_salt(), neighbors=0)


# --- features -----------------------------------------------------------------------------------------------------


def test_polymorphs_stand_at_their_energies():
    frame = pd.DataFrame(
        {
            "formula": ["NaCl", "MgO", "NaCl", "NaCl"],
            "prototype": ["rocksalt", "rocksalt", "cscl", "zincblende"],
            "formation_energy_per_atom": [-1.9, -2.7, -1.8, -1.85],
        }
    )
    figure = plots.plot_polymorphs(frame, ["NaCl", "MgO"])
    by_label = {line.get_label(): sorted(line.get_xdata()) for line in figure.axes[0].lines}
    assert by_label["rock salt"] == [-2.7, -1.9]
    assert by_label["CsCl"] == [-1.8]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["NaCl", "MgO"]
    assert {"0.10", "0.00"} < set(texts(figure))
    with pytest.raises(ValueError, match="no formula 'KBr'"):
        plots.plot_polymorphs(frame, ["NaCl", "KBr"])


def test_polymorphs_of_equal_energy_are_all_seen():
    frame = pd.DataFrame({"formula": "NaCl", "prototype": ["a", "b", "c"], "formation_energy_per_atom": [1, 1, 1.0]})
    figure = plots.plot_polymorphs(
        pd.concat([frame, frame.assign(formation_energy_per_atom=5.0)], ignore_index=True), ["NaCl"]
    )
    heights = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len(set(heights)) == 3


def test_feature_groups_are_to_scale():
    figure = plots.plot_feature_groups(feature_groups())
    widths = [
        patch.get_width() for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_y() == 2
    ]
    assert widths == [6, 132, 4, 3]
    standing = [patch for patch in narrow(figure).axes[0].patches if isinstance(patch, Rectangle)]
    assert [patch.get_height() for patch in standing if patch.get_x() == 0] == widths
    assert {"6", "132", "4", "3", *feature_groups()} <= set(texts(figure))
    assert "One composition, 145 numbers" in texts(figure)


def test_feature_table_writes_the_values():
    features = pd.DataFrame({"MagpieData mean X": [0.5, 1.25], "0-norm": [2.0, 2.0]}, index=["NaCl", "MgO"])
    figure = plots.plot_feature_table(features, ["0-norm", "MagpieData mean X"])
    assert {"0.5", "1.25", "2", "NaCl", "MgO", "0-norm", "mean X"} <= set(texts(figure))
    shade = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shade, [[0, 0], [0, 1]])
    with pytest.raises(ValueError, match="no feature 'mean X'"):
        plots.plot_feature_table(features, ["mean X"])


def test_feature_scales_show_percentiles():
    values = np.linspace(0, 1, 41)  # percentiles 2.5, 50 and 97.5 are among them
    raw = pd.DataFrame({"large": 1000 * values, "small": values, "constant": 7.0})
    figure = plots.plot_feature_scales(raw, raw / 2)
    top, bottom = figure.axes
    bars = [segment[:, 1] for segment in top.collections[0].get_segments()]
    np.testing.assert_allclose(bars, [[7, 7], [0.025, 0.975], [25, 975]])
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [3.5, 0.25, 250])
    assert top.get_yscale() == "symlog"
    assert "one spans 950" in top.get_title(loc="left")


def test_gaussian_basis_rows():
    distances = [0.0, 2.82, 7.9]
    figure = plots.plot_gaussian_basis(distances)
    expected = np.exp(-(((np.array(distances)[:, None] - 0.2 * np.arange(41)) / 0.2) ** 2))
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), expected, atol=1e-6)
    assert len(figure.axes[0].lines) == 41
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["0.00 Å", "2.82 Å", "7.90 Å"]


@pytest.mark.parametrize(("form", "rows"), [(lambda figure: figure, 2), (narrow, 4)], ids=["wide", "narrow"])
def test_atom_features_are_all_there(form, rows):
    figure = form(plots.plot_atom_features(["Na", "Cl", "La"]))
    assert len(figure.axes) == rows
    bits = np.concatenate([axes.images[0].get_array() for axes in figure.axes], axis=1)
    np.testing.assert_array_equal(bits, atom_features([11, 17, 57]).numpy())
    assert bits.shape == (3, 92)
    named = {text.replace("\n", " ") for text in texts(figure)}
    assert set(ATOM_FEATURE_BLOCKS) < named
    frames = [patch for axes in figure.axes for patch in axes.patches]
    assert [frame.get_width() for frame in frames] == list(ATOM_FEATURE_BLOCKS.values())
    with pytest.raises(ValueError, match="'Xx' is not an element"):
        plots.plot_atom_features(["Na", "Xx"])


# --- results ------------------------------------------------------------------------------------------------------


FOLDS = {"random": "random folds", "formula": "folds by formula"}
SPLITS = {title: split for split, title in FOLDS.items()}


def test_parity_writes_the_mae_of_matching_ids():
    figure = plots.plot_parity(TRUE, predictions())
    for axes, (label, values) in zip(figure.axes, predictions().items(), strict=True):
        mae = np.mean([abs(values[name] - TRUE[name]) for name in IDS])
        assert axes.get_title(loc="left") == label
        assert f"MAE {mae:.3f} eV/atom\n30 crystals" in [text.get_text() for text in axes.texts]
        assert axes.get_xlim() == axes.get_ylim() == figure.axes[0].get_xlim()
    assert figure.get_supxlabel() == "true (eV/atom)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.drop("crystal-7"), "CGCNN has no value for 1 of 30 ids, for example 'crystal-7'"),
        (lambda p: pd.concat([p, pd.Series({"other": 0.0})]), "CGCNN has values for 1 ids .* for example 'other'"),
        (lambda p: pd.concat([p, p.iloc[:1]]), "CGCNN: id 'crystal-.*' repeats"),
    ],
)
def test_ids_that_do_not_match(change, message):
    with pytest.raises(ValueError, match=message):
        plots.plot_parity(TRUE, {"CGCNN": change(predictions()["CGCNN"])})
    with pytest.raises(ValueError, match=message):
        plots.plot_errors_by_group(
            pd.Series("a", index=[*IDS, "other"]), {"forest": TRUE, "CGCNN": change(predictions()["CGCNN"])}, "eV"
        )


def test_history_is_logarithmic_and_marks_the_best():
    figure = plots.plot_history({"CGCNN": history()}, "val_mae_energy", "eV/atom")
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "validation MAE (eV/atom)"
    assert "CGCNN: 0.125 at best" in texts(figure)
    assert [tuple(np.ravel(line.get_xydata())) for line in axes.lines if len(line.get_xdata()) == 1] == [(2, 0.125)]


def test_errors_one_dot_a_run():
    errors = runs()
    figure = plots.plot_errors(errors, "eV/atom")
    for axes, (split, group) in zip(figure.axes, errors.groupby("split", sort=False), strict=True):
        assert axes.get_title(loc="left") == FOLDS[split]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["random forest", "CGCNN", "early fusion"]
        dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
        for (_, values), mine in zip(group.groupby("method", sort=False)["mae"], dots, strict=True):
            np.testing.assert_array_equal(np.sort(mine), np.sort(values))
            written = f"{values.mean():.3f} ± {np.std(values, ddof=1):.3f}"
            assert written in [text.get_text() for text in axes.texts]
            assert axes.get_xlim()[0] == 0
            assert axes.get_xlim()[1] > values.max()


def test_errors_of_a_single_run_have_no_spread():
    one = pd.DataFrame({"method": ["a", "b"], "split": "random", "seed": 0, "mae": [0.1, 0.2]})
    assert {"0.100", "0.200"} < set(texts(plots.plot_errors(one, "eV")))


@pytest.mark.parametrize("ratio", [float("nan"), 0.1])
def test_paired_differences_are_those_of_the_experiments(ratio):
    errors = runs().sample(frac=1, random_state=0).assign(ratio=ratio)
    figure = plots.plot_paired_differences(errors, "cgcnn", "eV/atom")
    table = summarize_differences(errors, "cgcnn")
    others = [method for method in errors["method"].unique() if method != "cgcnn"]
    for axes in figure.axes:
        mine = table.loc[SPLITS[axes.get_title(loc="left")]]
        for method, bar in zip(others, axes.containers, strict=True):
            (ends,) = bar[2][0].get_segments()
            np.testing.assert_allclose(ends[:, 0], mine.loc[method, ["low", "high"]])
            assert f"{mine.loc[method, 'mean']:+.3f}".replace("-", "−") in [text.get_text() for text in axes.texts]
        dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
        assert [len(values) for values in dots] == [5, 5]
        assert axes.get_xlim()[0] == -axes.get_xlim()[1]
    assert {"← better than CGCNN", "worse than CGCNN →"} < set(texts(figure))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.drop(columns="split"), "no column 'split'"),
        (lambda r: r.drop(columns=["fold", "seed"]), "'fold'"),
        (lambda r: pd.concat([r, r.iloc[:1]]), "two rows for one run.*Keep one"),
    ],
)
def test_errors_that_cannot_be_drawn(change, message):
    for draw in (plots.plot_errors, lambda errors, unit: plots.plot_paired_differences(errors, "cgcnn", unit)):
        with pytest.raises(ValueError, match=message):
            draw(change(runs()), "eV/atom")


def test_differences_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="no runs of 'alignn'"):
        plots.plot_paired_differences(runs(), "alignn", "eV")
    with pytest.raises(ValueError, match="not every method has a run"):
        plots.plot_paired_differences(runs().query("method == 'cgcnn' or fold > 0"), "cgcnn", "eV")
    with pytest.raises(ValueError, match="'cgcnn' is the only method"):
        plots.plot_paired_differences(runs().query("method == 'cgcnn'"), "cgcnn", "eV")


def test_errors_by_group_are_means_with_counts():
    groups = pd.Series(["cscl"] * 10 + ["wurtzite"] * 20, index=IDS).sample(frac=1, random_state=3)
    errors = {"forest": TRUE.abs(), "CGCNN": 2 * TRUE.abs().sample(frac=1, random_state=4)}
    figure = plots.plot_errors_by_group(groups, errors, "eV/atom")
    axes = figure.axes[0]
    mean = [TRUE[:10].abs().mean(), TRUE[10:].abs().mean()]
    assert mean[0] > mean[1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["CsCl (10)", "wurtzite (20)"]
    points = {line.get_label(): line.get_xdata() for line in axes.lines}
    np.testing.assert_allclose(points["forest"], mean)
    np.testing.assert_allclose(points["CGCNN"], np.multiply(2, mean))
    with pytest.raises(ValueError, match="no group for the crystal 'crystal-0'"):
        plots.plot_errors_by_group(groups.drop("crystal-0"), errors, "eV")


# --- schematics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(128, 64), (512,), (256, 128, 64)])
def test_early_fusion_shows_its_numbers(hidden, monkeypatch):
    figure = plots.plot_early_fusion(145, 100, hidden)
    for form in (figure, narrow(figure)):
        assert {"145", "100", "concatenation\n145 + 100 = 245", *map(str, hidden)} <= set(texts(form))
        drawn = drawn_texts(form, monkeypatch)
        assert overlaps(drawn) == []
        assert outside(form, drawn) == []
    boxes = [patch.get_window_extent() for patch in form.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))


def test_learning_curves_join_folds_of_nearly_equal_size():
    figure = plots.plot_learning_curves(curves(), "eV/atom")
    assert len(figure.axes) == 2
    expected = curves().groupby(["split", "method", curves()["n_learned"].round(-2)])["mae"].mean()
    for axes in figure.axes:
        lines = [container.lines[0] for container in axes.containers]
        for line, method in zip(lines, runs()["method"].unique(), strict=True):
            split = SPLITS[axes.get_title(loc="left")]
            assert line.get_ydata() == pytest.approx(expected[split, method].to_numpy())


def test_learning_curves_that_fall_little_have_enough_tick_labels():
    table = curves()
    table["mae"] = 0.3 * (table["n_learned"] / 100) ** -0.4  # from 0.3 to 0.1
    axes = plots.plot_learning_curves(table, "eV/atom").axes[0]
    low, high = axes.get_ylim()
    assert high < 5 * low
    assert len([tick for tick in axes.get_yticks() if low <= tick <= high]) >= 4


def test_front_in_the_figure_leaves_out_what_another_method_beats():
    figure = plots.plot_error_against_time(timed(), "eV/atom")
    front = next(line for line in figure.axes[0].lines if line.get_label() == "no method is better in both")
    assert front.get_xdata().tolist() == [0.9, 20.0, 21.0, 200.0]
    names = {"random forest", "CGCNN", "early fusion", "attention fusion", "ALIGNN (small)"}
    assert names <= set(texts(figure))


def test_on_a_phone_the_names_of_methods_are_above_the_figure_of_error_and_time():
    redrawn = narrow(plots.plot_error_against_time(timed(), "eV/atom"))
    (legend,) = redrawn.legends
    names = {"random forest", "CGCNN", "early fusion", "attention fusion", "ALIGNN (small)"}
    assert names < {text.get_text() for text in legend.get_texts()}
    assert redrawn.axes[0].texts[:] == []


def test_names_of_recorded_methods_do_not_touch_each_other():
    recorded = load_results(target="formation_energy_per_atom", methods=compared())
    figure = plots.plot_error_against_time(recorded[recorded["split"] == "formula"], "eV/atom")
    names = figure.axes[0].texts
    assert len(names) == len(compared())
    assert not overlaps(names)


def test_mark_on_the_path_is_the_best_alpha():
    first, second = predictions().values()
    figure = plots.plot_alpha_paths(alpha_paths(), "eV/atom")
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 1]
    assert marks[0].get_xdata()[0] == pytest.approx(optimal_alpha(TRUE, first, second), abs=0.005)
    assert marks[1].get_xdata()[0] == 1.0


def test_path_fills_its_axis_so_that_a_small_gain_is_seen():
    path = alpha_paths()["out of fold"]
    axes = plots.plot_alpha_paths({"out of fold": path}, "eV/atom").axes[0]
    low, high = axes.get_ylim()
    assert path["mae"].max() - path["mae"].min() > 0.8 * (high - low)
    assert "does not begin at zero" in axes.get_ylabel()


def test_no_gain_from_a_model_that_errs_the_same_way():
    figure = plots.plot_blending_gain(ratios=(1.0, 2.0))
    equal, twice = (line.get_ydata() for line in figure.axes[0].lines[:2])
    x = figure.axes[0].lines[0].get_xdata()
    assert equal[-1] == pytest.approx(0, abs=1e-6)
    assert equal[np.abs(x).argmin()] == pytest.approx(100 * (1 - 0.5**0.5))  # two independent errors
    assert twice[x > 0.5] == pytest.approx(0, abs=1e-6)  # beyond s_b / s_a the better model alone is best


def test_polymorph_differences_are_those_of_all_pairs():
    df = pd.DataFrame({"formula": ["AB", "AB", "CD", "AB", "EF"], "energy": [0.0, 1.0, 5.0, 3.0, 9.0]})
    figure = plots.plot_polymorph_differences(df, "energy", "eV")
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3
    assert "half of them below 2.00" in texts(figure)
    with pytest.raises(ValueError, match="no formula has two crystals"):
        plots.plot_polymorph_differences(df.iloc[[0, 2]], "energy", "eV")


def test_periodic_table_shows_each_count_at_its_place():
    figure = plots.plot_periodic_table(pd.Series({"H": 3, "Au": 12, "U": 1}))
    written = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert {"3", "12", "1"} <= set(written)
    assert written["12"][0] == 11, "gold is in group 11"
    assert "Ce" not in written, "lanthanides only where they are needed"


def test_errors_by_kind_are_sorted_within_what_is_read():
    table = pd.concat([runs(), timed()[lambda rows: rows["method"] == "alignn"]])
    figure = plots.plot_errors_by_kind(table, "eV/atom")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["random forest", "CGCNN", "ALIGNN (small)", "early fusion"]
    means = table[table["split"] == "random"].groupby("method")["mae"].mean()
    widths = sorted(patch.get_width() for patch in figure.axes[0].patches)
    assert widths == pytest.approx(sorted(means))
    heads = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts if "reads" in text.get_text()}
    below = dict(zip(figure.axes[0].get_yticks(), labels, strict=True))
    assert {read: below[row + 1] for read, row in heads.items()} == {
        "reads composition": "random forest", "reads structure": "CGCNN", "reads both": "early fusion"}  # fmt: skip
    alone = plots.plot_errors_by_kind(runs().query("fold == 0 and seed == 0"), "eV/atom")
    assert all(np.isfinite(text.xy).all() for text in alone.axes[0].texts if isinstance(text, Annotation))
    with pytest.raises(ValueError, match="no method 'crabnet'"):
        plots.plot_errors_by_kind(runs().assign(method="crabnet"), "eV/atom")


@pytest.mark.parametrize("for_phone", [False, True])
def test_each_method_stands_in_the_views_that_it_reads(for_phone):
    methods = ["random_forest", "cgcnn", "alignn", "early_fusion", "late_fusion"]
    axes = plots.plot_what_methods_read(methods, narrow=for_phone).axes[0]
    outlines = [patch for patch in axes.patches if isinstance(patch, Ellipse) and not patch.get_fill()]
    composition, structure = sorted(outlines, key=lambda patch: (patch.center[0], -patch.center[1]))
    placed = {
        name: tuple(
            view.contains_point(axes.transData.transform(text.get_position())) for view in (composition, structure)
        )
        for text in axes.texts
        for name in text.get_text().split("\n")
    }
    assert {name: placed[name] for name in ("random forest", "CGCNN", "ALIGNN (small)", "early fusion")} == {
        "random forest": (True, False),
        "CGCNN": (False, True),
        "ALIGNN (small)": (False, True),
        "early fusion": (True, True),
    }
    assert placed["late fusion"] == (True, True)
    with pytest.raises(ValueError, match="no method 'crabnet'"):
        plots.plot_what_methods_read(["crabnet"])


def test_megnet_figure_reads_what_was_updated_before():
    """In the second step the atoms read the new bonds, in the third the state reads new bonds and new atoms."""
    shown = texts(plots.plot_megnet_updates())
    assert [shown.count(f"e′ᵢ{other}") for other in "ⱼₖ"] == [3, 2]
    assert [shown.count(f"v′{name}") for name in "ᵢⱼₖ"] == [2, 1, 1]
    assert (shown.count("u"), shown.count("u′")) == (2, 1)


def test_task_pairs_leave_out_what_has_one_value_only():
    table = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [3.0, 2.0, 1.0, np.nan]})
    figure = plots.plot_task_pairs({"a": table, "b": table.assign(y=[0.0, 1.0, 2.0, 3.0])}, {"x": "X", "y": "Y"})
    assert {"correlation −1.00\n3 crystals", "correlation 1.00\n4 crystals"} < set(texts(figure))
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0.0, 3.0], [1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(ValueError, match="no column in 'a': 'z'"):
        plots.plot_task_pairs({"a": table}, {"x": "X", "z": "Z"})


def test_negative_transfer_has_a_dot_a_training_right_of_zero_where_sharing_harms():
    labels = {"band_gap": ("band gap", "eV"), "formation_energy_per_atom": ("formation energy", "eV/atom")}
    figure = plots.plot_negative_transfer(twins(), labels)
    gap, energy = figure.axes
    for axes, sign, counted in ((gap, 1, "10 of 10\nworse"), (energy, -1, "0 of 10\nworse")):
        dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
        assert [len(values) for values in dots] == [10] * 4
        assert all((sign * np.array(values) > 0).all() for values in dots)
        assert [text.get_text() for text in axes.texts] == [counted] * 4
    assert [label.get_text() for label in gap.get_yticklabels()] == [
        "GAT, random folds", "GAT, folds by formula", "MEGNet, random folds", "MEGNet, folds by formula"]  # fmt: skip
    with pytest.raises(ValueError, match="no runs on the target 'volume'"):
        plots.plot_negative_transfer(twins(), {"volume": ("volume", "")})
    with pytest.raises(ValueError, match="has no run for split 'random', fold 0, seed 0"):
        plots.plot_negative_transfer(twins().iloc[1:], labels)


# --- fusion inside the network ------------------------------------------------------------------------------------


def test_fusion_meets_three_times_before_the_convolutions_and_once_elsewhere():
    joins = [patch for patch in plots.plot_fusion_places().axes[0].patches if isinstance(patch, Circle)]
    heights = [round(join.center[1], 2) for join in joins]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == [3, 1, 1, 1]


def test_scales_are_sorted_by_the_property_and_by_what_goes_with_it():
    factors, by = scales()
    figure = plots.plot_scales(factors, by, "property")
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, np.stack([0.5 - np.sort(by), np.sort(by) - 0.5], axis=1), atol=1e-12)
    assert figure.axes[0].images[0].origin == "lower"
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "1.00"
    with pytest.raises(ValueError, match="scales has 40 rows, the property 39 values"):
        plots.plot_scales(factors, by.iloc[1:], "property")


def test_groups_stand_in_the_order_of_the_first_network():
    ids = list("abcd")
    groups = pd.Series(["rocksalt", "rocksalt", "cscl", "wurtzite"], ids)
    drawn = {"one": pd.Series([0.1, 0.3, 0.6, 0.4], ids), "two": pd.Series([0.2, 0.2, 0.9, 0.3], ids)}
    axes = plots.plot_weights_by_group(drawn, groups, "weight").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rock salt (2)", "wurtzite (1)", "CsCl (1)"]
    first, second = (container.lines[0].get_xdata() for container in axes.containers)
    assert list(first) == pytest.approx([0.2, 0.4, 0.6])
    assert list(second) == pytest.approx([0.2, 0.3, 0.9])
    with pytest.raises(ValueError, match="no group for the crystal 'd'"):
        plots.plot_weights_by_group(drawn, groups.iloc[:3], "weight")


# --- hybrids that win ---------------------------------------------------------------------------------------------


def test_chemistry_is_on_the_crystal_then_on_atoms_then_on_bonds():
    axes = FIGURES["chemistry_places"](None).axes[0]
    colored = to_hex(COLORS[1])
    patches = [patch for patch in axes.patches if to_hex(patch.get_edgecolor()) == colored]
    assert [type(patch) for patch in patches] == [FancyBboxPatch] + [Circle] * 4
    assert sum(to_hex(line.get_color()) == colored for line in axes.lines) == 4
    assert len(axes.lines) == 12


def test_numbers_of_bonds_are_dark_where_the_bond_is():
    panel = FIGURES["bond_numbers"](None).axes[1]
    drawn = panel.images[0].get_array()
    left, right = panel.images[0].get_extent()[:2]
    at = left + (drawn.argmax(axis=1) + 0.5) * (right - left) / drawn.shape[1]
    np.testing.assert_allclose(at, [1.0, 1.6], atol=0.01)


def test_pairs_are_marked_at_their_gain_in_percent():
    axes = FIGURES["gain_against_correlation"](None).axes[0]
    marks = {line.get_label(): (*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() != ""}
    assert marks["two seeds"] == pytest.approx((0.85, 4.0))
    assert marks["network and kernel ridge"] == pytest.approx((0.5, 12.0))
    equal = next(line for line in axes.lines if line.get_label() == "formula: two equally good")
    np.testing.assert_allclose(equal.get_ydata(), 100 * (1 - np.sqrt((1 + equal.get_xdata()) / 2)))
    with pytest.raises(ValueError, match="no column 'kind'"):
        plots.plot_gain_against_correlation(blended_pairs().drop(columns="kind"))


def test_intervals_of_comparisons_are_corrected_for_their_number():
    table = compared_pairs()
    axes = plots.plot_comparisons(table, "eV/atom", 0.25).axes[0]
    for container, (_, values) in zip(axes.containers, table.items(), strict=True):
        (segment,) = container.lines[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 0], corrected_interval(values.to_numpy(), 1 - 0.05 / 2, 0.25))
    assert "97.5 % interval" in axes.get_xlabel()
    grey = [line.get_xdata()[1] for line in axes.lines if line.get_linewidth() == 5]
    assert grey == [detectable_difference(values.to_numpy(), 0.975, 0.25) for _, values in table.items()]


def test_left_out_elements_have_a_mark_for_each_error():
    figure = FIGURES["left_out"](None)
    for axes, known, new in zip(figure.axes, ([0.3, 0.2], [0.3, 0.2]), ([0.9, 0.8], [0.4, 0.25]), strict=True):
        assert [list(line.get_xdata()) for line in axes.lines] == [known, new]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["random forest", "mine"]
    with pytest.raises(ValueError, match="no column 'new'"):
        plots.plot_left_out(left_out().drop(columns="new"), "eV")


def test_what_is_left_out_has_a_dot_for_its_ratio_and_a_median():
    figure = FIGURES["left_out_ratios"](None)
    elements, prototypes = figure.axes
    dots, medians = ([line.get_xdata() for line in elements.lines if line.get_marker() == mark] for mark in "oD")
    np.testing.assert_allclose(dots, [[1, 2, 6], [0.8, 1.5, 3]])
    np.testing.assert_allclose(np.ravel(medians), [2, 1.5])
    assert [text.get_text() for text in elements.texts] == ["2.00", "1.50"]
    assert [label.get_text() for label in prototypes.get_yticklabels()] == ["mine"]
    with pytest.raises(ValueError, match="no column 'known'"):
        plots.plot_left_out_ratios(left_out_one_by_one().drop(columns="known"))


# --- angles -------------------------------------------------------------------------------------------------------


def test_surroundings_join_a_site_to_one_element_only():
    figure = FIGURES["surroundings"](None)
    joining = [sum(line.get_solid_capstyle() == "butt" for line in axes.lines) for axes in figure.axes]
    assert joining == [6, 8]  # of their 18 and 14 neighbours
    with pytest.raises(ValueError, match="none of the nearest neighbours of site 0 is V"):
        plots.plot_surroundings({"salt": (rock_salt(), 0)}, "V")


def test_angle_is_followed_from_the_crystal_to_the_number():
    for pair in range(32):
        figure = plots.plot_angle_to_number(zinc_blende(), neighbors=4, pair=pair)
        _, atoms, bonds, number = figure.axes
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles[1:3] == ["2. Atom graph: 8 edges", "3. Line graph: 32 pairs"]
        heavy = {text.get_text() for text in atoms.texts if text.get_fontweight() == "bold"} - {"Zn", "S"}
        ringed = [patch for patch in bonds.patches if isinstance(patch, Circle)]
        assert {str(k) for k, circle in enumerate(ringed) if circle.get_linewidth() > 2} == heavy
        assert len(heavy) == 2
        back = "0.0°" in titles[0]
        expected = 1.0 if back else -1 / 3
        assert number.lines[0].get_xdata()[0] == pytest.approx(expected, abs=1e-6)
        assert back or "109.5°" in titles[0]
        image = number.images[0]
        cells = image.get_array()[0]
        left, right = image.get_extent()[:2]
        assert left + (np.argmax(cells) + 0.5) * (right - left) / 40 == pytest.approx(expected, abs=1 / 39 + 1e-6)
    dotted = [line for line in bonds.lines if line.get_linestyle() == ":"]
    assert len(dotted) == 8, "each edge and its reverse, from both sides"


def test_angles_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="with 12 neighbours, an atom is its own neighbour"):
        plots.plot_angle_to_number(zinc_blende(), neighbors=12, pair=0)
    with pytest.raises(ValueError, match="pair is 32, but the line graph has the pairs 0 to 31"):
        plots.plot_angle_to_number(zinc_blende(), neighbors=4, pair=32)


def test_angle_basis_is_dark_at_the_cosine():
    figure = plots.plot_angle_basis([60, 90, 180])
    rows = figure.axes[1].images[0].get_array()
    centers = np.linspace(-1, 1, 40)
    np.testing.assert_allclose(centers[rows.argmax(axis=1)], [0.5, 0, -1], atol=1 / 39 + 1e-6)


# --- many crystals ------------------------------------------------------------------------------------------------


def test_leaderboard_goes_from_small_tasks_to_large_ones():
    axes = FIGURES["leaderboard"](None).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["small\n600", "middle\n5,000", "large\n130,000"]
    forest, network = (line.get_ydata() for line in axes.lines)
    assert list(forest) == pytest.approx([0.8, 0.5, 0.5])
    assert list(network) == pytest.approx([0.7, 0.25, 0.1])
    with pytest.raises(ValueError, match="no task 'huge'"):
        plots.plot_leaderboard(board(), {"huge": 1}, ["forest"], "Dummy")
    with pytest.raises(ValueError, match="no model 'oracle'"):
        plots.plot_leaderboard(board(), {"small": 1}, ["forest"], "oracle")


def test_the_map_of_embeddings_has_every_crystal_in_the_colour_of_its_group(crystals):
    embedding, groups = embeddings(crystals)
    figure = plots.plot_embedding_map(embedding, groups.sample(frac=1, random_state=0), "kind of crystal")
    lines = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    assert {name: len(places) for name, places in lines.items()} == {"salt": 20, "metal": 20, "gas": 20}
    first, middle, last = sorted(lines.values(), key=np.mean)
    assert first.max() < middle.min()
    assert middle.max() < last.min()
    with pytest.raises(ValueError, match="no group for the crystal"):
        plots.plot_embedding_map(embedding, groups.iloc[1:], "kind of crystal")


def test_references_are_at_the_numbers_of_their_elements():
    axes = FIGURES["element_references"](None).axes[0]
    assert dict(zip(*axes.lines[0].get_data(), strict=True)) == {11: 1.3, 12: 1.6, 17: 1.8, 22: 7.8, 74: 13.0, 75: 12.4}
    assert [text.get_text() for text in axes.texts] == ["Mg", "Cl", "Ti", "W"]
    with pytest.raises(ValueError, match="no references"):
        plots.plot_element_references({})


def test_learning_curves_of_many_methods_are_named_above_the_panels():
    runs = curves()
    many = pd.concat(runs[runs["method"] == "cgcnn"].assign(method=f"method {k}") for k in range(5))
    assert plots.plot_learning_curves(runs, "eV").legends == []
    (legend,) = plots.plot_learning_curves(many, "eV").legends
    assert [text.get_text() for text in legend.get_texts()] == [f"method {k}" for k in range(5)]


def test_memory_has_a_line_a_step_in_gigabytes():
    figure = FIGURES["memory"](None)
    in_memory, stream, reported = figure.axes[0].lines
    assert list(in_memory.get_xdata()) == [1000, 28_000]
    assert list(in_memory.get_ydata()) == pytest.approx([0.4, 2.0])
    assert list(stream.get_ydata()) == pytest.approx([0.39, 0.5])
    assert (*reported.get_xdata(), *reported.get_ydata()) == (28_000, 500.0)
    assert "killed" in texts(figure)
    with pytest.raises(ValueError, match="no column 'own_mb'"):
        plots.plot_memory(memory().drop(columns="own_mb"), {})


@pytest.mark.parametrize(
    "names", [["cgcnn", "random_forest"], ["random forest", "mine", "CGCNN"], ["CGCNN (structure)", "b", "a"]]
)
def test_a_method_has_one_colour_whatever_stands_beside_it(names):
    colors = colors_of(names)
    label = names[0].partition(" (")[0]
    assert colors[names[0]] == METHOD_COLORS[{label: name for name, label in LABELS.items()}.get(label, label)]
    assert len(set(colors.values())) == len(names)


def test_no_method_is_drawn_in_the_colour_of_another():
    assert {*compared(), "late_fusion"} <= set(METHOD_COLORS)
    assert len({*METHOD_COLORS.values(), *FREE_COLORS}) == len(METHOD_COLORS) + len(FREE_COLORS)
    for method, label in LABELS.items():
        for name in (method, label):
            assert colors_of([name])[name] in {METHOD_COLORS.get(method), *FREE_COLORS}


def test_other_models_of_a_method_have_its_colour():
    assert colors_of(["CGCNN v2019", "ALIGNN", "MODNet (v0.1.12)"]) == {
        "CGCNN v2019": METHOD_COLORS["cgcnn"],
        "ALIGNN": METHOD_COLORS["alignn"],
        "MODNet (v0.1.12)": FREE_COLORS[0],
    }


def method_figures(methods: list[str]) -> dict[str, Figure]:
    """Return the figures that tell methods apart by colour, of made-up results of two methods in this order."""
    new_names = dict(zip(("random_forest", "cgcnn"), methods, strict=True))
    results, sized = (
        table[table["method"].isin(new_names)].assign(method=lambda rows: rows["method"].map(new_names))
        for table in (runs(), curves())
    )
    labels = [LABELS[method] for method in methods]
    history = pd.DataFrame({"error": [0.3, 0.2]})
    errors = {label: pd.Series(0.1, index=IDS) for label in labels}
    return {
        "parity": plots.plot_parity(TRUE, {f"{label} (it)": TRUE for label in labels}),
        "history": plots.plot_history({label: history for label in labels}, "error", "eV"),
        "errors": plots.plot_errors(results, "eV"),
        "paired differences": plots.plot_paired_differences(results, methods[-1], "eV"),
        "errors by group": plots.plot_errors_by_group(pd.Series("all", index=IDS), errors, "eV"),
        "learning curves": plots.plot_learning_curves(sized, "eV"),
        "alpha path": plots.plot_alpha_path(
            alpha_paths()["out of fold"], (0.5, 0.1), {}, (labels[0], labels[1]), "eV", 0.3
        ),
        "what methods read": plots.plot_what_methods_read(methods),
        "errors by kind": plots.plot_errors_by_kind(results, "eV"),
        "error against time": plots.plot_error_against_time(results.assign(seconds=1 + results["mae"]), "eV"),
    }


def colors_in(figure: Figure) -> set[str]:
    lines = [line.get_color() for axes in figure.axes for line in axes.lines]
    faces = [patch.get_facecolor() for axes in figure.axes for patch in axes.patches]
    return {to_hex(color) for color in (*lines, *faces)}


def drawn_for(method: str) -> set[str]:
    """Return the colour of a method, full and as pale as it is where texts stand on it."""
    return {to_hex(METHOD_COLORS[method]), to_hex(paler(METHOD_COLORS[method], 0.25))}


def test_one_method_has_one_colour_in_every_figure():
    for order in (["random_forest", "cgcnn"], ["cgcnn", "random_forest"], ["alignn", "early_fusion"]):
        for name, figure in method_figures(order).items():
            for method in order[: 1 if name == "paired differences" else 2]:  # the other is the line at zero
                assert drawn_for(method) & colors_in(figure), f"{method} in the figure of {name}"
            blend = {"late_fusion"} if name == "alpha path" else set()
            for other in METHOD_COLORS.keys() - {*order} - blend:
                assert not drawn_for(other) & colors_in(figure), f"the colour of {other} in the figure of {name}"


def test_two_trunks_have_the_colours_of_their_multi_task_networks():
    figure = FIGURES["negative_transfer"](None)
    assert drawn_for("multitask_gat") & colors_in(figure)
    assert drawn_for("multitask_megnet") & colors_in(figure)
    assert not drawn_for("cgcnn") & colors_in(figure)


def test_three_atoms_have_an_arrow_per_pair():
    graph, _ = plots.plot_trio_line_graph(("S", "Zn", "Se"), TRIO_PAIRS, BENDING, (0, 1), "eV").axes
    assert len([patch for patch in graph.patches if isinstance(patch, FancyArrowPatch)]) == len(TRIO_PAIRS)
    assert graph.get_title(loc="left") == "line graph: 6 pairs"


def test_trade_off_fills_what_is_on_the_front_and_shows_what_is_near_the_smallest_errors():
    fixed, single = weighted()
    front = pd.Series({0.1: True, 1.0: True, 10.0: True, "uncertainty": False, "inverse scale": True})
    schemes = {"uncertainty": single * 1.01, "inverse scale": single * 0.99}
    axes = plots.plot_trade_off(fixed, front, schemes, single, TASKS).axes[0]
    marks = {line.get_label(): line for line in axes.lines}
    assert marks["uncertainty"].get_markerfacecolor() == "white"
    assert not {marks[scheme].get_marker() for scheme in schemes} & {">", "^", "o"}, "those are of fixed weights"
    assert marks["inverse scale"].get_markerfacecolor() != "white"
    energy, _ = TASKS
    smallest = fixed.groupby("lambda")[energy].mean().min()
    assert 1.25 * smallest <= axes.get_xlim()[1] < fixed[energy].max()
    (beyond,) = [line for line in axes.lines if line.get_marker() == ">"]
    assert beyond.get_xdata().tolist() == [axes.get_xlim()[1]]
    assert beyond.get_markerfacecolor() != "white"
