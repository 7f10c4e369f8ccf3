"""Networks that read the composition and the structure of a crystal together."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from course_lib.models.base import CrystalModel, Trunk, describe
from course_lib.models.cgcnn import CGCNN
from course_lib.models.layers import Standardize


class EarlyFusion(CrystalModel):
    r"""Early fusion: composition features and graph embedding side by side, one network on top.

    .. math:: \hat y = f\bigl([\tilde c;\, h]\bigr), \qquad \tilde c = (c - \mu) / s

    with the composition features :math:`c`, their mean :math:`\mu` and standard deviation :math:`s` over the training
    set, and the trunk's embedding :math:`h`. With 145 features and an embedding of 128, :math:`f` reads 273 numbers.

    Parameters
    ----------
    trunk : Trunk, optional
        The graph network; a `CGCNN` of default size where not given. Its output layer is not used.
    n_features : int, default 145
        Composition features.
    n_targets : int, default 1
        Number of properties predicted.
    hidden : tuple of int, default (128, 64)
        Sizes of the layers on top.
    dropout : float, default 0.2
        Share of their outputs that is dropped in training.
    """

    def __init__(
        self,
        trunk: Trunk | None = None,
        n_features: int = 145,
        n_targets: int = 1,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.2,
    ):
        trunk = CGCNN() if trunk is None else trunk
        super().__init__(
            trunk=describe(trunk), n_features=n_features, n_targets=n_targets, hidden=list(hidden), dropout=dropout
        )
        self.trunk = trunk
        self.trunk.out = nn.Identity()  # the trunk's own prediction is not used, so it has no weights here
        self.standardize = Standardize(n_features)
        sizes = [n_features + trunk.embedding_size, *hidden]
        layers = []
        for size, next_size in pairwise(sizes):
            layers += [nn.Linear(size, next_size), nn.Softplus(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(sizes[-1], n_targets))

    def fit_preprocessing(self, composition: Tensor) -> None:
        """Take mean and standard deviation of the composition features (B, n_features) of the training set."""
        self._check_features(composition)
        self.standardize.fit(composition)

    def forward(self, batch: Batch) -> Tensor:
        """Predict from both views: (B, n_targets)."""
        self._check_features(batch.composition)
        composition = self.standardize(batch.composition)  # (B, n_features)
        both = torch.cat([composition, self.trunk.embed(batch)], dim=1)  # (B, n_features + embedding)
        return self.head(both)

    def _check_features(self, composition: Tensor) -> None:
        found, wanted = composition.shape[1], self.config["n_features"]
        if found != wanted:
            raise ValueError(
                f"the crystals have {found} composition features, the model reads {wanted}. "
                "Build the graphs with CrystalGraphs.from_structures(..., composition=magpie(structures))."
            )
