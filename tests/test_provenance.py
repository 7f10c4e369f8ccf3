"""Which code made a run: what must change the hash changes it, and nothing else does."""

from __future__ import annotations

import subprocess

import pytest

from course_lib.experiments import provenance
from course_lib.experiments.provenance import code_sha256

NETWORK = '''"""A network."""
from package.files import x
from package.layers import double


def predict(x):
    return double(x) + 1
'''
LAYERS = """import math


def double(x):
    check_number(x)
    if x is None:
        raise ValueError(f"{x} is no number")
    try:
        if x > 9:
            raise ValueError("large")
    except ValueError:
        if x > 99:
            raise TypeError("huge")
        return 0
    if big := x > 5:
        raise ValueError
    return 2 * x


def check_number(x):
    assert x != 1
"""


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "network.py").write_text(NETWORK)
    (folder / "layers.py").write_text(LAYERS)
    (folder / "other.py").write_text("x = 1\n")
    (folder / "files.py").write_text("x = 1\n")
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("network.py", "+ 1", "+ 2", False),
        ("layers.py", "2 * x", "3 * x", False),  # in a module that it imports
        ("layers.py", "2 * x", "2 * x  # twice", True),
        ("network.py", "A network.", "Another docstring.", True),
        ("layers.py", "is no number", "is not a number", True),  # what an error says
        ("network.py", "import x", "import y", True),  # the name of what only stores
        ("layers.py", "x is None", "x is None or x < 3", True),  # more is refused
        ("layers.py", "    check_number(x)\n", "", True),
        ("layers.py", "x != 1", "x != 2", True),
        ("layers.py", "def check_number", "def checked", False),  # may return something
        ("layers.py", "x > 9:", "x > 8:", False),  # an error that is caught
        ("layers.py", '"large"', '"too large"', True),
        ("layers.py", "x > 99", "x > 98", True),
        ("layers.py", "x > 5", "x > 6", False),  # binds a name
        ("network.py", "double(x) + 1", "(double(x)\n            + 1)", True),
        ("other.py", "1", "2", True),  # not imported
        ("files.py", "1", "2", True),  # imported, but it only stores
    ],
)
def test_the_hash_is_that_of_the_code(package, file, old, new, same):
    before = code_sha256(["package.network"], package)
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert (code_sha256(["package.network"], package) == before) is same


def test_imports_inside_functions_and_of_modules_by_name_count(package):
    (package / "network.py").write_text(
        "def predict(x):\n    from package import layers\n    return layers.double(x)\n"
    )
    before = code_sha256(["package.network"], package)
    (package / "layers.py").write_text(LAYERS.replace("2 * x", "3 * x"))
    assert code_sha256(["package.network"], package) != before


def test_the_face_of_a_package_is_not_followed(package):
    (package / "__init__.py").write_text("from package.other import x\n")
    (package / "network.py").write_text("from package import x\n")
    before = code_sha256(["package.network"], package)
    (package / "other.py").write_text("x = 2\n")
    assert code_sha256(["package.network"], package) == before


def test_a_network_outside_the_package_is_hashed_with_what_it_imports_from_it(package, tmp_path, monkeypatch):
    own = tmp_path / "network_of_mine.py"
    own.write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    hashes = [code_sha256(["network_of_mine"], package)]
    for file, old, new in ((own, "+ 1", "+ 2"), (package / "layers.py", "2 * x", "3 * x")):
        file.write_text(file.read_text().replace(old, new))
        hashes.append(code_sha256(["network_of_mine"], package))
    (package / "other.py").write_text("x = 2\n")
    (package / "__init__.py").write_text("y = 1\n")
    assert code_sha256(["network_of_mine"], package) == hashes[-1]
    assert len(set(hashes)) == 3
    for nothing in ("no_such_network", "__main__"):
        with pytest.raises(FileNotFoundError, match=f"no file of the module {nothing}"):
            code_sha256([nothing], package)


def test_a_module_that_is_missing_is_an_error(package):
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        code_sha256(["package.nothing"], package)


def test_the_commit_is_that_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    provenance.git_commit.cache_clear()
    assert provenance.git_commit() is None  # no checkout
    provenance.git_commit.cache_clear()

    def git(*arguments):
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", "-C", tmp_path, *names, *arguments], capture_output=True, text=True, check=True)

    git("init")
    (tmp_path / "network.py").write_text(NETWORK)
    git("add", ".")
    git("commit", "-m", "one")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert provenance.git_commit() == commit
    provenance.git_commit.cache_clear()
    (tmp_path / "network.py").write_text(LAYERS)
    assert provenance.git_commit() == commit + "+"
    provenance.git_commit.cache_clear()
