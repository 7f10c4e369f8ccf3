"""Checkers of the exercises: each looks at an answer and says what it shows, or gives a hint that leads on."""

from course_lib.exercises.feature_dimensions import (
    check_conclusions,
    check_dimensions,
    check_shown_better,
    check_variants,
)
from course_lib.exercises.feedback import Feedback
from course_lib.exercises.reading_alpha import (
    check_alpha_statements,
    check_best_alpha,
    check_blended_prediction,
    check_error_correlation,
)

__all__ = [
    "Feedback",
    "check_alpha_statements",
    "check_best_alpha",
    "check_blended_prediction",
    "check_conclusions",
    "check_dimensions",
    "check_error_correlation",
    "check_shown_better",
    "check_variants",
]
