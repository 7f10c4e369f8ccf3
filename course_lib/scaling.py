"""Mean and spread of targets, in whatever unit and on whatever offset they are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_lib.validation import describe_row

_ROUNDING = 1e3 * np.finfo(float).eps  # of the largest label; a smaller spread has no digits that count


def mean_and_std(
    targets: np.ndarray, names: Sequence[str] = ("target",), ids: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each target, in double precision.

    Parameters
    ----------
    targets : array of float, shape (B, n_targets)
        NaN where a label is missing.
    names : sequence of str, length n_targets
        What a message calls the targets.
    ids : sequence of str, length B, optional
        Name of each row.

    Returns
    -------
    mean, std : arrays of float64, shape (n_targets,)
        The standard deviation of a target that does not vary, or has no label, is 1.

    Raises
    ------
    ValueError
        If labels differ by little more than the rounding error of numbers of their size.
    """
    targets = np.asarray(targets, dtype=float)
    known = ~np.isnan(targets)
    count = np.maximum(known.sum(axis=0), 1)
    size = np.where(known, np.abs(targets), 0.0).max(axis=0)
    in_size = np.where(known, targets, 0.0) / np.where(size > 0, size, 1.0)  # squares neither overflow nor vanish
    mean = in_size.sum(axis=0) / count
    off = np.where(known, in_size - mean, 0.0)
    largest = np.abs(off).max(axis=0)
    std = largest * np.sqrt(np.square(off / np.where(largest > 0, largest, 1.0)).sum(axis=0) / count)
    constant = np.where(known, targets, -np.inf).max(axis=0) == np.where(known, targets, np.inf).min(axis=0)
    lost = ~constant & (std < _ROUNDING) & known.any(axis=0)
    if lost.any():
        column = int(np.argmax(lost))
        row = int(np.argmax(known[:, column]))
        raise ValueError(
            f"{names[column]}: the labels differ by {std[column] * size[column]:.2g}, which is lost in rounding next "
            f"to labels such as {targets[row, column]!r} in {describe_row(row, ids)}. Subtract a number from all "
            "labels where they are computed."
        )
    return mean * size, np.where(constant | (std == 0), 1.0, std * size)
