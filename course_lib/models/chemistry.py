"""Chemistry in the graph: networks that read element properties on every atom and every bond.

The networks themselves are those of `course_lib.models.cgcnn` and `course_lib.models.alignn`; only their first layers
read more. Nothing here is fitted: all scales are constants of the element tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.composition import by_atomic_number, element_properties
from course_lib.models.alignn import ALIGNN, Embedding
from course_lib.models.cgcnn import CGCNN, CGCNNConv
from course_lib.models.layers import GaussianBasis

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    from course_lib.models.equivalent_edges import CrystalLineGraph


class Chemistry(nn.Module):
    r"""Features of atoms and bonds that follow from the elements of a crystal.

    - *atoms*: the 22 element properties of Magpie (Ward et al., npj Comput. Mater. 2, 16028 (2016)), each standardised
      over the elements H to Cn;
    - *radii*: the bond length over the sum of the two covalent radii, :math:`d / (r_i + r_j)`, which is about 1 for a
      single bond whatever the elements are, in 25 Gaussians from 0.6 to 3;
    - *electronegativity*: the difference :math:`\chi_j - \chi_i` (Pauling) between source and target, in 17 Gaussians
      from -3.2 to 3.2.

    Parameters
    ----------
    atoms, radii, electronegativity : bool
        Which of the three to use.

    Attributes
    ----------
    n_atom, n_bond : int
        Features that are added to each atom and each bond.

    Raises
    ------
    ValueError
        If none is used.
    """

    def __init__(self, atoms: bool, radii: bool, electronegativity: bool):
        super().__init__()
        if not (atoms or radii or electronegativity):
            raise ValueError("atoms, radii and electronegativity are all False; give one, or use the plain network.")
        table = element_properties()
        self.bases = nn.ModuleDict()
        if radii:
            self.bases["radii"] = GaussianBasis(0.6, 3.0, 25)
        if electronegativity:
            self.bases["electronegativity"] = GaussianBasis(-3.2, 3.2, 17)
        # Saved with the weights: a model predicts the same if the tables of a later matminer differ.
        properties = (table - table.mean()) / table.std(ddof=0) if atoms else table.iloc[:, :0]
        for name, values in {
            "radius": table["CovalentRadius"] / 100,  # angstrom
            "electronegativity": table["Electronegativity"],
            "properties": properties,  # (Z + 1, 22) or (Z + 1, 0)
        }.items():
            self.register_buffer(name, torch.as_tensor(by_atomic_number(values), dtype=torch.float32))
        self.n_atom = self.properties.shape[1]
        self.n_bond = sum(len(basis.centers) for basis in self.bases.values())

    def atoms(self, species: Tensor) -> Tensor:
        """Return the features of each atom, (N, n_atom), from the atomic numbers (N,)."""
        return self.properties[species]

    def bonds(self, species: Tensor, bond_index: Tensor, length: Tensor) -> Tensor:
        """Return the features of each bond.

        Parameters
        ----------
        species : Tensor of int64, shape (N,)
            Atomic numbers.
        bond_index : Tensor of int64, shape (2, M)
            Source and target of each bond.
        length : Tensor, shape (M,)
            Angstrom.

        Returns
        -------
        Tensor, shape (M, n_bond)
        """
        source, target = species[bond_index]
        values = {
            "radii": length / (self.radius[source] + self.radius[target]),
            "electronegativity": self.electronegativity[source] - self.electronegativity[target],
        }
        told = [basis(values[name].to(length.dtype)) for name, basis in self.bases.items()]
        return torch.cat([length.new_zeros(len(length), 0), *told], dim=1)  # which may be none


class ChemicalCGCNN(CGCNN):
    """CGCNN with chemistry on atoms and bonds, alongside the 92 bits and the 41 Gaussians of the distance.

    Parameters
    ----------
    n_targets, hidden, n_conv, embedding : int
        As for `CGCNN`.
    atoms, radii, electronegativity : bool, default True
        As for `Chemistry`.
    """

    def __init__(
        self,
        n_targets: int = 1,
        hidden: int = 64,
        n_conv: int = 3,
        embedding: int = 128,
        atoms: bool = True,
        radii: bool = True,
        electronegativity: bool = True,
    ):
        super().__init__(n_targets, hidden, n_conv, embedding)
        self.keep_arguments(atoms=atoms, radii=radii, electronegativity=electronegativity)
        self.chemistry = Chemistry(atoms, radii, electronegativity)
        self.atom_embedding = nn.Linear(self.atom_features.shape[1] + self.chemistry.n_atom, hidden)
        n_bond = len(self.basis.centers) + self.chemistry.n_bond
        self.convs = nn.ModuleList(CGCNNConv(hidden, n_bond) for _ in range(n_conv))

    def atoms_and_bonds(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features that the first convolution reads: atoms (N, hidden) and bonds (M, K)."""
        table = torch.cat([self.atom_features, self.chemistry.properties[: len(self.atom_features)]], dim=1)
        bonds = self.chemistry.bonds(batch.species, batch.bond_index, batch.bond_length)
        return self.atom_embedding(table)[batch.species], torch.cat([self.basis(batch.bond_length), bonds], dim=1)


class ChemicalALIGNN(ALIGNN):
    """ALIGNN with chemistry on atoms and edges, alongside the 92 bits and the 80 Gaussians of the distance.

    Parameters
    ----------
    n_targets, hidden, alignn_layers, gcn_layers : int
        As for `ALIGNN`.
    angles : bool, default True
        As for `ALIGNN`.
    atoms, radii, electronegativity : bool, default True
        As for `Chemistry`.
    """

    def __init__(
        self,
        n_targets: int = 1,
        hidden: int = 256,
        alignn_layers: int = 4,
        gcn_layers: int = 4,
        angles: bool = True,
        atoms: bool = True,
        radii: bool = True,
        electronegativity: bool = True,
    ):
        super().__init__(n_targets, hidden, alignn_layers, gcn_layers, angles)
        self.keep_arguments(atoms=atoms, radii=radii, electronegativity=electronegativity)
        self.chemistry = Chemistry(atoms, radii, electronegativity)
        self.atom_embedding = Embedding(self.atom_features.shape[1] + self.chemistry.n_atom, hidden)
        self.edge_embedding = Embedding(len(self.distance_basis.centers) + self.chemistry.n_bond, 64, hidden)

    def atoms_and_edges(self, graph: CrystalLineGraph) -> tuple[Tensor, Tensor]:
        """Return what is read of the atoms, (N, 92 + n_atom), and of the edges, (E, 80 + n_bond)."""
        atoms, edges = super().atoms_and_edges(graph)
        bonds = self.chemistry.bonds(graph.species, graph.atoms.edge_index, graph.length)
        return torch.cat([atoms, self.chemistry.atoms(graph.species)], dim=1), torch.cat([edges, bonds], dim=1)
