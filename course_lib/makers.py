"""What a method is before it is trained: a network or a forest, with all its settings checked."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from course_lib.forest import Forest, forest_pipeline
from course_lib.methods import METHODS, Method, trained
from course_lib.models import CrystalModel
from course_lib.training import FitConfig
from course_lib.validation import check_seed, named, plain

SETTINGS = tuple(
    name for name in FitConfig.__dataclass_fields__ if name not in ("seed", "folder", "resume", "progress")
)
"""Names of the settings of a network's training; the others come from what trains it."""


def method_named(name: str) -> Method:
    """Return a method that is trained: an entry of `course_lib.methods.METHODS`.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in trained():
        raise ValueError(f"there is no method {name!r}; choose one of {', '.join(trained())}.")
    return METHODS[name]


def check_settings(
    method: str,
    *,
    seed: int = 0,
    sizes: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> None:
    """Raise ``ValueError`` when a method, a size or a setting is not known, or out of range."""
    if method_named(method).network is None:
        make_forest(method, seed=seed, sizes=sizes, settings=settings)
    else:
        make_network(method, seed=seed, sizes=sizes)
        make_config(method, settings, seed=seed)


def make_network(
    method: str, n_targets: int = 1, *, seed: int = 0, sizes: Mapping[str, object] | None = None
) -> CrystalModel:
    """Make the network of a method, untrained.

    Parameters
    ----------
    method : str
        As `method_named` takes it.
    n_targets : int, default 1
        Number of properties predicted.
    seed : int, default 0
        Seed of the initial weights.
    sizes : mapping, optional
        Arguments of the network that differ from the method's.

    Raises
    ------
    ValueError
        If it has no such argument, or an argument is out of range.
    """
    check_seed(seed)
    torch.manual_seed(seed)
    with named(f"sizes of {method}"):
        return method_named(method).network(n_targets=n_targets, **dict(sizes or {}))


def make_config(method: str, settings: Mapping[str, object] | None = None, **ours: object) -> FitConfig:
    """Return how a network is trained: the method's settings, with those that differ from them.

    Parameters
    ----------
    method : str
        As `method_named` takes it.
    settings : mapping, optional
        Arguments of `FitConfig` that differ from the method's.
    **ours
        Arguments of `FitConfig` that are none of its settings: seed, folder, and so on.

    Raises
    ------
    ValueError
        If there is no such setting, or one is out of range.
    """
    wanted = method_named(method).settings | dict(settings or {})
    for name in wanted:
        if name not in SETTINGS:
            raise ValueError(f"there is no setting {name!r} of a network; there are {', '.join(SETTINGS)}.")
    return FitConfig(**wanted, **ours)


def make_forest(
    method: str,
    *,
    seed: int = 0,
    settings: Mapping[str, object] | None = None,
    sizes: Mapping[str, object] | None = None,
) -> Forest:
    """Make the forest of a method, untrained.

    Parameters
    ----------
    method : str
        As `method_named` takes it.
    seed : int, default 0
        Seed of the trees.
    settings : mapping, optional
        Parameters of the forest that differ from the method's.
    sizes : mapping, optional
        Must be empty: a forest has none.

    Raises
    ------
    ValueError
        If there is no such parameter, or one is out of range.
    """
    check_seed(seed)
    if sizes:
        raise ValueError(f"sizes of {method}: a forest has none. Give {sorted(sizes)[0]!r} as a setting.")
    wanted = method_named(method).settings | dict(settings or {})
    if "random_state" in wanted:
        raise ValueError("the setting random_state is the seed of the trees. Give it as the seed.")
    forest = forest_pipeline(seed)["forest"]
    for name, default in forest.get_params().items():
        if isinstance(wanted.get(name), bool) and not isinstance(default, bool):
            raise ValueError(f"the setting {name} is {wanted[name]}; it is not one that is true or false.")
    forest.set_params(**{name: plain(value) for name, value in wanted.items()})
    forest._validate_params()  # scikit-learn itself asks for it only when the forest learns
    return forest
