"""The networks: each reads the one batch that `course_lib.graphs` makes and returns (B, n_targets)."""

from course_lib.models.alignn import ALIGNN, ALIGNNSimple
from course_lib.models.base import CrystalModel, Trunk, describe
from course_lib.models.cgcnn import CGCNN
from course_lib.models.fusion import AttentionFusion, EarlyFusion, IntermediateFusion
from course_lib.models.gat import GAT
from course_lib.models.megnet import MEGNet
from course_lib.models.multitask import MultiTask
from course_lib.models.published_cgcnn import PublishedCGCNN

_MODELS = {
    model.__name__: model
    for model in (
        ALIGNN,
        ALIGNNSimple,
        AttentionFusion,
        CGCNN,
        EarlyFusion,
        GAT,
        IntermediateFusion,
        MEGNet,
        MultiTask,
        PublishedCGCNN,
    )
}

__all__ = [*_MODELS, "CrystalModel", "Trunk", "build", "describe"]


def build(description: dict) -> CrystalModel:
    """Make a model from what `describe` returned; its weights are random.

    Raises
    ------
    ValueError
        If the description names no model of this library.
    """
    name = description.get("model")
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}; known are {', '.join(sorted(_MODELS))}.")
    arguments = {key: value for key, value in description.items() if key != "model"}
    if "trunk" in arguments:
        arguments["trunk"] = build(arguments["trunk"])
    return _MODELS[name](**arguments)
