"""Build backend (PEP 517) that fetches the wheel of Matbench and leaves out what it requires.

So ``pip install --requirement tools/requirements.lock`` gets along without ``--no-deps``, which an environment file of
conda cannot say.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MATBENCH = "matbench==0.6"


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: object = None) -> str:
    """Write the wheel into `wheel_directory` and return its name."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--dest", folder, MATBENCH], check=True)
        (published,) = Path(folder).glob("*.whl")
        with (
            zipfile.ZipFile(published) as source,
            zipfile.ZipFile(Path(wheel_directory, published.name), "w", zipfile.ZIP_DEFLATED) as target,
        ):
            for name in source.namelist():
                target.writestr(name, _kept(name, source.read(name)))
    return published.name


def _kept(name: str, content: bytes) -> bytes:
    """Return the content of a file of the wheel, the metadata without requirements."""
    if not name.endswith(".dist-info/METADATA"):
        return content
    return b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(b"Requires-Dist:"))
