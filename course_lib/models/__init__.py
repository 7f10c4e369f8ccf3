"""The networks: each reads the one batch that `course_lib.graphs` makes and returns (B, n_targets)."""

from course_lib.models.alignn import ALIGNN, ALIGNNSimple
from course_lib.models.base import CrystalModel, Trunk, build, describe
from course_lib.models.cgcnn import CGCNN
from course_lib.models.chemistry import ChemicalALIGNN, ChemicalCGCNN
from course_lib.models.fusion import AttentionFusion, EarlyFusion, IntermediateFusion
from course_lib.models.gat import GAT
from course_lib.models.megnet import MEGNet
from course_lib.models.multitask import MultiTask
from course_lib.models.published_cgcnn import PublishedCGCNN

__all__ = [
    "ALIGNN",
    "CGCNN",
    "GAT",
    "ALIGNNSimple",
    "AttentionFusion",
    "ChemicalALIGNN",
    "ChemicalCGCNN",
    "CrystalModel",
    "EarlyFusion",
    "IntermediateFusion",
    "MEGNet",
    "MultiTask",
    "PublishedCGCNN",
    "Trunk",
    "build",
    "describe",
]
