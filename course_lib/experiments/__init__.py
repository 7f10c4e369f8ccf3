"""Compare methods: the same folds for all, several seeds, every run recorded; then what the records say.

`runs` trains and records, `analysis` compares, `methods` lists what is compared. One command reproduces what stands
under ``data/results``; killed and started again, it goes on where it was::

    python -m course_lib.experiments
"""

from course_lib.experiments.analysis import (
    corrected_interval,
    errors_by_crystal,
    level_and_difference_errors,
    negative_transfer,
    paired_differences,
    pareto_front,
    summarize_differences,
    task_correlation,
    training_set_size,
    with_late_fusion,
)
from course_lib.experiments.methods import (
    COMPARED,
    KINDS,
    LABELS,
    LATE_FUSION,
    METHODS,
    PARENTS,
    TUNED_AS,
    TWINS,
    Method,
)
from course_lib.experiments.runs import STUDIES, Run, load_results, run_study

__all__ = [
    "COMPARED",
    "KINDS",
    "LABELS",
    "LATE_FUSION",
    "METHODS",
    "PARENTS",
    "STUDIES",
    "TUNED_AS",
    "TWINS",
    "Method",
    "Run",
    "corrected_interval",
    "errors_by_crystal",
    "level_and_difference_errors",
    "load_results",
    "negative_transfer",
    "paired_differences",
    "pareto_front",
    "run_study",
    "summarize_differences",
    "task_correlation",
    "training_set_size",
    "with_late_fusion",
]
