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


def test_every_result_belongs_to_a_box_above_it():
    """And every comment has a name of its own on its page, and two choices or none."""
    found = 0
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        boxes = {}
        for box in BOX.finditer(text):
            name, *choices = (field.strip() for field in box[1].split(";"))
            assert name not in boxes, f"{notebook.name}: two boxes are called {name}"
            assert len(choices) != 1, f"{notebook.name}: {name} has a single choice"
            assert len(set(choices)) == len(choices)
            boxes[name] = box.start()
            found += 1
        for result in RESULT.finditer(text):
            assert boxes.get(result[1], len(text)) < result.start(), f"{notebook.name}: no box above {result[1]}"
    assert found >= 5
