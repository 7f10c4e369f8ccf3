"""What a method is before it is trained: a network or a regressor, with all its settings checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from course_lib.methods import METHODS, Method, trained
from course_lib.models import CrystalModel
from course_lib.training import FitConfig
from course_lib.validation import check_jobs, check_number, check_seed, named, plain

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

SETTINGS = tuple(
    name for name in FitConfig.__dataclass_fields__ if name not in ("seed", "folder", "resume", "progress")
)
"""Names of the settings of a network's training; the others come from what trains it."""


def method_named(name: str) -> Method:
    """Return a method that is trained: an entry of `course_lib.methods.METHODS`.

    Raises
    ------
    ValueError
        If the method is unknown, or a blend.
    """
    if name in tuple(METHODS) and METHODS[name].blends:
        raise ValueError(f"{name} is not trained: it blends {' and '.join(METHODS[name].blends)}. Train these.")
    if name not in tuple(trained()):
        raise ValueError(f"unknown method {name!r}; choose one of {', '.join(trained())}.")
    return METHODS[name]


def check_trained_from_graphs(method: str) -> None:
    """Raise ``ValueError`` for a method that reads what graphs do not hold."""
    if method_named(method).reads_pretrained:
        raise ValueError(
            f"{method} reads what a pretrained network makes of the crystals, which graphs do not hold. Use "
            "course_lib.pretrained and course_lib.tabular."
        )


def check_settings(
    method: str,
    *,
    seed: int = 0,
    sizes: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> int:
    """Raise ``ValueError`` unless the method can be trained from graphs, with these sizes and settings.

    Returns
    -------
    int
        How many processes train together with these settings.
    """
    check_trained_from_graphs(method)
    if method_named(method).network is None:
        make_learner(method, 1000, seed=seed, sizes=sizes, settings=settings)
        return 1
    make_network(method, seed=seed, sizes=sizes)
    return make_config(method, settings, seed=seed).n_processes


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
        If an argument is unknown or out of range.
    """
    check_seed(seed)
    torch.manual_seed(seed)
    settings = [name for name in sizes or {} if name in SETTINGS]
    with named(f"sizes of {method}", f"A setting is given as such (--set): {', '.join(settings)}." if settings else ""):
        return method_named(method).network(n_targets=n_targets, **_plain(sizes))


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
        If a setting is unknown or out of range.
    """
    with named(f"settings of {method}"):
        wanted = method_named(method).settings | _plain(settings)
    for name in wanted:
        if name not in SETTINGS:
            raise ValueError(
                f"unknown setting {name!r} of {method}; the settings are {', '.join(SETTINGS)}. Arguments of the "
                "network itself, such as hidden or dropout, are sizes (--size)."
            )
    return FitConfig(**wanted, **ours)


def make_learner(
    method: str,
    n_features: int,
    *,
    seed: int = 0,
    settings: Mapping[str, object] | None = None,
    sizes: Mapping[str, object] | None = None,
) -> RegressorMixin:
    """Make the regressor of a method that reads a table of features, unfitted.

    Parameters
    ----------
    method : str
        As `method_named` takes it.
    n_features : int
        Columns of its table.
    seed : int, default 0
        Seed of everything random in it.
    settings : mapping, optional
        Its settings that differ from the method's.
    sizes : mapping, optional
        Must be empty: only networks have them.

    Raises
    ------
    ValueError
        If a setting is unknown or out of range.
    """
    wanted = all_settings(method, settings, seed=seed, sizes=sizes)
    return method_named(method).learner(n_features, seed, **wanted)


def all_settings(
    method: str,
    settings: Mapping[str, object] | None = None,
    *,
    seed: int = 0,
    sizes: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return all settings of a method that reads a table of features: its own, those given, and the defaults.

    Parameters
    ----------
    method, settings, seed, sizes
        As for `make_learner`.

    Raises
    ------
    ValueError
        If a setting is unknown or out of range.
    """
    check_seed(seed)
    if sizes:
        raise ValueError(f"sizes of {method}: only a network has them. Give {sorted(sizes)[0]!r} as a setting.")
    learner = method_named(method).learner
    with named(f"settings of {method}"):
        given = method_named(method).settings | _plain(settings)
    if {"seed", "random_state"} & given.keys():
        raise ValueError("the setting random_state is the seed. Give it as the seed.")
    if learner.name == "random_forest":  # it takes what scikit-learn's takes
        known = learner(1, seed).get_params()
        del known["random_state"]
    else:
        parameters = inspect.signature(learner.load()).parameters
        known = {name: one.default for name, one in parameters.items() if name not in ("n_features", "seed")}
    unknown = [name for name in given if name not in known]
    if unknown:
        there_are = ", ".join(sorted(known)) or "none"
        raise ValueError(f"unknown setting {unknown[0]!r} of {method}; the settings are: {there_are}.")
    for name, value in given.items():
        if name == "n_jobs" and value is not None:
            check_jobs(value)
        elif isinstance(value, int | float) and not isinstance(known[name], bool):
            check_number(name, value)  # the limits of each are known to what makes the regressor
    learner(1000, seed, **(known | given))  # raises an error for one out of range
    return known | given


def _plain(given: Mapping[str, object] | None) -> dict[str, object]:
    return {name: plain(value) for name, value in dict(given or {}).items()}
