"""The explorers: each setting shows what belongs to it, what they say is right, and they are small."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from example_crystals import bundled_graphs
from ipywidgets.embed import dependency_state
from matplotlib.colors import to_rgb
from PIL import Image
from pymatgen.core import Lattice, Structure

from course_lib.experiments.analysis import summarize_differences
from course_lib.models import CGCNN
from course_lib.models.cgcnn import CGCNNConv
from course_lib.teaching.examples import bent_trio
from course_lib.teaching.explorers import explorer, multitask
from course_lib.teaching.explorers.convolution import convolution_explorer, convolution_steps
from course_lib.teaching.explorers.crystal import graph_explorer
from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.teaching.explorers.late_fusion import alpha_explorer, live_alpha
from course_lib.teaching.explorers.layers import Layer, picture
from course_lib.teaching.explorers.learning import learning_explorer
from course_lib.teaching.explorers.line_graph import line_graph_explorer
from course_lib.teaching.explorers.multitask import lambda_explorer, live_lambda, sweep_table
from course_lib.teaching.explorers.training_size import training_size_explorer
from course_lib.teaching.figures.crystals import shells_of
from course_lib.teaching.figures.explorers import plot_neighbor_count, plot_parity_axes
from course_lib.teaching.figures.style import COLORS, METHOD_COLORS
from course_lib.training import FitConfig, fit, predict

HEAVIEST = 2_000_000  # characters that the frames of a page may have; sent compressed, they are a tenth of it
TASKS = {"energy": ("formation energy", "eV/atom"), "gap": ("band gap", "eV")}


def rock_salt() -> Structure:
    """Return the primitive cell of NaCl, lattice constant 5.64 angstrom."""
    fcc = Lattice([[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
    return Structure(fcc, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def fluorite() -> Structure:
    """Return CaF2, whose two kinds of atoms have different neighbourhoods."""
    lattice = Lattice([[0, 2.73, 2.73], [2.73, 0, 2.73], [2.73, 2.73, 0]])
    return Structure(lattice, ["Ca", "F", "F"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


def predictions(n: int = 60) -> tuple[pd.Series, dict[tuple[str, str], pd.DataFrame]]:
    """Return made-up true values, and predictions of two models that remember what they trained on."""
    random = np.random.default_rng(3)
    ids = pd.Index([f"crystal-{k}" for k in range(n)])
    y = pd.Series(random.normal(-1, 1, n), index=ids)
    tables = {}
    for split, source in itertools.product(("random", "formula"), ("training set", "out of fold")):
        known = ids[: 2 * n // 3] if source == "training set" else ids
        size = (0.2 if source == "training set" else 0.6) * (1.5 if split == "formula" else 1)
        errors = random.normal(0, size, (len(known), 2)) * (1.3, 1.0)
        table = pd.DataFrame(y[known].to_numpy()[:, None] + errors, index=known, columns=["random_forest", "cgcnn"])
        tables[split, source] = table.sample(frac=1, random_state=1)  # a training loader shuffles
    return y, tables


def sweep() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a made-up sweep over three weights and two schemes, two folds each, and the single-task runs."""
    errors = {  # energy, gap
        ("fixed", 0.1): [(0.08, 0.36), (0.10, 0.38)],
        ("fixed", 1.0): [(0.09, 0.30), (0.11, 0.32)],
        ("fixed", 10.0): [(0.13, 0.31), (0.15, 0.33)],
        ("inverse_scale", np.nan): [(0.10, 0.28), (0.12, 0.30)],
        ("uncertainty", np.nan): [(0.11, 0.29), (0.13, 0.31)],
    }
    rows = [
        {"scheme": scheme, "lambda": weight, "fold": fold, "seed": 0, "energy": energy, "gap": gap}
        for (scheme, weight), runs in errors.items()
        for fold, (energy, gap) in enumerate(runs)
    ]
    return pd.DataFrame(rows), pd.DataFrame({"energy": [0.09, 0.10], "gap": [0.31, 0.33]})


def trios() -> tuple[pd.Series, pd.DataFrame]:
    """Return three atoms at two distances and four angles, and made-up energies."""
    settings = pd.MultiIndex.from_tuples(itertools.product((2.4, 2.5), (60, 65, 90, 180)))
    energies = pd.DataFrame({"made up": np.linspace(0, 1, 8), "cgcnn": 0.4}, index=settings)
    energies["alignn"] = energies["made up"] + 0.05
    return pd.Series([bent_trio(angle, length) for length, angle in settings], index=settings), energies


def training(n_epochs: int = 3) -> tuple[pd.Series, pd.DataFrame, pd.Series, pd.Series]:
    """Return true values of two formulas with three polymorphs each, and predictions that come nearer by the epoch."""
    ids = pd.Index([f"crystal-{k}" for k in range(6)])
    y = pd.Series([0.0, 0.4, 1.0, -1.0, -0.5, -0.2], index=ids)
    network = pd.DataFrame({epoch: y * epoch / n_epochs for epoch in range(1, n_epochs + 1)})
    return y, network[::-1], pd.Series([0.5] * 3 + [-0.5] * 3, index=ids), pd.Series(["AB"] * 3 + ["CD"] * 3, index=ids)


def growing() -> pd.DataFrame:
    """Return made-up runs with two numbers of training crystals: with few the forest is ahead, with many CGCNN."""
    errors = {50: {"random_forest": 0.4, "cgcnn": 0.6, "late_fusion": 0.39}}
    errors[400] = {"random_forest": 0.3, "cgcnn": 0.2, "late_fusion": 0.19}
    rows = [
        {"method": method, "split": split, "fold": fold, "seed": 0, "n_learned": size + fold % 2}
        | {
            "mae": error * (1 + (split == "formula")) + 0.01 * fold * len(method) / 10,
            "alpha": {50: 0.8, 400: 0.1}[size],
        }
        for size, of_size in errors.items()
        for split in ("random", "formula")
        for method, error in of_size.items()
        for fold in range(3)
    ]
    runs = pd.DataFrame(rows)
    return runs.assign(alpha=runs["alpha"].where(runs["method"] == "late_fusion"))


EXPLORERS = {
    "convolution": lambda: convolution_explorer(np.eye(2), np.ones(1), np.ones((4, 5)), n_edges=6),
    "graph": lambda: graph_explorer(rock_salt()),
    "line graph": lambda: line_graph_explorer(*trios()),
    "learning": lambda: learning_explorer(*training(), ["AB", "CD"]),
    "alpha": lambda: alpha_explorer(*predictions(), unit="eV/atom", stops=5),
    "lambda": lambda: lambda_explorer(*sweep(), TASKS),
    "training size": lambda: training_size_explorer(growing(), "cgcnn"),
}


# --- the general explorer -----------------------------------------------------------------------------------------


def small(frames: dict | None = None, choices: list[Choice] | None = None) -> Explorer:
    choices = choices or [Choice("kind", ("a", "b")), Choice("step", ("0", "1", "2"), 1, slider=True)]
    place = itertools.product(range(2), range(3))
    made = {
        (k, s): Frame(((f"<i>{k}</i>", f"<b>{k}{s}</b>"),), ({"kind": "ab"[k]}, {"step": f"{s}"})) for k, s in place
    }
    return Explorer(choices, made if frames is None else frames)


@pytest.fixture
def follow_links(monkeypatch) -> Callable[[], None]:
    """Return what the browser does: it copies the source of every link to its target."""
    links = []

    def record(source: tuple, target: tuple) -> None:
        links.append((*source, *target))

    def follow() -> None:
        for source, name, target, target_name in links:
            setattr(target, target_name, getattr(source, name))

    monkeypatch.setattr(ipywidgets, "jslink", record)
    return follow


def visible(widget: ipywidgets.Widget) -> list[str]:
    """Return the HTML that a reader sees, in the order of the page."""
    if isinstance(widget, ipywidgets.HTML):
        return [widget.value]
    if hasattr(widget, "selected_index"):
        return visible(widget.children[widget.selected_index])
    return [content for child in getattr(widget, "children", ()) for content in visible(child)]


@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("make", [small, *EXPLORERS.values()], ids=["small", *EXPLORERS])
def test_every_setting_shows_its_own_frame(make, version, follow_links, monkeypatch):
    if version == 7:
        monkeypatch.delattr(ipywidgets, "Stack", raising=False)
    elif not hasattr(ipywidgets, "Stack"):
        pytest.skip("this is ipywidgets 7")
    made = make()
    for place, frame in made.frames.items():
        for control, position in zip(made.controls, place, strict=True):
            control.index = position
        follow_links()
        readout, *layers = visible(made)
        assert layers == [layer for layers in frame.pictures for layer in layers]
        assert re.findall("<strong>(.*?)</strong>", readout) == list(frame.values.values())


def test_a_control_is_off_where_it_makes_no_difference(follow_links):
    made = lambda_explorer(*sweep(), TASKS)
    for scheme, off in enumerate((False, True, True)):
        made.controls[0].index = scheme
        follow_links()
        assert ('data-off="[&quot;λ&quot;]"' in visible(made)[0]) == off


def test_the_readout_has_lines():
    readout, *_ = visible(small())
    assert re.sub("<.*?>", "", readout.replace("<br>", "|")) == "kind a|step 1"


@pytest.mark.skipif(not hasattr(ipywidgets, "Stack"), reason="ipywidgets 7 keeps the frames elsewhere")
def test_equal_content_is_stored_once():
    state = dependency_state([small()])
    contents = [entry["state"]["value"] for entry in state.values() if entry["model_name"] == "HTMLModel"]
    assert len(contents) == len(set(contents)) == 2 + 6 + 6  # lower layers, upper layers, readouts
    assert sum(entry["model_name"] == "LayoutModel" for entry in state.values()) < 12


def weight(made: Explorer) -> int:
    """Return how many characters the explorer adds to a page."""
    return len(json.dumps(dependency_state([made], drop_defaults=False))) + len(made.beside())


@pytest.mark.parametrize("name", EXPLORERS)
def test_explorers_are_light(name):
    assert weight(EXPLORERS[name]()) < HEAVIEST / 4


def test_alpha_explorer_of_two_thousand_crystals_is_light():
    assert weight(alpha_explorer(*predictions(2000), unit="eV/atom")) < HEAVIEST


@pytest.mark.parametrize("name", EXPLORERS)
def test_without_scripts_the_first_frame_and_all_values_are_there(name):
    made = EXPLORERS[name]()
    page = made.beside()
    still = page[page.index("<noscript>") : page.index("</noscript>")]
    for layers in made.default.pictures:
        for layer in layers:
            assert layer in still
    assert re.findall("<strong>(.*?)</strong>", still) == list(made.default.values.values())
    *_, table = pd.read_html(io.StringIO(page), keep_default_na=False, converters=dict.fromkeys(made.table, str))
    pd.testing.assert_frame_equal(table, made.table.astype(object), check_dtype=False)
    for frame in made.frames.values():
        assert (table == pd.Series(frame.values)).all(axis=1).sum() == 1


def test_a_notebook_gets_the_widget_and_what_stands_in_for_it(monkeypatch):
    shown = []
    monkeypatch.setattr(explorer, "display", lambda data, raw=False: shown.append((data, raw)))
    made = small()
    made._ipython_display_()
    (bundle, raw), (html, _) = shown
    assert raw
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == made.model_id
    assert len(bundle["text/plain"]) < 100
    assert html.data == made.beside()


def test_names_and_values_are_escaped():
    frames = {(0,): Frame((), ({"a<b": "<script>x</script>"},))}
    page = Explorer([Choice("a<b", ("1",))], frames).beside()
    assert "<script>x" not in page
    assert "a&lt;b <strong>&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames.pop((1, 2)), r"\(1, 2\) has no frame"),
        (lambda frames: frames.update({(2, 0): frames[0, 0]}), r"\(2, 0\) is not a setting"),
        (
            lambda frames: frames.update({(1, 1): Frame(frames[1, 1].pictures, ({"step": "1"},))}),
            r"\(1, 1\) has the values",
        ),
        (lambda frames: frames.update({(1, 1): Frame((("x",),), frames[1, 1].lines)}), r"\(1, 1\) .* \[1\] layers"),
    ],
)
def test_frames_that_do_not_fit_are_refused(change, message):
    frames = dict(small().frames)
    change(frames)
    with pytest.raises(ValueError, match=message):
        small(frames)


@pytest.mark.parametrize(
    ("choice", "message"),
    [(Choice("kind", ("a", "b"), 2), "default is 2"), (Choice("kind", ("a", "a")), "written the same")],
)
def test_choices_that_do_not_fit_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        small(choices=[choice, small().choices[1]])


# --- pictures and layers ------------------------------------------------------------------------------------------


def pixels(html: str) -> np.ndarray:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def test_a_picture_keeps_its_colours_and_its_place():
    figure = plot_neighbor_count(shells_of(rock_salt(), 0, 40)[:4], 6.0)
    html = picture(figure, 'a "quoted" text')
    assert 'alt="a &quot;quoted&quot; text"' in html
    image = pixels(html)
    width, height = (int(re.search(rf'{name}="(\d+)"', html)[1]) for name in ("width", "height"))
    assert abs(image.shape[1] / image.shape[0] - width / height) < 0.01
    for color in COLORS[:4]:  # the marks of the four shells
        assert np.abs(image - 255 * np.array(to_rgb(color))).max(2).min() < 20


def test_an_empty_alt_text_is_refused():
    figure = plot_parity_axes((0, 1), "eV")
    with pytest.raises(ValueError, match="alt is empty"):
        picture(figure, " ")
    with pytest.raises(ValueError, match="alt is empty"):
        Layer(figure).html("")


def dots_in(svg: str) -> np.ndarray:
    """Return where the dots of a layer are, in the coordinates of its viewBox."""
    path = re.search(r'<path transform="scale\(.5\)" d="([^"]+)"', svg)[1]
    steps = [[int(number) for number in re.findall(r"-?\d+", step)] for step in path.split("h0") if step]
    return np.cumsum(steps, axis=0) / 2


def test_a_layer_lies_where_matplotlib_draws():
    """Dots of a layer are compared with the pixels that matplotlib darkens for the same points."""
    x, y = np.array([0.2, 0.5, 0.9]), np.array([0.7, 0.1, 0.3])
    figure = plot_parity_axes((0, 1), "eV")
    svg = Layer(figure).dots(figure.axes[0], x, y, "red").html("three dots")
    before = pixels(picture(figure, "empty"))
    figure.axes[0].plot(x, y, "o", color="red", markersize=4)
    red = np.abs(pixels(picture(figure, "dots")) - before).sum(2) > 300
    scale = before.shape[1] / float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    places = dots_in(svg) * scale
    assert len(places) == 3
    for column, row in places:
        rows, columns = np.nonzero(red[round(row) - 9 : round(row) + 10, round(column) - 9 : round(column) + 10])
        assert abs(rows.mean() - 9) < 1.5
        assert abs(columns.mean() - 9) < 1.5


def test_dots_are_small_and_all_there():
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 1, (2, 1000))
    figure = plot_parity_axes((0, 1), "eV")
    svg = Layer(figure).dots(figure.axes[0], x, y, "red").html("dots")
    assert len(svg) < 9_500
    expected = Layer(figure)._place(figure.axes[0], x, y)
    found = dots_in(svg)
    np.testing.assert_allclose(
        found[np.lexsort(found.T)], np.round(2 * expected)[np.lexsort(np.round(2 * expected).T)] / 2
    )


# --- graph explorer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("structure", "site"), [(rock_salt(), 0), (fluorite(), 0), (fluorite(), 1)])
def test_graph_explorer_counts_what_pymatgen_finds(structure, site):
    made = graph_explorer(structure, site)
    element = structure[site].specie.symbol
    for option, (_, frame) in zip(made.choices[0].options, made.frames.items(), strict=True):
        cutoff = float(option.removesuffix(" Å"))
        around = [structure.get_neighbors(atom, cutoff) for atom in structure]
        assert frame.values[f"neighbours of {element}"] == f"{len(around[site])}"
        assert frame.values["edges in the cell"] == f"{sum(map(len, around))}"
        listed = re.findall(r"(\d+) [A-Z]", frame.values["shells"])
        assert sum(map(int, listed)) == len(around[site])


def test_graph_explorer_of_rock_salt():
    made = graph_explorer(rock_salt(), cutoffs=[2.0, 2.9, 4.0])
    assert [frame.values["neighbours of Na"] for frame in made.frames.values()] == ["0", "6", "18"]
    assert [frame.values["shells"] for frame in made.frames.values()] == [
        "none",
        "6 Cl at 2.82 Å",
        "6 Cl at 2.82 Å; 12 Na at 3.99 Å",
    ]
    assert made.default.values["neighbours of Na"] == "18"  # the first cutoff that takes in twelve


def test_graph_explorer_marks_the_cutoff():
    made = graph_explorer(rock_salt(), cutoffs=[3.0, 4.5, 6.0])
    lines = [re.search(r'd="M([\d.]+)', frame.pictures[1][1])[1] for frame in made.frames.values()]
    first, second, third = map(float, lines)
    assert third - second == pytest.approx(second - first, abs=0.2)
    radii = [float(re.search(r' r="([\d.]+)"', frame.pictures[0][1])[1]) for frame in made.frames.values()]
    assert np.allclose(np.array(radii) / radii[0], [1, 1.5, 2], atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": 2}, "site is 2"),
        ({"site": True}, "site is True, not a whole number"),
        ({"site": 0.5}, "site is 0.5, not a whole number"),
        ({"cutoffs": [3.0, 2.0]}, "ascending"),
        ({"cutoffs": []}, "ascending"),
        ({"cutoffs": [float("nan")]}, "a number of cutoffs is nan"),
        ({"cutoffs": [3.0, float("inf")]}, "a number of cutoffs is inf"),
        ({"cutoffs": [-1.0, 3.0]}, "a number of cutoffs is -1.0; it must be more than 0"),
        ({"cutoffs": [1.0, 2.0]}, "takes in no neighbour"),
    ],
)
def test_graph_explorer_refuses_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        graph_explorer(rock_salt(), **arguments)


# --- line-graph explorer ------------------------------------------------------------------------------------------


def test_line_graph_explorer_tells_angle_pairs_and_predictions():
    structures, energies = trios()
    made = line_graph_explorer(structures, energies)
    for (length, angle), frame in zip(structures.index, made.frames.values(), strict=True):
        values = frame.values
        assert (values["S–Zn"], values["θ"]) == (f"{length} Å", f"{angle}°")
        near = angle < 70  # sulfur and selenium have an edge, too
        assert (values["edges"], values["pairs"]) == (("6", "12") if near else ("4", "6"))
        assert float(values["cos θ"].replace("−", "-")) == pytest.approx(np.cos(np.radians(angle)), abs=0.006)
        assert number(values["CGCNN"]) == 0.4
        assert number(values["ALIGNN (small)"]) == pytest.approx(energies.loc[(length, angle), "alignn"], abs=6e-4)


def test_line_graph_explorer_moves_one_atom_and_the_marks():
    structures, energies = trios()
    frames = list(line_graph_explorer(structures, energies).frames.values())
    moving, middle, fixed = zip(
        *(re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', f.pictures[0][1]) for f in frames), strict=True
    )
    assert len(set(moving)) == len(frames)
    assert len(set(middle)) == len(set(fixed)) == 1
    marks = [re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', frame.pictures[1][1]) for frame in frames]
    for rank, name in enumerate(("cgcnn", "alignn")):
        assert_linear(energies.index.get_level_values(1).tolist(), [float(mark[rank][0]) for mark in marks])
        if name == "alignn":
            assert_linear(energies[name].tolist(), [float(mark[rank][1]) for mark in marks])


def test_line_graph_explorer_is_dark_at_the_cosine():
    made = line_graph_explorer(*trios())
    for frame in made.frames.values():
        cells = re.findall(r'<rect x="(\d+)" width="1" height="1" fill-opacity="([\d.]+)"', frame.pictures[0][1])
        darkest, _ = max(cells, key=lambda cell: float(cell[1]))
        assert -1 + 2 * int(darkest) / 39 == pytest.approx(float(frame.values["cos θ"].replace("−", "-")), abs=0.03)


def test_line_graph_explorer_refuses_bad_input():
    structures, energies = trios()
    with pytest.raises(ValueError, match=r"\(2.4, 60\) has 2 atoms"):
        line_graph_explorer(structures.map(lambda _: rock_salt()), energies)
    with pytest.raises(ValueError, match="different indices"):
        line_graph_explorer(structures, energies.iloc[::-1])


# --- learning curves ----------------------------------------------------------------------------------------------


def test_training_size_explorer_tells_who_is_ahead_and_how_surely():
    runs = growing()
    made = training_size_explorer(runs, "cgcnn")
    few, many = made.frames[1, 0].values, made.frames[1, 1].values
    assert (few["folds"], few["training crystals"], many["training crystals"]) == ("formula", "50", "400")
    assert few["smallest error"] == many["smallest error"] == "late fusion"
    assert (few["α, mean over the folds"], many["α, mean over the folds"]) == ("0.80", "0.10")
    of_few = runs[(runs["n_learned"] < 60) & (runs["split"] == "formula")]
    level = 1 - 0.05 / 8  # two methods, sizes and kinds of folds
    expected = summarize_differences(of_few, "cgcnn", level).loc[("formula", "random_forest")]
    said = few["random forest − CGCNN"].replace("−", "-")
    assert [float(x) for x in re.findall(r"[-+][\d.]+", said)] == pytest.approx(expected.tolist(), abs=6e-4)
    assert number(few["CGCNN"]) == pytest.approx(of_few.query("method == 'cgcnn'")["mae"].mean(), abs=6e-4)


def test_training_size_explorer_marks_errors_and_intervals():
    made = training_size_explorer(growing(), "cgcnn")
    along, differences = (layers[1] for layers in made.frames[0, 1].pictures)
    assert [along.count(f'fill="{METHOD_COLORS[name]}"') for name in ("random_forest", "cgcnn", "late_fusion")] == [
        1
    ] * 3
    assert differences.count("<circle") == differences.count("<path") == 2
    left, right = ([float(x) for x in re.findall(r'cx="([-\d.]+)"', layer)] for layer in (along, differences))
    assert len(set(left)) == 1, "at the chosen size"
    assert right[1] < right[0], "late fusion is better than the forest"


def test_training_size_explorer_refuses_bad_input():
    runs = growing()
    with pytest.raises(ValueError, match="no runs of 'alignn'"):
        training_size_explorer(runs, "alignn")
    with pytest.raises(ValueError, match="no formula runs with 400 training crystals"):
        training_size_explorer(runs[(runs["split"] == "random") | (runs["n_learned"] < 60)], "cgcnn")


# --- a training run -----------------------------------------------------------------------------------------------


def test_learning_explorer_tells_how_far_apart_polymorphs_are():
    made = learning_explorer(*training(), ["AB", "CD"])
    for (formula, column), frame in made.frames.items():
        true = (1.0, 0.8)[formula]
        assert number(frame.values["spread, true"]) == pytest.approx(true)
        assert number(frame.values["spread, CGCNN"]) == pytest.approx(true * (column + 1) / 3, abs=6e-4)
        assert number(frame.values["spread, random forest"]) == 0
        assert frame.values["polymorphs"] == "3"


def test_learning_explorer_marks_the_polymorphs():
    y, network, *rest = training()
    made = learning_explorer(y, network, *rest, ["CD"])
    marks = {
        epoch: [re.findall(r'<circle cx="([-\d.]+)" cy="([-\d.]+)"', layers[1]) for layers in frame.pictures]
        for epoch, frame in zip(network, made.frames.values(), strict=True)
    }
    true = [-1.0, -0.5, -0.2]
    for epoch, (moving, still) in marks.items():
        assert_linear(true, [float(x) for x, _ in moving])
        assert_linear(true, [float(place) for _, place in moving] if epoch == 3 else [float(x) for x, _ in still])
        assert len({place for _, place in still}) == 1, "the forest's are on a line"
    heights = [np.ptp([float(place) for _, place in moving]) for moving, _ in marks.values()]
    assert heights[0] < heights[1] < heights[2]


def test_learning_explorer_refuses_bad_input():
    y, network, forest, formulas = training()
    with pytest.raises(ValueError, match="forest and y have different crystals"):
        learning_explorer(y, network, forest.iloc[1:], formulas, ["AB"])
    with pytest.raises(ValueError, match="EF has 0 polymorphs"):
        learning_explorer(y, network, forest, formulas, ["EF"])


# --- alpha explorer -----------------------------------------------------------------------------------------------


def number(text: str) -> float:
    return float(text.split()[0])


def near(errors: np.ndarray) -> object:
    """Return what the mean absolute error must be, as written with three digits."""
    return pytest.approx(np.abs(errors).mean(), abs=6e-4)


def test_alpha_explorer_tells_the_errors_of_the_blend():
    y, tables = predictions()
    made = alpha_explorer(y, tables, unit="eV/atom", stops=11)
    assert len(made.frames) == 2 * 2 * 11
    errors = {key: table.sub(y[table.index], axis=0).to_numpy() for key, table in tables.items()}
    grid = np.linspace(0, 1, 1001)[:, None]
    least = {key: np.abs(grid * error[:, 0] + (1 - grid) * error[:, 1]).mean(1).min() for key, error in errors.items()}
    for frame in made.frames.values():
        values = frame.values
        forest, network = errors[values["folds"], values["predictions"]].T
        alpha = float(values["α"])
        assert number(values["error of the blend"]) == near(alpha * forest + (1 - alpha) * network)
        assert number(values["random forest alone"]) == near(forest)
        assert number(values["CGCNN alone"]) == near(network)
        assert number(values["smallest"]) == pytest.approx(least[values["folds"], values["predictions"]], abs=6e-4)


def test_alpha_explorer_reaches_every_hundredth():
    y, tables = predictions(400)
    made = alpha_explorer(y, tables)
    assert made.choices[-1].options == tuple(f"{k / 100:.2f}" for k in range(101))
    errors = [float(made.frames[0, 1, stop].values["above the smallest"]) for stop in range(101)]
    best = float(made.frames[0, 1, 0].values["smallest"].partition("α = ")[2])
    assert abs(int(np.argmin(errors)) / 100 - best) < 0.02
    assert min(errors) < 2e-4


def test_clouds_say_how_many_crystals_they_show():
    y, tables = predictions(400)
    _, *clouds = alpha_explorer(y, tables).frames[0, 1, 0].pictures
    for _, cloud in clouds:
        shown, of = map(int, re.search(r"(\d+) of (\d+) crystals", cloud).groups())
        assert (len(dots_in(cloud)), 400) == (shown, of)
        assert 50 < shown < 150


def test_alpha_explorer_gives_methods_their_colours():
    curve, blended, *alone = alpha_explorer(*predictions(), stops=3).frames[0, 1, 1].pictures
    assert METHOD_COLORS["late_fusion"] in curve[1]
    for method, (_, cloud) in zip(("late_fusion", "cgcnn", "random_forest"), (blended, *alone), strict=True):
        assert f'stroke="{METHOD_COLORS[method]}"' in cloud


def test_alpha_explorer_draws_each_crystal_at_its_true_value():
    """The predictions come in another order than the true values; a mix-up would spread the dots."""
    y, tables = predictions()
    perfect = {
        key: table.assign(random_forest=y[table.index], cgcnn=y[table.index] + 1) for key, table in tables.items()
    }
    made = alpha_explorer(y, perfect, stops=2)
    forest = dots_in(made.frames[0, 1, 1].pictures[1][1])
    network = dots_in(made.frames[0, 1, 0].pictures[1][1])
    assert len(forest) == len(y)
    slope, offset = np.polyfit(*forest.T, 1)
    assert np.abs(forest[:, 1] - slope * forest[:, 0] - offset).max() < 1  # all on the diagonal
    assert np.allclose(network[:, 0], forest[:, 0])
    assert np.ptp(network[:, 1] - forest[:, 1]) <= 1  # all one electronvolt above it
    assert (network[:, 1] < forest[:, 1]).all()


def circle_in(svg: str) -> tuple[float, float]:
    """Return the middle of the circle in a layer."""
    return tuple(float(re.search(rf' {name}="([-\d.]+)"', svg)[1]) for name in ("cx", "cy"))


def assert_linear(values: list[float], places: list[float]) -> None:
    """Check that places on the page go with values, as on a linear axis."""
    slope, offset = np.polyfit(values, places, 1)
    assert abs(slope) * np.ptp(values) > 20
    assert np.abs(np.array(places) - slope * np.array(values) - offset).max() < 0.5


def test_alpha_explorer_marks_alpha_and_its_error():
    made = alpha_explorer(*predictions(), unit="eV/atom", stops=5)
    frames = list(made.frames.values())
    alphas = [float(frame.values["α"]) for frame in frames]
    marks = [circle_in(frame.pictures[0][1]) for frame in frames]
    assert_linear(alphas, [x for x, _ in marks])
    assert_linear([number(frame.values["error of the blend"]) for frame in frames], [y for _, y in marks])
    for frame in frames:
        assert f"α = {frame.values['α']}" in frame.pictures[0][1]
        assert f"blend, α = {frame.values['α']}" in frame.pictures[1][1]


def test_alpha_explorer_refuses_bad_input():
    y, tables = predictions()
    with pytest.raises(ValueError, match="predictions for \\('formula', 'out of fold'\\) are missing"):
        alpha_explorer(y, {key: table for key, table in tables.items() if key != ("formula", "out of fold")})
    with pytest.raises(ValueError, match="give exactly two models"):
        alpha_explorer(y, {key: table[["cgcnn"]] for key, table in tables.items()})
    with pytest.raises(ValueError, match="'crystal-0', which has no true value"):
        alpha_explorer(y.iloc[1:], tables)
    for stops in (1, 2.5, True):
        with pytest.raises(ValueError, match=f"stops is {stops}"):
            alpha_explorer(y, tables, stops=stops)


def test_live_alpha_shows_any_alpha():
    y, tables = predictions()
    table = tables["random", "out of fold"]
    live = live_alpha(y, table["random_forest"], table["cgcnn"], "eV/atom")
    slider, shown = live.children[0].children
    slider.value = 0.123
    error = (0.123 * table["random_forest"] + 0.877 * table["cgcnn"] - y[table.index]).abs().mean()
    assert f"error of the blend <strong>{error:.3f} eV/atom</strong>" in shown.value
    assert "α <strong>0.123</strong>" in shown.value


def test_what_needs_a_kernel_says_so_elsewhere():
    y, tables = predictions()
    table = tables["random", "out of fold"]
    working, instead = live_alpha(y, table["random_forest"], table["cgcnn"]).children
    assert "needs-kernel" in working._dom_classes
    assert "without-kernel" in instead._dom_classes
    assert instead.layout.display == "none"


# --- lambda explorer ----------------------------------------------------------------------------------------------


def test_lambda_explorer_tells_errors_spread_and_front():
    made = lambda_explorer(*sweep(), TASKS)
    table = made.table.set_index(["weights", "λ"])
    assert len(table) == 3 + 2
    assert table.loc[("fixed λ", "1"), "formation energy"] == "0.100 ± 0.014 eV/atom"
    assert table.loc[("fixed λ", "1"), "band gap"] == "0.310 ± 0.014 eV"
    assert set(table["formation energy, single-task"]) == {"0.095 ± 0.007 eV/atom"}
    assert set(table["±"]) == {"standard deviation of 2 runs"}
    assert table["on the trade-off front"].to_dict() == {
        ("fixed λ", "0.1"): "yes",
        ("fixed λ", "1"): "yes",
        ("fixed λ", "10"): "no",
        ("inverse scale", "set by the scheme"): "yes",
        ("uncertainty", "set by the scheme"): "no",
    }


def test_lambda_explorer_marks_what_is_chosen():
    made = lambda_explorer(*sweep(), TASKS)
    frames = [made.frames[place] for place in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0))]
    rings = [circle_in(frame.pictures[1][1]) for frame in frames]
    *_, (width, _) = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', frames[2].pictures[1][1])
    assert rings.pop(2)[0] == pytest.approx(float(width) * (1 - 0.2 / 3.6), abs=1), "half as much again: at the edge"
    near = frames[:2] + frames[3:]
    assert_linear([number(frame.values["formation energy"]) for frame in near], [x for x, _ in rings])
    assert_linear(
        [number(frame.values["band gap"]) for frame in near if number(frame.values["band gap"]) < 0.35],
        [y for frame, (_, y) in zip(near, rings, strict=True) if number(frame.values["band gap"]) < 0.35],
    )
    along = [circle_in(frame.pictures[0][1]) for frame in frames[:3]]
    assert_linear([-1, 0, 1], [x for x, _ in along])
    assert_linear([number(frame.values["formation energy"]) for frame in frames[:3]], [y for _, y in along])


def test_lambda_explorer_without_other_schemes():
    runs, single = sweep()
    made = lambda_explorer(runs[runs["scheme"] == "fixed"], single, TASKS)
    assert made.choices[0].options == ("fixed λ",)
    assert len(made.frames) == 3


def test_sweep_table_joins_the_tasks_of_a_run():
    weights = [(1.0, 0.5), "uncertainty"]
    runs = [
        {"fold": fold, "seed": 0, "settings": {"task_weights": weight}, "target": target, "mae": 10 * fold + k + j / 10}
        for (k, weight), fold, (j, target) in itertools.product(
            enumerate(weights), range(2), enumerate(("gap", "energy"))
        )
    ]
    table = sweep_table(pd.DataFrame(runs).sample(frac=1, random_state=0)).set_index(["scheme", "fold"]).sort_index()
    assert table.loc[("fixed", 1), ["lambda", "gap", "energy"]].tolist() == [0.5, 10.0, 10.1]
    assert table.loc[("uncertainty", 1), ["gap", "energy"]].tolist() == [11.0, 11.1]
    assert table.loc["uncertainty", "lambda"].isna().all()


@pytest.mark.parametrize(
    ("change", "tasks", "message"),
    [
        (lambda runs: runs.drop(columns="gap"), TASKS, "sweep has no column 'gap'"),
        (lambda runs: runs.assign(scheme="magic"), TASKS, "scheme 'magic' is unknown"),
        (lambda runs: runs[runs["scheme"] != "fixed"], TASKS, "no run has the scheme 'fixed'"),
        (lambda runs: runs.assign(**{"lambda": 0.0}), TASKS, "row 0 of sweep has lambda 0.0"),
        (lambda runs: runs, {"gap": ("band gap", "eV")}, "names 1 task"),
    ],
)
def test_lambda_explorer_refuses_bad_input(change, tasks, message):
    runs, single = sweep()
    with pytest.raises(ValueError, match=message):
        lambda_explorer(change(runs), single, tasks)


def test_live_lambda_trains_with_the_chosen_weight(monkeypatch, capfd):
    graphs = bundled_graphs(24)
    y = graphs.targets[:, 0]
    graphs = replace(graphs, y=np.stack([y, -y], axis=1), target_names=("energy", "gap"))
    parts = tuple(graphs.subset(np.arange(start, start + 8)) for start in (0, 8, 16))
    results = []

    def spy(model, train, val, config):
        results.append((fit(model, train, val, config), config))
        return results[-1][0]

    monkeypatch.setattr(multitask, "fit", spy)
    config = FitConfig(epochs=2, batch_size=4)
    live = live_lambda(lambda: CGCNN(n_targets=2), parts, *sweep(), TASKS, config)
    controls, _, shown = live.children[0].children
    slider, button = controls.children
    slider.value = 10**0.5
    button.click()
    assert "Epoch" in "".join(capfd.readouterr())  # the progress bar, which is in the page where there is a kernel
    ((result, used),) = results
    assert used == replace(config, task_weights=(1.0, 10**0.5), progress=True)
    error = np.abs(predict(result.model, parts[2]).to_numpy() - parts[2].targets).mean(0)
    assert f"formation energy <strong>{error[0]:.3f} eV/atom</strong>" in shown.value
    assert f"band gap <strong>{error[1]:.3f} eV</strong>" in shown.value
    assert "your λ <strong>3.16</strong>" in shown.value
    assert not button.disabled


def test_live_lambda_refuses_other_targets():
    graphs = bundled_graphs(24)
    with pytest.raises(ValueError, match="they must be \\('energy', 'gap'\\)"):
        live_lambda(CGCNN, (graphs, graphs, graphs), *sweep(), TASKS)


# --- one convolution ----------------------------------------------------------------------------------------------


def test_convolution_explorer_ends_where_the_layer_does():
    """The last step of both atoms, against the library's layer; the steps before by its parts."""
    random = np.random.default_rng(0)
    x, e, w = random.normal(size=(2, 3)), random.normal(size=2), random.normal(size=(6, 8))
    layer = CGCNNConv(3, 2).double().eval()
    for norm in (layer.message_norm, layer.sum_norm):
        norm.eps = 0.0
    with torch.no_grad():
        layer.linear.weight.copy_(torch.from_numpy(w))
        layer.linear.bias.zero_()
        bonds, weight = torch.tensor([[1, 0], [0, 1]]), torch.full((2,), 4.0).double()
        expected = layer(torch.from_numpy(x), bonds, weight, torch.from_numpy(np.stack([e, e])))
    made = convolution_explorer(x, e, w, n_edges=4)
    for atom in range(2):
        steps = convolution_steps(x, e, w, 4, atom)
        np.testing.assert_allclose(steps[-1], expected[atom])
        last = made.frames[atom, len(steps) - 1]
        numbers = [float(number.replace("−", "-")) for number in re.findall(r"[−\d.]+", last.values["result"])]
        np.testing.assert_allclose(numbers, expected[atom], atol=1e-3)


def test_convolution_explorer_reveals_one_step_after_the_other():
    made = convolution_explorer(np.eye(2), np.ones(1), np.ones((4, 5)), n_edges=6)
    for (_, step), frame in made.frames.items():
        ((table,),) = frame.pictures
        assert table.count('aria-hidden="true"') == 6 - step
        assert table.count("<b>") == 2


def test_convolution_explorer_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"W \(4, 4\); with 1 numbers per edge they must be \(2, F\) and \(2F, 2F"):
        convolution_explorer(np.eye(2), np.ones(1), np.ones((4, 4)), n_edges=6)
    for n_edges in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"n_edges is {n_edges}"):
            convolution_explorer(np.eye(2), np.ones(1), np.ones((4, 5)), n_edges=n_edges)
