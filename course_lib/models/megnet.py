"""MEGNet, the materials graph network of Chen, Ye, Zuo, Zheng and Ong, Chem. Mater. 31, 3564 (2019)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.models.atom_features import atom_feature_table
from course_lib.models.base import Trunk
from course_lib.models.layers import GaussianBasis, mean_pool

if TYPE_CHECKING:
    from torch_geometric.data import Batch

_WIDE, _NARROW, _READOUT = 64, 32, 16  # sizes of the published networks


class Softplus2(nn.Module):
    r"""The activation of MEGNet, :math:`\ln(1 + e^x) - \ln 2`, which is 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it number by number."""
        return nn.functional.softplus(x).sub_(math.log(2.0))


def _mlp(*sizes: int, activate_last: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), Softplus2()]
    return nn.Sequential(*(layers if activate_last else layers[:-1]))


def _initialize(module: nn.Module) -> None:
    """Use the authors' initial weights (Glorot and Bengio, 2010); PyTorch's smaller ones damp the signal."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class MEGNetConv(nn.Module):
    r"""One MEGNet layer (eqs. 1 to 7 of the paper): bonds, then atoms, then the state of the crystal.

    .. math::

        e_{ij}' = \phi_e([v_i, v_j, e_{ij}, u]), \qquad v_i' = \phi_v([\bar e_i', v_i, u]), \qquad
        u' = \phi_u([\bar e', \bar v', u])

    with the mean :math:`\bar e_i'` over the bonds of atom i and the means :math:`\bar e'` and :math:`\bar v'` over all
    bonds and atoms of the crystal. Each :math:`\phi` has layers of 64, 64 and 32, the last of them linear.
    """

    def __init__(self):
        super().__init__()
        self.bond_in = nn.Linear(4 * _NARROW, _WIDE)
        self.bond_out = nn.Sequential(Softplus2(), _mlp(_WIDE, _WIDE, _NARROW, activate_last=False))
        self.atom = _mlp(3 * _NARROW, _WIDE, _WIDE, _NARROW, activate_last=False)
        self.state = _mlp(3 * _NARROW, _WIDE, _WIDE, _NARROW, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, u: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Update atoms ``v`` (N, 32), bonds ``e`` (M, 32) and the states ``u`` (B, 32) of the crystals."""
        source, target = batch.bond_index
        crystal, count = batch.batch, batch.bond_weight[:, None]
        # The first layer reads [v_i, v_j, e_ij, u]; what depends only on an atom or its crystal is computed once per
        # atom.
        w_i, w_j, w_e, w_u = self.bond_in.weight.split(_NARROW, dim=1)
        receiver = v @ w_i.T + torch.addmm(self.bond_in.bias, u, w_u.T).index_select(0, crystal)
        z = e @ w_e.T  # (M, 64)
        z += receiver.index_select(0, target)
        z += (v @ w_j.T).index_select(0, source)
        e = self.bond_out(z)

        weighted = e * count
        n_edges = count.new_zeros(len(v), 1).index_add(0, target, count)
        per_atom = weighted.new_zeros(len(v), _NARROW).index_add(0, target, weighted)
        v = self.atom(torch.cat([per_atom / n_edges, v, u.index_select(0, crystal)], dim=1))

        per_crystal = per_atom.new_zeros(u.shape).index_add(0, crystal, per_atom)
        mean_bond = per_crystal / n_edges.new_zeros(len(u), 1).index_add(0, crystal, n_edges)
        u = self.state(torch.cat([mean_bond, mean_pool(v, crystal, batch.ptr), u], dim=1))
        return v, e, u


class Set2Set(nn.Module):
    r"""Summarise a set in one vector, whatever the order of its members (Vinyals, Bengio and Kudlur, ICLR 2016).

    In each of `steps` steps, with :math:`q_0^* = 0`:

    .. math::

        q_t = \mathrm{LSTM}(q_{t-1}^*), \qquad
        a_i = \frac{n_i \exp(x_i \cdot q_t)}{\sum_k n_k \exp(x_k \cdot q_t)}, \qquad
        q_t^* = \bigl[q_t,\ \textstyle\sum_i a_i x_i\bigr]

    Gives what ``Set2Set`` of PyTorch Geometric gives for the set in which member i occurs :math:`n_i` times.

    Parameters
    ----------
    size : int
        Features of a member, F.
    steps : int, default 3
        How often the set is read.
    """

    def __init__(self, size: int, steps: int = 3):
        super().__init__()
        self.size, self.steps = size, steps
        self.lstm = nn.LSTMCell(2 * size, size)

    def forward(self, x: Tensor, index: Tensor, n_sets: int, count: Tensor | None = None) -> Tensor:
        """Summarise `n_sets` sets.

        Parameters
        ----------
        x : Tensor, shape (M, F)
            The members of all sets.
        index : Tensor of int64, shape (M,)
            The set of each.
        n_sets : int
            Number of sets, B.
        count : Tensor, shape (M,), optional
            How often each member occurs in its set; once where not given.

        Returns
        -------
        Tensor, shape (B, 2F)
        """
        from torch_geometric.utils import softmax  # importing PyG takes longer than many a use of this package

        # The sums and exponentials need full precision, even if the layers around use low precision.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.lstm.weight_ih.dtype)
            log_count = None if count is None else count.log()
            query, memory = x.new_zeros(2, n_sets, self.size)
            result = x.new_zeros(n_sets, 2 * self.size)
            for _ in range(self.steps):
                query, memory = self.lstm(result, (query, memory))
                score = (x * query.index_select(0, index)).sum(1)
                attention = softmax(score if log_count is None else score + log_count, index, num_nodes=n_sets)
                total = x.new_zeros(n_sets, self.size).index_add(0, index, x * attention[:, None])
                result = torch.cat([query, total], dim=1)
        return result


class MEGNet(Trunk):
    """The network as published, on the graphs of this library.

    Each atom starts from a learned vector of its element (16), each bond from 100 Gaussians of its length (0 to 5
    angstrom, width 0.5), the state from two zeros. Three layers with skip connections update all three; `Set2Set`
    summarises atoms and bonds, and one hidden layer joins them with the state into the embedding.

    Three things differ from the authors' code (https://github.com/materialsvirtuallab/megnet):

    - The graph. Theirs joins all atoms within 4 angstrom, ours the 12 nearest, with weights that fade, so no atom is
      isolated and no crystal is refused. Longer bonds excite only the last Gaussians: from about 6.5 angstrom on, all
      look the same.
    - Set2Set is that of its paper, as in PyTorch Geometric. Theirs approximates the sigmoid by straight lines and
      empties the memory of the LSTM before every step.
    - The vector of an element starts from the standard normal distribution, not between -0.05 and 0.05.

    Parameters
    ----------
    n_targets : int, default 1
        Number of properties predicted.
    n_blocks : int, default 3
        MEGNet layers.
    """

    def __init__(self, n_targets: int = 1, n_blocks: int = 3):
        super().__init__(n_targets=n_targets, n_blocks=n_blocks)
        self.embedding_size = _NARROW
        self.elements = nn.Embedding(len(atom_feature_table()), 16)
        self.basis = GaussianBasis(stop=5.0, n_centers=100, width=0.5)
        self.n_state = 2
        self.dense = nn.ModuleList(
            nn.ModuleDict(
                {
                    "atom": _mlp(16 if first else _NARROW, _WIDE, _NARROW, activate_last=True),
                    "bond": _mlp(100 if first else _NARROW, _WIDE, _NARROW, activate_last=True),
                    "state": _mlp(self.n_state if first else _NARROW, _WIDE, _NARROW, activate_last=True),
                }
            )
            for first in (True, *[False] * (n_blocks - 1))
        )
        self.convs = nn.ModuleList(MEGNetConv() for _ in range(n_blocks))
        self.atoms_to_set = nn.Linear(_NARROW, _READOUT)
        self.bonds_to_set = nn.Linear(_NARROW, _READOUT)
        self.atom_set = Set2Set(_READOUT)
        self.bond_set = Set2Set(_READOUT)
        self.join = nn.Sequential(nn.Linear(4 * _READOUT + _NARROW, _NARROW), Softplus2())
        self.out = nn.Sequential(nn.Linear(_NARROW, _READOUT), Softplus2(), nn.Linear(_READOUT, n_targets))
        self.apply(_initialize)

    def embed(self, batch: Batch) -> Tensor:
        """Return one vector per crystal, (B, 32)."""
        v, e = self.elements(batch.species), self.basis(batch.bond_length)
        u = e.new_zeros(len(batch.ptr) - 1, self.n_state)
        for number, (dense, conv) in enumerate(zip(self.dense, self.convs, strict=True)):
            inner = dense["atom"](v), dense["bond"](e), dense["state"](u)
            skip = inner if number == 0 else (v, e, u)  # the first dense layers come before the first block
            v, e, u = (old + new for old, new in zip(skip, conv(*inner, batch), strict=True))
        crystal, n_crystals = batch.batch, len(u)
        atoms = self.atom_set(self.atoms_to_set(v), crystal, n_crystals)
        of_bonds = crystal.index_select(0, batch.bond_index[1])
        bonds = self.bond_set(self.bonds_to_set(e), of_bonds, n_crystals, batch.bond_weight)
        return self.join(torch.cat([atoms, bonds, u], dim=1))
