"""Compare methods: the same folds for all, several seeds, every run recorded; then what the records say.

`studies` lists what is run, `runs` trains and records, `analysis` compares. One command reproduces the studies on the
bundled crystals, whose results are in ``data/results``; killed and started again, it continues where it stopped::

    python -m course_lib.experiments
"""
