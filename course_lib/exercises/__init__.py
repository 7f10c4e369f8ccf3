"""Checkers of the exercises: each looks at an answer and says what it shows, or gives a hint that leads on."""

from course_lib.exercises.attention import (
    check_attention_weights,
    check_culprits,
    check_dependence_test,
    check_fuse,
    check_mended_attention,
)
from course_lib.exercises.block_importance import (
    check_importance,
    check_importance_statements,
    check_shapley,
    check_shuffled,
)
from course_lib.exercises.choosing import (
    check_campaign_days,
    check_choices,
    check_contenders,
    check_worth_considering,
)
from course_lib.exercises.feature_dimensions import (
    check_conclusions,
    check_dimensions,
    check_shown_better,
    check_variants,
)
from course_lib.exercises.feedback import Feedback
from course_lib.exercises.line_graphs import (
    check_angle_cosine,
    check_pair_cosines,
    check_pairs,
    check_straight_or_bent,
)
from course_lib.exercises.negative_transfer import (
    check_contradictions,
    check_less_shared,
    check_partners,
    check_transfer,
    check_transfer_statements,
)
from course_lib.exercises.reading_alpha import (
    check_alpha_statements,
    check_best_alpha,
    check_blended_prediction,
    check_error_correlation,
    check_mended_alpha,
)
from course_lib.exercises.task_weights import (
    check_contributions,
    check_inverse_scale,
    check_three_losses,
    check_weight_statements,
)

__all__ = [
    "Feedback",
    "check_alpha_statements",
    "check_angle_cosine",
    "check_attention_weights",
    "check_best_alpha",
    "check_blended_prediction",
    "check_campaign_days",
    "check_choices",
    "check_conclusions",
    "check_contenders",
    "check_contradictions",
    "check_contributions",
    "check_culprits",
    "check_dependence_test",
    "check_dimensions",
    "check_error_correlation",
    "check_fuse",
    "check_importance",
    "check_importance_statements",
    "check_inverse_scale",
    "check_less_shared",
    "check_mended_alpha",
    "check_mended_attention",
    "check_pair_cosines",
    "check_pairs",
    "check_partners",
    "check_shapley",
    "check_shown_better",
    "check_shuffled",
    "check_straight_or_bent",
    "check_three_losses",
    "check_transfer",
    "check_transfer_statements",
    "check_variants",
    "check_weight_statements",
    "check_worth_considering",
]
