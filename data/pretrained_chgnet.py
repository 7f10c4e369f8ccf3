"""Compute CHGNet's features of the bundled crystals, and store them: ``python -m data.pretrained_chgnet``."""

from course_lib.datasets import load_dataset
from course_lib.pretrained import pretrained_features, store

if __name__ == "__main__":
    crystals = load_dataset("pbe_prototypes")
    store(pretrained_features(crystals["structure"]), crystals)
