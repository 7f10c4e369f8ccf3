"""Hybrid models for crystals: composition features and graph networks, separate and together.

Importing this package loads nothing heavy; import the module you need, for
example ``from course_lib.datasets import load_dataset``.
"""

__version__ = "0.1.0"
