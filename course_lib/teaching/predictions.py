"""The measured result of a prediction, next to the reader's guess that the page keeps."""

from __future__ import annotations

from html import escape

from IPython.display import HTML


def measured(prediction: str, result: str) -> HTML:
    """Display the result of a *Predict* box.

    On the website the reader's guess is shown before it (``pages/_static/predictions.js``).

    Parameters
    ----------
    prediction : str
        Its name, as in the comment of the box: ``<!-- predict: NAME; choice; choice -->``.
    result : str
        What was measured, with its unit.

    Returns
    -------
    IPython.display.HTML
    """
    return HTML(
        f'<p class="measured" data-prediction="{escape(prediction)}"><span class="guess"></span>'
        f"Measured: <strong>{escape(result)}</strong></p>"
    )
