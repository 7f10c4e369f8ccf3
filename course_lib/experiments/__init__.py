"""Compare methods: the same folds for all, several seeds, every run recorded; then what the records say.

`runs` trains and records, `analysis` compares, `methods` lists what is compared. One command reproduces all results in
``data/results``; killed and started again, it continues where it stopped::

    python -m course_lib.experiments
"""
