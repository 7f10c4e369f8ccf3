"""One graph convolution, step by step, on numbers that a reader can check."""

from __future__ import annotations

from html import escape

import numpy as np

from course_lib.teaching.explorers.explorer import Choice, Explorer, Frame
from course_lib.validation import check_number

STEPS = (
    "two vectors and the edge, concatenated",
    "times W",
    "gate: σ of the first half",
    "core: softplus of the second half",
    "message: gate times core",
    "sum over all edges",
    "new vector: softplus of old plus sum",
)
"""The steps, in this order."""


def convolution_explorer(x: np.ndarray, e: np.ndarray, weight: np.ndarray, n_edges: int) -> Explorer:
    """Let the reader step through one convolution of CGCNN without batch norms, on a crystal of two atoms.

    Parameters
    ----------
    x : array, shape (2, F)
        The vectors of the two atoms.
    e : array, shape (K,)
        Features of each edge between them.
    weight : array, shape (2F, 2F + K)
        The matrix W.
    n_edges : int
        Number of equal edges that each atom receives from the other.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If the shapes do not match, or there is no edge.
    """
    check_number("n_edges", n_edges, whole=True, least=1)
    x, e, weight = (np.asarray(values, dtype=float) for values in (x, e, weight))
    n_features = x.shape[-1]
    if x.shape != (2, n_features) or weight.shape != (2 * n_features, 2 * n_features + len(e)):
        raise ValueError(
            f"x has the shape {x.shape} and W {weight.shape}; with {len(e)} numbers per edge they must be (2, F) and "
            f"(2F, 2F + {len(e)})."
        )
    frames = {}
    for atom in range(2):
        results = convolution_steps(x, e, weight, n_edges, atom)
        for step, name in enumerate(STEPS):
            settings = {"atom that receives": str(atom), "step": f"{step + 1}. {name}"}
            frames[atom, step] = Frame(((_table(results, step),),), (settings, {"result": _written(results[step])}))
    choices = [
        Choice("atom that receives", ("0", "1")),
        Choice("step", tuple(f"{step + 1}. {name}" for step, name in enumerate(STEPS)), slider=True),
    ]
    return Explorer(choices, frames)


def convolution_steps(
    x: np.ndarray, e: np.ndarray, weight: np.ndarray, n_edges: int, atom: int
) -> tuple[np.ndarray, ...]:
    """Return the result of each of `STEPS` for one of the two atoms; arguments as for `convolution_explorer`."""
    joined = np.concatenate([x[atom], x[1 - atom], e])
    z = weight @ joined
    u, v = np.split(z, 2)
    gate, core = 1 / (1 + np.exp(-u)), np.log1p(np.exp(v))
    total = n_edges * gate * core
    return joined, z, gate, core, gate * core, total, np.log1p(np.exp(x[atom] + total))


def _written(numbers: np.ndarray) -> str:
    return "[" + ", ".join(f"{number:.3f}" for number in numbers).replace("-", "−") + "]"


def _table(results: tuple[np.ndarray, ...], current: int) -> str:
    """Return the steps up to the current one as an HTML table; the others keep their place and are not shown."""
    rows = []
    for step, (name, numbers) in enumerate(zip(STEPS, results, strict=True)):
        hidden = ' style="visibility: hidden" aria-hidden="true"' if step > current else ""
        mark = ("<b>", "</b>") if step == current else ("", "")
        rows.append(
            f'<tr{hidden}><th scope="row" style="text-align: left; font-weight: normal">'
            f"{mark[0]}{escape(name)}{mark[1]}</th><td>{mark[0]}{_written(numbers)}{mark[1]}</td></tr>"
        )
    heading = '<tr><th scope="col" style="text-align: left">step</th><th scope="col">numbers</th></tr>'
    return f'<table class="explorer-steps">{heading}{"".join(rows)}</table>'
