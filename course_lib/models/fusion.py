"""Networks that read both the composition and the structure of a crystal."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.models.base import CrystalModel, Trunk, describe
from course_lib.models.cgcnn import CGCNN
from course_lib.models.layers import StandardizeWithin
from course_lib.validation import check_number

if TYPE_CHECKING:
    from torch_geometric.data import Batch


class FusionModel(CrystalModel):
    """Base class of the networks below: they read the composition features, standardised.

    Parameters
    ----------
    trunk : Trunk
        The graph network.
    n_features : int
        Composition features.
    **config
        As for `CrystalModel`.
    """

    def __init__(self, trunk: Trunk, n_features: int, **config: object):
        super().__init__(trunk=describe(trunk), n_features=n_features, **config)
        check_number("dropout", config.get("dropout", 0.0), least=0, below=1)
        self.trunk = trunk.without_output()
        self.standardize = StandardizeWithin(n_features)

    def fit_preprocessing(self, composition: Tensor) -> None:
        """Take mean, deviation and range of the composition features (B, n_features) of the training set."""
        self._check_features(composition)
        self.standardize.fit(composition)

    def composition(self, batch: Batch) -> Tensor:
        """Return the standardised composition features, (B, n_features)."""
        self._check_features(batch.composition)
        return self.standardize(batch.composition)

    def _check_features(self, composition: Tensor) -> None:
        found, wanted = composition.shape[1], self.config["n_features"]
        if found != wanted:
            raise ValueError(
                f"the crystals have {found} composition features, the model reads {wanted}. "
                "Build the graphs with CrystalGraphs.from_structures(..., composition=magpie(structures))."
            )


class EarlyFusion(FusionModel):
    r"""Early fusion: composition features and graph embedding concatenated, with one network on top.

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
        super().__init__(trunk, n_features, n_targets=n_targets, hidden=list(hidden), dropout=dropout)
        sizes = [n_features + trunk.embedding_size, *hidden]
        layers = []
        for size, next_size in pairwise(sizes):
            layers += [nn.Linear(size, next_size), nn.Softplus(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(sizes[-1], n_targets))

    def forward(self, batch: Batch) -> Tensor:
        """Predict from both views: (B, n_targets)."""
        composition = self.composition(batch)  # (B, n_features)
        both = torch.cat([composition, self.trunk.embed(batch)], dim=1)  # (B, n_features + embedding)
        return self.head(both)


class IntermediateFusion(FusionModel):
    r"""Intermediate fusion: the composition sets scale and shift of the atoms before every graph convolution.

    .. math:: x_i^{(l)} \leftarrow \bigl(1 + \gamma^{(l)}(\tilde c)\bigr) \odot x_i^{(l)} + \beta^{(l)}(\tilde c)

    for every atom i of the crystal and every convolution l: feature-wise linear modulation, FiLM (Perez et al., AAAI
    2018). One network makes all :math:`\gamma` and :math:`\beta` from the standardised composition features
    :math:`\tilde c`. Its last layer starts at zero, so training starts from the plain graph network.

    Parameters
    ----------
    trunk : CGCNN, optional
        The graph network; one of default size where not given. Its output layer is not used.
    n_features : int, default 145
        Composition features.
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 64
        Hidden layer of the network that makes scale and shift.
    dropout : float, default 0.2
        Share of its outputs that is dropped in training.

    Raises
    ------
    TypeError
        If the trunk is not a CGCNN, because only between its convolutions the atoms can be scaled and shifted.
    """

    def __init__(
        self,
        trunk: CGCNN | None = None,
        n_features: int = 145,
        n_targets: int = 1,
        hidden: int = 64,
        dropout: float = 0.2,
    ):
        trunk = CGCNN() if trunk is None else trunk
        if not isinstance(trunk, CGCNN):
            raise TypeError(
                f"the trunk is a {type(trunk).__name__}; IntermediateFusion needs a CGCNN. EarlyFusion and "
                "AttentionFusion take any trunk."
            )
        super().__init__(trunk, n_features, n_targets=n_targets, hidden=hidden, dropout=dropout)
        self.shape = (len(trunk.convs), 2, trunk.config["hidden"])
        last = nn.Linear(hidden, self.shape[0] * 2 * self.shape[2])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.condition = nn.Sequential(nn.Linear(n_features, hidden), nn.Softplus(), nn.Dropout(dropout), last)
        self.out = nn.Linear(trunk.embedding_size, n_targets)

    def scale_and_shift(self, batch: Batch) -> Tensor:
        r"""Return :math:`\gamma` and :math:`\beta` of every convolution, (B, n_conv, 2, hidden)."""
        return self.condition(self.composition(batch)).view(-1, *self.shape)

    def forward(self, batch: Batch) -> Tensor:
        """Predict from both views: (B, n_targets)."""
        x, e = self.trunk.atoms_and_bonds(batch)
        for conv, of_crystals in zip(self.trunk.convs, self.scale_and_shift(batch).unbind(1), strict=True):
            scale, shift = of_crystals.index_select(0, batch.batch).unbind(1)  # (N, hidden) each
            x = conv(x + x * scale + shift, batch.bond_index, batch.bond_weight, e)
        return self.out(self.trunk.pool(x, batch))


class AttentionFusion(FusionModel):
    r"""Attention fusion: each crystal gets its own two weights, one for its composition and one for its structure.

    .. math::

        (w_c, w_s) = \mathrm{softmax}(a_c \cdot h_c + b_c,\ a_s \cdot h_s + b_s), \qquad \hat y = f(w_c h_c + w_s h_s)

    with the composition vector :math:`h_c`, the structure vector :math:`h_s` and learned :math:`a` and :math:`b`. Both
    vectors have zero mean and unit variance over their features: layer normalisation (Ba, Kiros and Hinton, 2016,
    https://arxiv.org/abs/1607.06450) without its learned scale and shift, because with these a network could give a
    view a small weight and a large vector. So a weight is the share of its view in what :math:`f` reads. How much the
    prediction gains from a view is another question; `course_lib.interpret` answers it.

    Parameters
    ----------
    trunk : Trunk, optional
        The graph network; a `CGCNN` of default size where not given. Its output layer is not used.
    n_features : int, default 145
        Composition features.
    n_targets : int, default 1
        Number of properties predicted.
    hidden : int, default 64
        Length of the two vectors.
    dropout : float, default 0.2
        Share of the composition vector's hidden layer that is dropped in training.
    """

    def __init__(
        self,
        trunk: Trunk | None = None,
        n_features: int = 145,
        n_targets: int = 1,
        hidden: int = 64,
        dropout: float = 0.2,
    ):
        trunk = CGCNN() if trunk is None else trunk
        super().__init__(trunk, n_features, n_targets=n_targets, hidden=hidden, dropout=dropout)
        self.from_composition = nn.Sequential(
            nn.Linear(n_features, hidden), nn.Softplus(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )
        self.from_structure = nn.Linear(trunk.embedding_size, hidden)
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.scores = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(2))
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.Softplus(), nn.Linear(hidden, n_targets))

    def views_and_weights(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the vectors of composition and structure, (B, 2, hidden), and their weights, (B, 2)."""
        both = [self.from_composition(self.composition(batch)), self.from_structure(self.trunk.embed(batch))]
        views = self.norm(torch.stack(both, dim=1))  # (B, 2, hidden)
        scores = [score(view) for score, view in zip(self.scores, views.unbind(1), strict=True)]  # (B, 1) each
        return views, torch.cat(scores, dim=1).softmax(dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """Predict from both views: (B, n_targets)."""
        views, weights = self.views_and_weights(batch)
        return self.head((views * weights[:, :, None]).sum(1))
