"""The base of all models: one batch in, one row of predictions per crystal out."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING

from torch import Tensor, nn

from course_lib.validation import check_number, plain

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_NETWORKS: dict[str, type[CrystalModel]] = {}  # every class of network that was defined, by its name


def _same_place(one: type, other: type) -> bool:
    """Return whether two classes are defined in one place of one module."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _check_argument(name: str, value: object, default: object) -> None:
    """Raise ``ValueError`` when an argument of a network is not of the kind of its default."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; it must be true or false.")
    elif isinstance(default, tuple):
        for one in value:
            _check_argument(f"a number of {name}", one, default[0])
    elif isinstance(default, int):
        check_number(name, value, whole=True, least=min(default, 1))
    elif isinstance(default, float):
        check_number(name, value)


class CrystalModel(nn.Module):
    """Base class: ``model(batch)`` returns predictions of shape (B, n_targets), always two-dimensional.

    Of `batch`, a network reads as attributes the tensors of `CrystalGraphs.tensors`, ``num_graphs``, ``num_nodes``. A
    batch of PyG has them, and so has what `course_lib.training.predict` makes without PyG.

    Parameters
    ----------
    **config
        The arguments that the model was made with; `build` makes it again from them. A trunk is stored as its own
        description.

    Attributes
    ----------
    config : dict
        Plain numbers, strings and dicts, so it can be stored in a checkpoint.
    n_targets : int
        Number of properties predicted.

    Raises
    ------
    ValueError
        If an argument is out of range: where its default is a whole number, it is a count, and must be at least 1 (0
        where that is the default); where its default is another number, it must be finite.
    """

    def __init__(self, **config: object):
        super().__init__()
        self.config: dict[str, object] = {}
        self.keep_arguments(**config)

    def keep_arguments(self, **config: object) -> None:
        """Add arguments to `config`, those of a subclass for example; raise ``ValueError`` for one out of range."""
        defaults = {
            name: parameter.default
            for made_of in reversed(type(self).__mro__)
            if issubclass(made_of, CrystalModel)
            for name, parameter in signature(made_of.__init__).parameters.items()
        }
        for name, value in config.items():
            _check_argument(name, value, defaults.get(name))
            self.config[name] = plain(value)

    def __init_subclass__(cls, **arguments: object):
        super().__init_subclass__(**arguments)
        known = _NETWORKS.setdefault(cls.__name__, cls)
        if _same_place(known, cls):  # defined again, as when a notebook's cell is run twice: the newer one counts
            _NETWORKS[cls.__name__] = cls

    @property
    def n_targets(self) -> int:
        """Number of properties predicted."""
        return self.config["n_targets"]

    def fit_preprocessing(self, composition: Tensor) -> None:
        """Fit what the model needs to the composition features of the training set, (B, n_features).

        Called once before training. Nothing is needed here; a model that scales its input overrides this.
        """

    def forward(self, batch: Batch) -> Tensor:
        """Predict the standardised targets of each crystal: (B, n_targets)."""
        raise NotImplementedError


class Trunk(CrystalModel):
    """A model that also gives the vector from which it predicts, so that another model can build on it.

    Attributes
    ----------
    embedding_size : int
        Length of that vector.
    out : Module
        Makes the prediction from it.
    """

    embedding_size: int
    out: nn.Module

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, embedding_size)."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """Predict from the embedding: (B, n_targets)."""
        return self.out(self.embed(batch))

    def without_output(self) -> Trunk:
        """Drop `out`, whose weights would not be trained where another model reads the embedding; returns itself."""
        self.out = nn.Identity()
        return self


def describe(model: CrystalModel) -> dict:
    """Return the plain dict from which `build` makes the model again, without its weights.

    Raises
    ------
    TypeError
        If it is not a network.
    ValueError
        If another network has the same name, so that the dict would describe that one.
    """
    known = _NETWORKS.get(type(model).__name__)
    if known is None or not isinstance(model, CrystalModel):
        raise TypeError(f"{model!r} is not a network. Give one of course_lib.models.")
    if not _same_place(known, type(model)):
        raise ValueError(f"{known.__module__} has a network called {known.__name__}, too. Rename yours.")
    return {"model": known.__name__, **model.config}


def build(description: dict) -> CrystalModel:
    """Make a model from what `describe` returned; its weights are random.

    No module is imported for it: the class that a file names must have been defined already.

    Raises
    ------
    ValueError
        If the description names no network that was defined.
    """
    name = description.get("model")
    known = sorted(_NETWORKS.keys() - {"Trunk"})
    if name not in known:
        raise ValueError(
            f"unknown model {name!r}; known are {', '.join(known)}. "
            "If it is yours, import its module before you load it."
        )
    arguments = {key: value for key, value in description.items() if key != "model"}
    if "trunk" in arguments:
        arguments["trunk"] = build(arguments["trunk"])
    return _NETWORKS[name](**arguments)
