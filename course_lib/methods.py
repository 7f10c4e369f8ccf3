"""The methods that are compared, and the settings that each was tuned to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from course_lib.models import (
    ALIGNN,
    CGCNN,
    ALIGNNSimple,
    AttentionFusion,
    CrystalModel,
    EarlyFusion,
    IntermediateFusion,
    MultiTask,
)


@dataclass(frozen=True)
class Method:
    """One way to predict.

    Attributes
    ----------
    label : str
        What it is called in tables and figures.
    kind : str
        What it reads: ``"composition"``, ``"structure"`` or ``"hybrid"``.
    network : callable, optional
        ``network(n_targets=...)`` makes the untrained network; None for the forest.
    multitask : bool
        Whether one network predicts all properties.
    settings : dict
        Arguments of `course_lib.training.FitConfig`, or parameters of the forest, that differ from their defaults: the
        best of the recorded tuning (see also `TUNED_AS`).
    """

    label: str
    kind: str
    network: Callable[..., CrystalModel] | None = None
    multitask: bool = False
    settings: dict = field(default_factory=dict)


# Networks that are to differ in one thing have the same settings.
_ALIGNN = {"epochs": 100, "learning_rate": 0.01}
_SMALL_ALIGNN = partial(ALIGNN, hidden=64, alignn_layers=2, gcn_layers=2)
_GAT = {"epochs": 100, "learning_rate": 0.001}
_MEGNET = {"epochs": 200, "learning_rate": 0.002}

METHODS: dict[str, Method] = {
    "random_forest": Method("random forest", "composition", settings={"max_features": 0.5, "min_samples_leaf": 3}),
    "cgcnn": Method("CGCNN", "structure", CGCNN, settings={"epochs": 100, "learning_rate": 0.01}),
    "early_fusion": Method("early fusion", "hybrid", EarlyFusion, settings={"epochs": 200, "learning_rate": 0.002}),
    "intermediate_fusion": Method(
        "intermediate fusion", "hybrid", IntermediateFusion, settings={"epochs": 200, "learning_rate": 0.002}
    ),
    "attention_fusion": Method(
        "attention fusion", "hybrid", AttentionFusion, settings={"epochs": 200, "learning_rate": 0.005}
    ),
    "alignn_simple": Method(
        "ALIGNN simplified", "structure", ALIGNNSimple, settings={"epochs": 200, "learning_rate": 0.005}
    ),
    "alignn": Method("ALIGNN (small)", "structure", _SMALL_ALIGNN, settings=_ALIGNN),
    "alignn_no_angles": Method(
        "ALIGNN without angles", "structure", partial(_SMALL_ALIGNN, angles=False), settings=_ALIGNN
    ),
    "gat": Method("GAT", "structure", partial(MultiTask, "gat"), settings=_GAT),
    "megnet": Method("MEGNet", "structure", partial(MultiTask, "megnet"), settings=_MEGNET),
    "multitask_gat": Method("multi-task GAT", "structure", partial(MultiTask, "gat"), True, _GAT),
    "multitask_megnet": Method("multi-task MEGNet", "structure", partial(MultiTask, "megnet"), True, _MEGNET),
}
"""Every method that is trained."""

TWINS = {"multitask_gat": "gat", "multitask_megnet": "megnet"}
"""The single-task twin of each multi-task network: same trunk, head and settings, so that they differ in one thing."""

TUNED_AS = {twin: multi for multi, twin in TWINS.items()} | {"alignn_no_angles": "alignn"}
"""Methods that are not tuned, and whose settings they have: the method from which they are to differ in one thing."""

COMPARED = (
    "random_forest", "cgcnn", "early_fusion", "intermediate_fusion", "attention_fusion", "alignn_simple", "alignn",
    "multitask_gat",
)  # fmt: skip
"""The trained methods that the course sets side by side, on both kinds of folds; late fusion makes them nine."""

LATE_FUSION = "late_fusion"
"""The method that is not trained: it blends the recorded predictions of its two parents."""

PARENTS = ("random_forest", "cgcnn")
"""What it blends: the forest, which gets the weight alpha, and the graph network."""

LABELS = {name: method.label for name, method in METHODS.items()} | {LATE_FUSION: "late fusion"}
"""What the methods are called in tables and figures."""

KINDS = {name: method.kind for name, method in METHODS.items()} | {LATE_FUSION: "hybrid"}
"""What the methods read."""
