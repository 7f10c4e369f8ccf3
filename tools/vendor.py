"""Fetch the scripts that the website serves itself; needs Node's npm. See pages/_extra/vendor/README.md."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "pages" / "_extra" / "vendor"
MATHJAX = "mathjax@3.2.2"
WIDGETS = "@jupyter-widgets/html-manager@1.0.15"
NOT_NEEDED = "all-packages.js"


def unpacked(package: str, folder: Path) -> Path:
    """Fetch a package of npm into `folder` and return the folder of its files."""
    npm = [shutil.which("npm") or "npm", "pack", "--silent", package]  # on Windows the full name, npm.cmd, is needed
    archive = subprocess.run(npm, cwd=folder, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    with tarfile.open(folder / archive) as files:
        files.extractall(folder / package, filter="data")
    return folder / package / "package"


def copy(files: Iterable[Path], target: Path) -> None:
    """Copy files into a folder."""
    for file in files:
        shutil.copyfile(file, target / file.name)


def main() -> None:
    """Fetch MathJax and the manager of widgets."""
    with tempfile.TemporaryDirectory() as name:
        mathjax, widgets = unpacked(MATHJAX, Path(name)), unpacked(WIDGETS, Path(name)) / "dist"
        es5, target = mathjax / "es5", VENDOR / "mathjax"
        copy([mathjax / "LICENSE", es5 / "tex-chtml.js"], target)
        extensions = (file for file in es5.glob("input/tex/extensions/*.js") if file.name != NOT_NEEDED)
        copy(extensions, target / "input/tex/extensions")
        copy(es5.glob("output/chtml/fonts/woff-v2/*.woff"), target / "output/chtml/fonts/woff-v2")
        scripts = [widgets / "embed.js", widgets / "embed.js.LICENSE.txt"]
        copy([*scripts, *widgets.glob("*.woff2")], VENDOR / "ipywidgets")


if __name__ == "__main__":
    main()
