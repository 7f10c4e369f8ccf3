"""Files that went wrong on their way, for tests with hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

_ODD = st.sampled_from([*".?,;:'\"#_/-+()[]{}0159eExyzNaClV \t\n\r", "nan", "-inf", "1e999", "\ufeff", "−", "½"])


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """Cut, repeat, swap or overwrite pieces of a text."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        kind = draw(st.sampled_from(["cut", "repeat", "overwrite", "insert", "end"]))
        if kind == "end":
            text = text[:start]
        elif kind == "cut":
            text = text[:start] + text[end:]
        elif kind == "repeat":
            text = text[:end] + text[start:]
        else:
            text = text[:start] + draw(_ODD) + text[start + (kind == "overwrite") :]
    return text
