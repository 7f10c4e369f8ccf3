"""Every method by name: what it is called, what it reads, what makes it, its settings, and where it is compared.

Adding a network to training, comparison, command line, tables and figures takes one file with its class and one entry
in `METHODS`. Nothing heavy is imported here: a network's module is imported when a network is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

    from course_lib.models import CrystalModel

BOTH_SPLITS = ("random", "formula")
"""The kinds of folds on which methods are set side by side."""

TUNED_ARGUMENTS = frozenset({"dropout"})
"""Arguments of networks that are tuned like settings."""


@dataclass(frozen=True)
class Network:
    """What makes an untrained network: ``network(n_targets=1)``.

    Attributes
    ----------
    module, name : str
        Where its class is.
    arguments : dict
        Arguments of the class that differ from their defaults; a trunk as the `Network` that makes it.
    """

    module: str
    name: str
    arguments: dict = field(default_factory=dict)

    def __call__(self, **arguments: object) -> CrystalModel:
        """Make the network; arguments given here override those of the entry."""
        made = {key: value() if isinstance(value, Network) else value for key, value in self.arguments.items()}
        return self.load()(**made | arguments)

    def load(self) -> type[CrystalModel]:
        """Import the class."""
        return getattr(import_module(self.module), self.name)


@dataclass(frozen=True)
class Learner:
    """What makes an unfitted scikit-learn regressor: ``learner(n_features=145, seed=0)``.

    Attributes
    ----------
    module, name : str
        Where the function is that makes it.
    reads : tuple of str
        Its table of features: keys of `course_lib.features.PARTS`, in this order.
    """

    module: str
    name: str
    reads: tuple[str, ...]

    def __call__(self, n_features: int, seed: int = 0, **settings: object) -> RegressorMixin:
        """Make the regressor for a table of `n_features` columns."""
        return self.load()(n_features=n_features, seed=seed, **settings)

    def load(self) -> Callable[..., RegressorMixin]:
        """Import the function."""
        return getattr(import_module(self.module), self.name)


@dataclass(frozen=True)
class Method:
    """One way to predict.

    Attributes
    ----------
    label : str
        What it is called in tables and figures.
    kind : str
        What it reads: ``"composition"``, ``"structure"`` or ``"hybrid"``, which reads both.
    network : Network, optional
        What makes the untrained network; None for a method that has none.
    learner : Learner, optional
        What makes the regressor on a table of features; None for a method that has none.
    multitask : bool
        Whether one network predicts all properties.
    twin : str, optional
        For a multi-task network, the method with the same trunk, head and settings that predicts one property.
    settings : dict
        Arguments of `course_lib.training.FitConfig`, or of what makes the learner, that differ from their defaults: the
        best of the recorded tuning.
    tuned_as : str, optional
        The method that it is to differ from in one thing, and whose tuned settings it therefore has; None where it is
        tuned itself.
    compared : tuple of str
        The kinds of folds on which it is compared with the others.
    blends : tuple of str
        For a method that is not trained: the methods whose recorded predictions it blends; of two, the first gets the
        weight alpha. One method twice is the mean of two of its seeds.
    """

    label: str
    kind: str
    network: Network | None = None
    learner: Learner | None = None
    multitask: bool = False
    twin: str | None = None
    settings: dict = field(default_factory=dict)
    tuned_as: str | None = None
    compared: tuple[str, ...] = BOTH_SPLITS
    blends: tuple[str, ...] = ()

    @property
    def tuned_settings(self) -> dict:
        """Its settings and those arguments of its network that are tuned as well."""
        arguments = {} if self.network is None else self.network.arguments
        return self.settings | {name: value for name, value in arguments.items() if name in TUNED_ARGUMENTS}

    @property
    def reads_pretrained(self) -> bool:
        """Whether it reads what a pretrained network makes of the crystals, which is stored for the bundled ones."""
        return self.learner is not None and not {"energy", "embedding"}.isdisjoint(self.learner.reads)


# Networks that are to differ in one thing have the same settings.
_ALIGNN = {"epochs": 100, "learning_rate": 0.01}
_GAT = {"epochs": 100, "learning_rate": 0.001}
_MEGNET = {"epochs": 200, "learning_rate": 0.002}
_CGCNN = {"epochs": 100, "learning_rate": 0.01}
_ATTENTION = {"epochs": 200, "learning_rate": 0.005}
_FUSION, _CHEMISTRY = "course_lib.models.fusion", "course_lib.models.chemistry"


def _alignn(**sizes: object) -> Network:
    return Network("course_lib.models.alignn", "ALIGNN", sizes)


_SMALL_ALIGNN = {"hidden": 64, "alignn_layers": 2, "gcn_layers": 2}


def _small_alignn(**arguments: object) -> Network:
    return _alignn(**_SMALL_ALIGNN, **arguments)


def _only(part: str) -> Network:
    """Return CGCNN with one part of the chemistry, to measure what it is worth."""
    return Network(
        _CHEMISTRY,
        "ChemicalCGCNN",
        {name: name == part for name in ("atoms", "radii", "electronegativity")},
    )


_BOTH = ("composition", "environments")


def _kernel_ridge(*reads: str) -> Learner:
    return Learner("course_lib.tabular", "kernel_ridge", reads)


def _boosting(*reads: str) -> Learner:
    return Learner("course_lib.tabular", "boosting", reads)


def _delta_learning(*reads: str, name: str = "delta_learning") -> Learner:
    return Learner("course_lib.tabular", name, ("energy", "fractions", *reads))


def _multitask(trunk: str) -> Network:
    return Network("course_lib.models.multitask", "MultiTask", {"trunk": trunk})


METHODS: dict[str, Method] = {
    "random_forest": Method(
        "random forest",
        "composition",
        learner=Learner("course_lib.forest", "random_forest", ("composition",)),
        settings={"max_features": 0.5, "min_samples_leaf": 3},
    ),
    "cgcnn": Method(
        "CGCNN",
        "structure",
        Network("course_lib.models.cgcnn", "CGCNN"),
        settings=_CGCNN,
    ),
    "early_fusion": Method(
        "early fusion", "hybrid", Network(_FUSION, "EarlyFusion"), settings={"epochs": 200, "learning_rate": 0.002}
    ),
    "intermediate_fusion": Method(
        "intermediate fusion",
        "hybrid",
        Network(_FUSION, "IntermediateFusion"),
        settings={"epochs": 200, "learning_rate": 0.002},
    ),
    "attention_fusion": Method(
        "attention fusion",
        "hybrid",
        Network(_FUSION, "AttentionFusion"),
        settings=_ATTENTION,
    ),
    "attention_fusion_equal": Method(
        "attention fusion, equal weights",
        "hybrid",
        Network("course_lib.models.ablations", "EqualWeightFusion"),
        settings=_ATTENTION,
        tuned_as="attention_fusion",
        compared=(),
    ),
    "alignn_simple": Method(
        "ALIGNN simplified",
        "structure",
        Network("course_lib.models.alignn", "ALIGNNSimple"),
        settings={"epochs": 200, "learning_rate": 0.005},
    ),
    "alignn": Method("ALIGNN (small)", "structure", _small_alignn(), settings=_ALIGNN),
    "alignn_no_angles": Method(
        "ALIGNN without angles",
        "structure",
        _small_alignn(angles=False),
        settings=_ALIGNN,
        tuned_as="alignn",
        compared=("formula",),
    ),
    "alignn_published_size": Method(
        "ALIGNN (published size)", "structure", _alignn(), settings=_ALIGNN, tuned_as="alignn", compared=()
    ),
    "gat": Method(
        "GAT", "structure", _multitask("gat"), settings=_GAT, tuned_as="multitask_gat", compared=("formula",)
    ),
    "megnet": Method(
        "MEGNet",
        "structure",
        _multitask("megnet"),
        settings=_MEGNET,
        tuned_as="multitask_megnet",
        compared=("formula",),
    ),
    "multitask_gat": Method(
        "multi-task GAT", "structure", _multitask("gat"), multitask=True, twin="gat", settings=_GAT
    ),
    "multitask_megnet": Method(
        "multi-task MEGNet",
        "structure",
        _multitask("megnet"),
        multitask=True,
        twin="megnet",
        settings=_MEGNET,
        compared=("formula",),
    ),
    "cgcnn_chemistry": Method(
        "CGCNN with chemistry",
        "hybrid",
        Network(_CHEMISTRY, "ChemicalCGCNN"),
        settings=_CGCNN,
        compared=(),
    ),
    "cgcnn_atoms": Method(
        "CGCNN with chemical atoms", "hybrid", _only("atoms"), settings=_CGCNN, tuned_as="cgcnn_chemistry", compared=()
    ),
    "cgcnn_radii": Method(
        "CGCNN with radii", "hybrid", _only("radii"), settings=_CGCNN, tuned_as="cgcnn_chemistry", compared=()
    ),
    "cgcnn_electronegativity": Method(
        "CGCNN with electronegativity",
        "hybrid",
        _only("electronegativity"),
        settings=_CGCNN,
        tuned_as="cgcnn_chemistry",
        compared=(),
    ),
    "alignn_chemistry": Method(
        "ALIGNN with chemistry",
        "hybrid",
        Network(_CHEMISTRY, "ChemicalALIGNN", _SMALL_ALIGNN),
        settings=_ALIGNN,
        compared=(),
    ),
    "alignn_early_fusion": Method(
        "early fusion on ALIGNN",
        "hybrid",
        Network(_FUSION, "EarlyFusion", {"trunk": _small_alignn()}),
        settings=_ALIGNN,
        compared=(),
    ),
    "kernel_ridge_composition": Method(
        "kernel ridge on composition", "composition", learner=_kernel_ridge("composition"), compared=()
    ),
    "kernel_ridge_structure": Method(
        "kernel ridge on environments", "structure", learner=_kernel_ridge("environments"), compared=()
    ),
    "kernel_ridge": Method("kernel ridge on both", "hybrid", learner=_kernel_ridge(*_BOTH), compared=()),
    "boosting_composition": Method(
        "boosting on composition", "composition", learner=_boosting("composition"), compared=()
    ),
    "boosting_structure": Method(
        "boosting on environments", "structure", learner=_boosting("environments"), compared=()
    ),
    "boosting": Method("boosting on both", "hybrid", learner=_boosting(*_BOTH), compared=()),
    "embedding": Method(
        "kernel ridge on pretrained embedding", "structure", learner=_kernel_ridge("embedding"), compared=()
    ),
    "embedding_composition": Method(
        "kernel ridge on embedding and composition",
        "hybrid",
        learner=_kernel_ridge("embedding", "composition"),
        compared=(),
    ),
    "pretrained_references": Method(
        "pretrained energy and references",
        "structure",
        learner=_delta_learning(name="references_alone"),
        compared=(),
    ),
    "delta_learning": Method("delta learning", "hybrid", learner=_delta_learning(*_BOTH), compared=()),
    "late_fusion": Method("late fusion", "hybrid", blends=("random_forest", "cgcnn")),
    "alignn_kernel_ridge": Method("ALIGNN and kernel ridge", "hybrid", blends=("kernel_ridge", "alignn")),
    "three_blended": Method("three blended", "hybrid", blends=("kernel_ridge", "cgcnn_chemistry", "alignn")),
    "alignn_ensemble": Method("two ALIGNN averaged", "structure", blends=("alignn", "alignn")),
}
"""Every method by name, in the order of tables and figures."""


def trained() -> dict[str, Method]:
    """Return the methods that are trained; the others blend what these predict."""
    return {name: method for name, method in METHODS.items() if not method.blends}


def compared() -> list[str]:
    """Return the trained methods that the course sets side by side, on both kinds of folds."""
    return [name for name, method in trained().items() if set(method.compared) == set(BOTH_SPLITS)]


def twins() -> dict[str, str]:
    """Return the single-task twin of each multi-task network."""
    return {name: method.twin for name, method in METHODS.items() if method.twin}


class _Column(Mapping[str, str]):
    """One attribute of every method by name, as `METHODS` has it when asked."""

    def __init__(self, attribute: str):
        self._attribute = attribute

    def __getitem__(self, name: str) -> str:
        return getattr(METHODS[name], self._attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(METHODS)

    def __len__(self) -> int:
        return len(METHODS)


LABELS: Mapping[str, str] = _Column("label")
"""What the methods are called in tables and figures."""

KINDS: Mapping[str, str] = _Column("kind")
"""What the methods read."""
