"""The datasets that are known by name, in one table, `SOURCES`. A new dataset is one entry at the end of this file.

An entry is a `Download`: its name, what it is about, and where its file comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from unittest.mock import patch

import pandas as pd

from course_lib.crystal_files import Stream, stream_json
from course_lib.downloads import cache_folder, download

if TYPE_CHECKING:
    from pymatgen.core import Structure

DATA = Path(__file__).resolve().parent.parent / "data"
"""Folder of the bundled data."""

BUNDLED = "pbe_prototypes"
"""Name of the dataset that comes with the course."""


class About(NamedTuple):
    """What a dataset holds, and on what terms."""

    crystals: int
    units: dict[str, str]  # of each target, by its column; "class" in a classification task
    task: str  # "regression" or "classification"
    licence: str
    citation: str


class Source(Protocol):
    """A dataset that is known by name: what it is ``about``, and the ``path`` of its file, which may not exist yet."""

    name: str
    about: About
    path: Path

    def fetch(self) -> Path:
        """Make sure that the file exists and is what it should be; return its path."""

    def stream(self) -> Stream:
        """Open it crystal by crystal."""

    def load(self) -> pd.DataFrame:
        """Read all of it."""
        return self.stream().frame()

    def official_folds(self) -> list[list[str]]:
        """Ids of each test set that the dataset prescribes; none when it prescribes no folds."""
        return []


class Bundled(Source):
    """The crystals that come with the course; their file describes itself."""

    name = BUNDLED

    @property
    def path(self) -> Path:
        """The file in the repository."""
        return DATA / f"{BUNDLED}.json"

    @property
    def about(self) -> About:
        """What the file says."""
        dataset = self._read()
        units = {target: dataset["units"][target] for target in dataset["targets"]}
        return About(len(dataset["rows"]), units, "regression", dataset["licence"], dataset["source"])

    def fetch(self) -> Path:
        """Return the path if the checksum is right; raise ``FileNotFoundError`` or ``ValueError`` otherwise."""
        self._read()
        return self.path

    def stream(self) -> Stream:
        """Open it; all but the structures are in memory."""
        dataset = self._read()
        table = pd.DataFrame(dataset.pop("rows")).set_index("id")
        geometry = [table.pop(column) for column in ("lattice", "species", "coordinates")]
        return Stream(table, _structures(*geometry), dataset)

    def _read(self) -> dict:
        """Return the content of the file, after a look at its checksum, with ``sha256`` added."""
        path = self.path
        restore = (
            f"Restore it with 'git checkout -- data/{path.name} data/checksums.sha256', "
            "or rebuild it with 'python -m data.pbe_prototypes.build'."
        )
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. {restore}")
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if f"{sha256}  {path.name}" not in (DATA / "checksums.sha256").read_text().splitlines():
            raise ValueError(
                f"{path} is corrupt or truncated: its checksum is not the one in checksums.sha256. {restore}"
            )
        return {**json.loads(content), "sha256": sha256}


def _structures(lattices: pd.Series, species: pd.Series, coordinates: pd.Series) -> Iterator[Structure]:
    """Yield the structure of each row: lattice vectors in angstrom, element symbols, fractional coordinates."""
    from pymatgen.core import Lattice, Structure

    for lattice, *atoms in zip(lattices, species, coordinates, strict=True):
        yield Structure(Lattice(lattice), *atoms)


@dataclass(frozen=True)
class Download(Source):
    """A dataset in one file on the web, of the format that matminer's ``store_dataframe_as_json`` writes."""

    name: str
    about: About  # its units name the columns that are targets
    url: str
    sha256: str
    file: str  # its name in the cache folder: .json, or .json.gz when compressed

    @property
    def path(self) -> Path:
        """The file in the cache folder."""
        return cache_folder() / self.file

    @property
    def attrs(self) -> dict:
        """``attrs`` of the frame and of the stream."""
        return {
            "name": self.name,
            "targets": list(self.about.units),
            "units": dict(self.about.units),
            "source": f"{self.url} ({self.about.citation})",
            "licence": self.about.licence,
            "sha256": self.sha256,
        }

    def fetch(self) -> Path:
        """Download the file unless the cache has it, check its hash and return its path."""
        download(self.url, self.sha256, self.path)
        return self.path

    def stream(self) -> Stream:
        """Open it row by row."""
        return stream_json(self.fetch(), self.attrs)


# --- Matbench -----------------------------------------------------------------------------------------------------


class MatbenchTask(Download):
    """A structure task of Matbench; the matbench package reads it and has its folds."""

    def load(self) -> pd.DataFrame:
        """Read it through the matbench package."""
        path = self.fetch()

        from matbench.data_ops import load  # takes seconds, so only when there is something to read

        with patch.dict(os.environ, MATMINER_DATA=str(path.parent)):  # the only way to tell it where its files are
            table = load(self.name)
        return Stream(table, iter(table.pop("structure")), self.attrs).frame()

    def stream(self) -> Stream:
        """Open it row by row; the ids are those that the matbench package gives."""
        stream = super().stream()
        prefix, digits = self.name.replace("matbench", "mb").replace("_", "-"), len(str(len(stream.table)))
        ids = [f"{prefix}-{int(number) + 1:0{digits}d}" for number in stream.ids]
        return stream._replace(table=stream.table.set_axis(pd.Index(ids, name="mbid")))

    def official_folds(self) -> list[list[str]]:
        """Ids of the official test sets."""
        return [fold["test"] for fold in matbench_folds()[self.name].values()]


def _read_package(package: str, file: str) -> dict:
    """Return the content of a JSON file of an installed package, without the seconds that importing it takes."""
    return json.loads(Path(find_spec(package).submodule_search_locations[0], file).read_text(encoding="utf-8"))


@cache
def matbench_tasks() -> dict[str, dict]:
    """Return matbench's own description of each of its tasks; an empty dict when it or matminer is not installed."""
    if find_spec("matbench") and find_spec("matminer"):  # which has the addresses of its files
        return _read_package("matbench", "matbench_v0.1_dataset_metadata.json")
    return {}


@cache
def matbench_folds() -> dict[str, dict]:
    """Return the official folds: ids by task, fold (``"fold_0"``) and part (``"train"``, ``"test"``)."""
    return _read_package("matbench", "matbench_v0.1_validation.json")["splits"]


def _matbench_sources() -> Iterator[MatbenchTask]:
    """Yield the tasks that have structures, with what matminer says of their files."""
    tasks = matbench_tasks()
    files = _read_package("matminer", "datasets/dataset_metadata.json") if tasks else {}
    for name, task in tasks.items():
        if task["input_type"] == "structure":
            file, units = files[name], {task["target"]: task["unit"] or "class"}
            citation = " ".join(file["reference"].split())
            about = About(task["n_samples"], units, task["task_type"], "as stated by the source", citation)
            yield MatbenchTask(name, about, file["url"], file["hash"], f"{name}.{file['file_type']}")


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Bundled(),
        *_matbench_sources(),
        # A new one: Download("name", About(...), url="https://...", sha256="...", file="name.json.gz"),
    )
}
"""The datasets by name, for `course_lib.datasets` and the command line."""
