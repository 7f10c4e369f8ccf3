"""The check of the learner's environment names what is wrong and how to fix it."""

from __future__ import annotations

from importlib import metadata

from course_lib import dataset_sources
from course_lib.teaching import environment
from course_lib.teaching.environment import check_environment


def test_this_environment_has_all():
    report = check_environment()
    assert report["ok"].all(), report[~report["ok"]].to_string()
    assert {"Python", "torch", "pymatgen", "matbench", "bundled crystals"} <= set(report.index)
    assert (report["fix"] == "").all()


def test_missing_and_wrong_packages_are_named(monkeypatch):
    found = metadata.version

    def version(name):
        if name == "vesin":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "torch" else found(name)

    monkeypatch.setattr(environment.metadata, "version", version)
    report = check_environment()
    assert report.index[~report["ok"]].tolist() == ["torch", "vesin"]
    assert "make book" in report.loc["vesin", "fix"]
    assert 'pip install "torch' in report.loc["torch", "fix"]


def test_other_python_and_spoiled_data_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.platform, "python_version", lambda: "3.9.1")
    monkeypatch.setattr(dataset_sources, "DATA", tmp_path)
    report = check_environment()
    assert report.index[~report["ok"]].tolist() == ["Python", "bundled crystals"]
    assert report.loc["bundled crystals", "fix"].strip()
