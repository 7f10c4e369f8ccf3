"""Results of Predict boxes: names that belong to a box, and HTML that a guess cannot break."""

import re
from pathlib import Path

from course_lib.teaching.predictions import measured

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.py"))
BOX = re.compile(r"<!-- predict: (.+?) -->")
RESULT = re.compile(r'measured\(\s*"([^"]+)"')


def test_the_result_is_marked_with_the_name_of_its_prediction():
    html = measured("radius", "26 < 30 neighbours").data
    assert 'data-prediction="radius"' in html
    assert "26 &lt; 30 neighbours" in html


def test_every_notebook_and_exercise_asks_for_a_prediction():
    lessons = [path for path in NOTEBOOKS if re.match(r"\d|ex\d", path.name)]
    assert len(lessons) >= 20
    assert [path.name for path in lessons if not BOX.search(path.read_text(encoding="utf-8"))] == []


def test_every_box_is_a_form_and_has_its_result_below():
    """Its name is its own on the page, and it has two choices or more."""
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        boxes = {}
        for box in BOX.finditer(text):
            name, *choices = (field.strip() for field in box[1].split(";"))
            assert name not in boxes, f"{notebook.name}: two boxes are called {name}"
            assert len(choices) > 1, f"{notebook.name}: {name} gives no choice"
            assert len(set(choices)) == len(choices)
            boxes[name] = box.start()
        assert len(boxes) >= text.count("> **Predict.**"), f"{notebook.name}: a box is no form"
        results = {result[1]: result.start() for result in RESULT.finditer(text)}
        assert results.keys() == boxes.keys(), f"{notebook.name}: {results.keys() ^ boxes.keys()}"
        assert all(boxes[name] < results[name] for name in boxes), f"{notebook.name}: a result stands above its box"
