"""The figures of the course. Every function takes data, draws it and returns a matplotlib ``Figure``."""

from course_lib.plots.angles import plot_alignn_layer, plot_angle_basis, plot_angle_to_number, plot_surroundings
from course_lib.plots.comparison import (
    plot_error_against_time,
    plot_errors_by_kind,
    plot_learning_curves,
    plot_what_methods_read,
)
from course_lib.plots.crystals import plot_crystal_and_graph, plot_shells
from course_lib.plots.dataset import (
    plot_by_prototype,
    plot_periodic_table,
    plot_polymorph_differences,
    plot_validation,
)
from course_lib.plots.features import (
    plot_atom_features,
    plot_feature_groups,
    plot_feature_scales,
    plot_feature_table,
    plot_gaussian_basis,
    plot_polymorphs,
)
from course_lib.plots.intermediate_fusion import plot_fusion_places, plot_scales, plot_weights_by_group
from course_lib.plots.late_fusion import plot_alpha_paths, plot_blending_gain, plot_error_pairs, plot_late_fusion
from course_lib.plots.multitask import (
    plot_megnet_updates,
    plot_multi_task,
    plot_negative_transfer,
    plot_task_pairs,
)
from course_lib.plots.results import (
    plot_errors,
    plot_errors_by_group,
    plot_history,
    plot_paired_differences,
    plot_parity,
)
from course_lib.plots.scaling import plot_leaderboard, plot_memory
from course_lib.plots.schematics import plot_course_map, plot_early_fusion

__all__ = [
    "plot_alignn_layer",
    "plot_alpha_paths",
    "plot_angle_basis",
    "plot_angle_to_number",
    "plot_atom_features",
    "plot_blending_gain",
    "plot_by_prototype",
    "plot_course_map",
    "plot_crystal_and_graph",
    "plot_early_fusion",
    "plot_error_against_time",
    "plot_error_pairs",
    "plot_errors",
    "plot_errors_by_group",
    "plot_errors_by_kind",
    "plot_feature_groups",
    "plot_feature_scales",
    "plot_feature_table",
    "plot_fusion_places",
    "plot_gaussian_basis",
    "plot_history",
    "plot_late_fusion",
    "plot_leaderboard",
    "plot_learning_curves",
    "plot_megnet_updates",
    "plot_memory",
    "plot_multi_task",
    "plot_negative_transfer",
    "plot_paired_differences",
    "plot_parity",
    "plot_periodic_table",
    "plot_polymorph_differences",
    "plot_polymorphs",
    "plot_scales",
    "plot_shells",
    "plot_surroundings",
    "plot_task_pairs",
    "plot_validation",
    "plot_weights_by_group",
    "plot_what_methods_read",
]
