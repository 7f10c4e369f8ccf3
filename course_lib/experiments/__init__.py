"""Compare methods: the same folds for all, several seeds, every run recorded; then what the records say.

`runs` trains and records, `analysis` compares, `methods` lists what is compared. One command reproduces what stands
under ``data/results``; killed and started again, it goes on where it was::

    python -m course_lib.experiments
"""
