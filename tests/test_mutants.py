"""The tool that changes modules to see whether a test fails."""

from __future__ import annotations

from importlib.util import module_from_spec

from mutants import EQUIVALENT, TESTS, Mutated, mutants, path_of


def test_changes_of_a_small_module():
    source = '''
def first(values: list[int] = None, n: int = 3):
    """Return 1 < 2."""
    if not values or n < 0.001:
        raise ValueError(f"{1 + 1} values; give {n - 1}")
    return sorted(values, reverse=True)[:n]
'''
    found = {mutant.source.decode() for mutant in mutants("small", source.encode())}
    changes = [
        ("= 3", "= (4)"),
        ("not values or n < 0.001", "(not values and n < 0.001)"),
        ("not values", "(values)"),
        ("n < 0.001", "(n <= 0.001)"),
        ("0.001", "(0.1)"),
        ('raise ValueError(f"{1 + 1} values; give {n - 1}")', "pass"),
        ("sorted(values, reverse=True)", "(sorted(values))"),
        ("True", "(False)"),
    ]
    assert found == {source.replace(*change) for change in changes}


def test_large_numbers_double_and_what_is_free_stays():
    source = "_CHUNK = 250\n_MOST = 250\ndef _hash(x):\n    return x + 3\ndef f(x):\n    return _hash(x) + 3"
    found = {mutant.source.decode() for mutant in mutants("small", source.encode())}
    changes = [("_MOST = 250", "_MOST = (500)"), ("_hash(x) + 3", "(_hash(x) - 3)"), ("_hash(x) + 3", "_hash(x) + (4)")]
    assert found == {source.replace(*change) for change in changes}


def test_changes_that_change_nothing_are_left_out_and_still_in_the_code():
    for part, put_there in EQUIVALENT:
        modules = [module for module in TESTS if part in path_of(module).read_text(encoding="utf-8")]
        assert modules, f"no line has {part!r}"
        for module in modules:
            left = mutants(module, path_of(module).read_bytes())
            assert not any(part in one.change and one.change.endswith(f"-> {put_there}]") for one in left)


def test_arrays_without_elements_are_not_filled_differently():
    found = {mutant.source.decode() for mutant in mutants("small", b"a = np.zeros((n, 0)), np.zeros(n)")}
    assert found == {"a = np.zeros((n, 1)), np.zeros(n)".replace("1", "(1)"), "a = np.zeros((n, 0)), (np.ones)(n)"}


def test_a_mutant_is_imported_instead_of_its_module():
    finder = Mutated(mutants("made_up", b"answer = 41")[0])
    spec = finder.find_spec("course_lib.made_up")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer == 42
    assert finder.find_spec("course_lib.graphs") is None
