"""What the checkers of the exercises are made of: readers, comparisons, and how each says what is not right."""

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib.teaching.checkers.declarative import (
    Choose,
    Found,
    Function,
    Judge,
    Number,
    asks,
    instead,
    numbers,
    numpy_array,
    one_number,
    without_arguments,
    yes_or_no,
)
from course_lib.teaching.checkers.feedback import Feedback, Hint, Unfinished, as_array, as_number, call, checker, listed

STATEMENTS = Judge("s", {"a": (True, "About a"), "b": (False, "About b")})


def empty_stub(*_):
    """A stub that the learner has not filled in."""


def hint_of(part, answer):
    """Return what a part says of an answer that is not right."""
    with pytest.raises(Hint) as told:
        part.check(answer)
    return str(told.value)


# --- feedback -------------------------------------------------------------------------------------------------------


def test_feedback_says_in_words_how_it_stands():
    for state, words in {"right": "Right.", "hint": "Not yet.", "unfinished": "Not done yet."}.items():
        feedback = Feedback(state, "see `x*y < y*x` *twice*")
        assert words in repr(feedback)
        assert f"<strong>{words}</strong> see <code>x*y &lt; y*x</code> <em>twice</em>" in feedback._repr_html_()
        assert bool(feedback) == (state == "right")


def test_a_hint_is_followed_by_the_answer_on_request():
    """In a fold in JupyterLab, as an attribute elsewhere; a right answer needs none."""
    check = asks(Number("x", 51456, [("not {value:g}", lambda x: True)]), STATEMENTS, shows="shown")
    feedback = check(2, {})
    assert feedback.answer == "x = 51456"
    assert "<details><summary>Show the answer</summary>x = 51456</details></div>" in feedback._repr_html_()
    assert "51456" not in repr(feedback)
    assert check(5145600, {}).answer == "x = 51456", "also where only the unit is wrong"
    right = check(51456, {"a": True, "b": False})
    assert "<details>" not in right._repr_html_()
    assert "<details>" not in check(..., {})._repr_html_()


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        (Number("x", -1 / 3, ()), "x = -0.3333"),
        (Number("x", 3.0, ()), "x = 3"),
        (Number("x", (1, 2), ()), ""),
        (Judge("s", {"a": (True, ""), "b c": (False, "")}), "a: True, b c: False"),
        (Choose("q", "b", {"a": ""}), "b is right. The reason is in the fold below the questions."),
    ],
)
def test_answers_are_told_in_words(part, answer):
    assert part.answer == answer


def test_hints_of_statements_and_choices_carry_the_answer():
    """Which statement is wrong is told first, in a fold of its own, since that gives one of two answers away."""
    feedback = asks(STATEMENTS, shows="")({"a": True, "b": True})
    assert feedback.answer == STATEMENTS.answer
    assert feedback.which == STATEMENTS.which("b")
    told, which, answer = feedback._repr_html_().split("<summary>")
    assert told.endswith("1 of 2 are right. About b<details>")
    assert which == "Show which one</summary>Think again about “b”.<details>"
    assert answer == "Show the answer</summary>a: True, b: False</details></details></div>"
    assert "“b”" not in repr(feedback)
    choice = Choose("q", "b", {"a": "not a"})
    assert asks(choice, shows="")("a").answer == choice.answer


@pytest.mark.parametrize(("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ("abc", "a, b and c")])
def test_words_are_listed(words, text):
    assert listed(words) == text


def test_a_mistake_in_a_checker_is_not_hidden():
    @checker
    def check_broken(answer):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check_broken(1)


# --- calling a learner's function -----------------------------------------------------------------------------------


def test_an_error_in_the_learners_function_is_told_with_its_line():
    def careless(x):
        y = x - x
        return 1 / y

    with pytest.raises(Hint, match=r"`careless\(2\)` stopped with ZeroDivisionError.*line `return 1 / y`"):
        call(careless, "careless", 2)


def test_a_call_is_told_without_what_is_long():
    def divides(numbers, by):
        raise ValueError("It ends with a full stop.")

    with pytest.raises(Hint, match=r"`divides\(\.\.\., 2\)` stopped .*: It ends with a full stop, in the line"):
        call(divides, "divides", pd.Series(np.arange(100)), 2)


def test_a_function_gets_copies():
    def spoils(array):
        array[...] = 0
        return 0.0

    numbers = np.ones(3)
    call(spoils, "spoils", numbers)
    assert numbers.sum() == 3


def test_a_function_with_other_arguments_is_told_so():
    with pytest.raises(Hint, match=r"take 1 argument, but yours is `f\(a, b\)`"):
        call(lambda a, b: a, "f", 1)


def test_not_implemented_is_not_finished():
    def later(x):
        raise NotImplementedError

    with pytest.raises(Unfinished):
        call(later, "later", 1)


def test_a_forgotten_return_is_no_empty_stub():
    def forgets(x):
        x + 1

    with pytest.raises(Unfinished):
        call(empty_stub, "f", 1)
    with pytest.raises(Hint, match=r"`f\(1\)` returns nothing\. Is a `return` missing") as told:
        call(forgets, "f", 1)
    assert not isinstance(told.value, Unfinished)


# --- reading an answer ----------------------------------------------------------------------------------------------


def test_numbers_and_arrays_are_checked():
    assert as_number(np.float32(2), "x") == 2
    assert as_array([[1, 2]], "x", (None, 2)).shape == (1, 2)
    with pytest.raises(Hint, match="one number is asked for"):
        as_number([1, 2], "x")
    with pytest.raises(Hint, match="3 numbers in a row are asked for"):
        as_array([1, 2], "x", (3,))
    with pytest.raises(Unfinished):
        as_array([1, ...], "x", (2,))


def test_a_returned_number_is_read():
    read = one_number(torch.tensor(2.5), "f(1)")
    assert read.shape == ()
    assert read == 2.5
    with pytest.raises(Hint, match=r"`f\(1\)` is the text '2'"):
        one_number("2", "f(1)")


def test_returned_numbers_are_read_in_the_shape_asked_for():
    np.testing.assert_array_equal(numbers(2, None)([[1, 2, 3], [4, 5, 6]], "f(1)"), [[1, 2, 3], [4, 5, 6]])
    with pytest.raises(Hint, match=r"`f\(\.\.\.\)` has the shape \(3,\), where 2 numbers"):
        numbers(2)([1, 2, 3], "f([0, 1])")


def test_only_an_array_of_numpy_is_one():
    np.testing.assert_array_equal(numpy_array(np.eye(2), "f(1)"), np.eye(2))
    assert numpy_array(1.5, "f(1)") == 1.5  # what arithmetic returns for numbers
    for other in ([1.0, 2.0], pd.Series([1.0, 2.0]), torch.ones(2)):
        with pytest.raises(Hint, match=r"`f\(\.\.\.\)` is a \w+\. The next cells need a NumPy array"):
            numpy_array(other, "f(1)")


@pytest.mark.parametrize("kind", [bool, np.bool_, np.asarray, torch.tensor])
def test_yes_and_no_are_read(kind):
    for truth in (True, False):
        read = yes_or_no(kind(truth), "f(1)")
        assert read.dtype == float
        assert read == truth


@pytest.mark.parametrize("answer", [1, 0.0, "True", [True], np.array([True]), np.array(1.0), torch.tensor(1)])
def test_what_is_neither_yes_nor_no_is_told(answer):
    with pytest.raises(Hint, match=r"`f\(\.\.\.\)` is an? \w+( \w+)?\. It should answer yes or no"):
        yes_or_no(answer, "f(3)")


def test_a_reader_may_tell_in_other_words():
    read = instead(one_number, "say it in one number")
    assert read(2, "f(1)") == 2
    with pytest.raises(Hint, match=r"^say it in one number$"):
        read([1, 2], "f(1)")


def test_arguments_become_dots():
    assert without_arguments("f(g(1), 2)") == "f(...)"


# --- statements and choices -----------------------------------------------------------------------------------------


def test_the_first_hint_counts_statements_and_asks_without_naming_one():
    assert STATEMENTS.check({"a": True, "b": False}) == {"a": True, "b": False}
    assert STATEMENTS.check({"a": np.True_, "b": np.False_})
    answers = {
        "1 of 2 are right. About b": {"a": True, "b": True},
        "0 of 2 are right. About a": {"a": False, "b": True},
        "Statement 'a' has the answer 'True'. Say True or False, without quotes.": {"a": "True", "b": False},
        "Statement 'a' has the answer 1. Say True or False.": {"a": 1, "b": False},
        "`s` lacks the key 'b'. Keep all keys of the stub.": {"a": True},
        "`s` has the key 'c', which is not in the stub. Remove it.": {"a": True, "b": False, "c": True},
    }
    for words, answer in answers.items():
        assert hint_of(STATEMENTS, answer) == words


@pytest.mark.parametrize("nothing", [..., None])
def test_a_statement_that_is_not_judged_waits(nothing):
    with pytest.raises(Unfinished, match="Statement 'b' waits for your True or False"):
        STATEMENTS.check({"a": True, "b": nothing})


def test_known_misjudgements_are_wrong_in_one_statement():
    assert STATEMENTS.right == {"a": True, "b": False}
    assert STATEMENTS.known == [({"a": False, "b": False}, "About a"), ({"a": True, "b": True}, "About b")]


def test_one_letter_is_right():
    choice = Choose("q", "b", {"c": "not c", "a": "not a"})
    assert choice.check("b") == "b"
    assert choice.known == [("c", "not c"), ("a", "not a")]
    assert hint_of(choice, "a") == "Think again about q: not a"
    for answer, shown in {"d": "'d'", "B": "'B'", "": "''", "ab": "'ab'"}.items():
        assert hint_of(choice, answer) == f"`q` is {shown}. Give one of the letters 'a', 'b', 'c'."
    assert hint_of(choice, 2).startswith("`q` is 2.")
    with pytest.raises(Unfinished):
        choice.check(...)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_the_first_mistake_that_fits_gives_the_hint():
    mistakes = [
        ("one", 1.0),
        ("two", 2.0, 2.5),
        ("again", 2.0),
        ("far, {value:g}", lambda x: x > 6),
        (lambda x: f"other, {x:g}", lambda x: True),
    ]
    number = Number("x", 5, mistakes, atol=0.1)
    assert number.check(5.1) == number.check(torch.tensor(5.1, dtype=float)) == 5.1
    for value, words in {2.0: "two", 2.5: "two", 7: "far, 7", 5.2: "other, 5.2", 4.8: "other, 4.8"}.items():
        assert hint_of(number, value) == words
    assert number.known == [(1.0, "one"), (2.0, "two"), (2.5, "two"), (2.0, "again")]


def test_a_number_may_differ_by_its_tolerance():
    wrong = [("no", lambda x: True)]
    assert Number("x", 1.0, wrong, atol=0.25).check(1.25) == 1.25
    assert Number("x", 0.0, wrong, atol=0.25).check(0.25) == 0.25
    assert Number("x", 1.0, wrong).check(1.004) == 1.004  # 5e-3 where nothing is said
    assert hint_of(Number("x", 1.0, wrong), 1.006) == "no"
    assert Number("x", 1e9, wrong).check(1e9 + 900)  # the large ones by their share
    assert hint_of(Number("x", 1e9, wrong), 1e9 + 1100) == "no"
    assert hint_of(Number("x", -1e9, wrong), -1e9 + 1100) == "no"
    assert Number("x", -1e9, wrong).check(-1e9 + 900)


def test_a_range_holds_its_limits():
    number = Number("x", (1, 2), [("small, {value}", lambda x: x < 1), ("large", (2, 1e9))])
    assert [number.check(value) for value in (1, 1.5, 2)] == [1, 1.5, 2]
    assert hint_of(number, 0.99) == "small, 0.99"
    assert hint_of(number, 2.01) == "large"
    assert hint_of(number, 150) == "large", "100 times too large says nothing of a range"


def test_a_number_that_is_right_but_for_rounding_or_percent_is_told_so():
    number = Number("x", 0.857, [("no, {value:g}", lambda x: True)])
    for value, words in {85.7: "in percent", 0.9: "right to 1 digit after", 0.95: "no, 0.95"}.items():
        assert words in hint_of(number, value)
    assert "in percent" in hint_of(number, 86.199), "a percentage may be as far off as the number"
    assert hint_of(number, 86.201) == "no, 86.201"
    told = Number("x", 0.857, [("mine", lambda x: True)])
    assert hint_of(told, 85.7) == "mine", "a hint for this mistake comes first"
    function = Number("x", 0.857, [(lambda x: "mine", lambda x: True)])
    assert "in percent" in hint_of(function, 85.7)


# --- functions ------------------------------------------------------------------------------------------------------

VALUES = {1: 0.123456789, 2: 0.323456789, 3: 0.000012345}


def function_of(*probes, **settings):
    """Return a question for a function with the values above at these probes."""
    return Function("f", VALUES.get, [(probe,) for probe in probes], (), lambda found: "other", **settings)


def test_a_function_that_rounds_is_told_its_digits():
    for digits in range(1, 7):
        words = hint_of(function_of(1, 2), lambda x, digits=digits: round(VALUES[x], digits))
        assert f"`f(...)` is right to {digits} {'digit' if digits == 1 else 'digits'} after the decimal point" in words
    assert hint_of(function_of(3), lambda x: round(VALUES[x], 7)) == "other", "rounded to more digits than anybody does"
    assert hint_of(function_of(1, 2), lambda x: 0.1 if x == 1 else 0.7) == "other", "one that happens to be rounded"
    assert hint_of(function_of(1, 2), lambda x: round(VALUES[x], x)) == "other"


def test_a_function_in_percent_is_told_so():
    assert "100 times too large" in hint_of(function_of(1, 2), lambda x: 100 * VALUES[x])
    assert hint_of(function_of(1, 2), lambda x: 100**x * VALUES[x] / 100) == "other", "only one of them in percent"


def answer_of(part, answer):
    """Return what a part's hint lets a reader ask for."""
    with pytest.raises(Hint) as told:
        part.check(answer)
    return told.value.answer


def test_the_hint_for_a_function_is_followed_by_the_first_call_that_is_wrong():
    assert answer_of(function_of(1, 2), lambda x: VALUES[1]) == "f(2) should be 0.323457."
    assert answer_of(function_of(1, 2), lambda x: 100 * VALUES[x]) == "f(1) should be 0.123457."
    assert answer_of(function_of(1, 2), lambda x: round(VALUES[x], 4)) == "f(1) should be 0.123457."
    rough = function_of(1, 2, atol=0.01)
    assert answer_of(rough, lambda x: VALUES[x] + 0.009 * x) == "f(2) should be 0.323457."
    assert answer_of(function_of(1), lambda x: "0.1") == "", "nothing to compare"
    settings = {"mistakes": [("known", lambda x: not x > 1)], "otherwise": lambda found: "other", "read": yes_or_no}
    flags = Function("f", lambda x: np.bool_(x > 1), [(2,)], **settings)
    assert answer_of(flags, lambda x: False) == "f(2) should be True."
    pairs = Function("f", lambda x: np.array([x, 0.1234561]), [(2,)], (), lambda found: "other", read=numbers(2))
    assert answer_of(pairs, lambda x: [0, 1]) == "f(2) should be [2.0, 0.123456]."
    long = Function("f", lambda x: x.mean(), [(np.arange(100),)], (), lambda found: "other")
    assert answer_of(long, lambda x: 0.0) == "", "a call that cannot be written down is no example"
    much = Function("f", lambda x: np.full(50, 0.5), [(2,)], (), lambda found: "other", read=numbers(None))
    assert answer_of(much, lambda x: [0.0]) == "", "nor is a result"


def test_a_constant_is_no_rounding():
    tenth = {1: 0.11, 2: 0.12}
    function = Function("f", tenth.get, [(1,), (2,)], (), lambda found: "constant")
    assert hint_of(function, lambda x: 0.1) == "constant"
    pairs = {1: np.array([0.11, 0.12]), 2: np.array([0.12, 0.11])}
    pairs = Function("f", pairs.get, [(1,), (2,)], (), lambda found: "constant", read=numbers(2))
    assert "right to 1 digit" in hint_of(pairs, lambda x: [0.1, 0.1])
    assert "right to 1 digit" in hint_of(function_of(1), lambda x: 0.1), "one value alone tells no constant"


def test_the_first_wrong_probe_is_the_example():
    right = [np.array(value) for value in (1.0, 2.0, 3.0)]
    found = Found([("a",), ("b",), ("c",)], [right[0], right[1] + 1e-5, np.array(4.0)], right)
    assert found.first() == (("b",), 2.00001, 2.0)
    assert found.first(atol=1e-4) == (("c",), 4.0, 3.0)
    zero = Found([(1,), (2,)], [np.array(1e-8), np.array(1.0)], [np.array(0.0), np.array(0.0)])
    assert zero.first() == ((1,), 1e-8, 0.0)


def test_a_function_is_compared_at_every_probe_and_then_with_what_follows():
    more = Function("f", abs, [(-1.0,)], [("the sign", lambda x: x)], lambda found: f"{found.first()[1]} at -1")
    one = ("one", lambda x: 1.0)
    positive = Function("f", abs, lambda: [(1.0,), (2.0,)], [one], lambda found: "other", then=more)
    assert asks(positive, shows="shown")(abs).message == "shown"
    assert asks(positive, shows=lambda values: f"{values[1]:g} at 2")(abs).message == "2 at 2"
    answers = {"one": lambda x: 1, "the sign": lambda x: x, "0.0 at -1": lambda x: max(x, 0), "other": lambda x: 3 - x}
    for words, answer in answers.items():
        assert hint_of(positive, answer) == words
    assert [hint for _, hint in positive.known] == ["one", "the sign"]
    assert more.known == [(more.mistakes[0][1], "the sign")]


def test_a_function_may_have_several_right_forms_and_a_tolerance():
    settings = {"mistakes": (), "otherwise": lambda found: "other"}
    either = Function("f", lambda x: x, [(1.0,)], also=(lambda x: -x,), **settings)
    assert either.check(lambda x: -x)
    rough = Function("f", lambda x: 100.0, [(1,)], rtol=0.01, **settings)
    assert rough.check(lambda x: 100.9)
    assert hint_of(rough, lambda x: 101.1) == "other"
    absolute = Function("f", lambda x: 0.0, [(1,)], atol=0.1, **settings)
    assert absolute.check(lambda x: 0.09)
    assert hint_of(absolute, lambda x: 0.11) == "other"
    strict = Function("f", lambda x: 0.0, [(1,)], **settings)
    assert strict.check(lambda x: 9e-10)
    assert hint_of(strict, lambda x: 1e-8) == "other"
    assert Function("f", lambda x: 1.0, [(1,)], **settings).check(lambda x: 1 + 9e-7)
    assert hint_of(Function("f", lambda x: 1.0, [(1,)], **settings), lambda x: 1 + 2e-5) == "other"


def test_a_mistaken_function_that_fails_on_a_probe_is_not_the_learners():
    mistakes = [("fails", lambda x: "text"), ("grows", lambda x: np.full(int(x), 0.1))]
    function = Function("f", lambda x: x, [(1.0,), (2.0,)], mistakes, lambda found: "other", read=numbers())
    assert hint_of(function, lambda x: 0.1) == "other"


def test_several_mistaken_functions_may_get_one_hint():
    mistakes = [("power", lambda x: np.float64(x) ** 2, lambda x: np.float64(x) ** -1)]  # 1/0 is infinite
    function = Function("f", lambda x: x, [(0.0,), (2.0,)], mistakes, lambda found: "other")
    assert hint_of(function, lambda x: x**2) == "power"
    assert hint_of(function, lambda x: x**3) == "other"
    assert [hint for _, hint in function.known] == ["power", "power"]


def test_what_a_function_returns_is_told_as_a_call():
    function = Function("f", lambda x: 1.0, [(1,)], (), lambda found: "no", read=numbers(2))
    with pytest.raises(Hint, match=r"`f\(\.\.\.\)` is a dict that cannot be read"):
        function.check(lambda x: {})


def test_a_hint_of_a_call_starts_with_what_was_tried():
    function = Function("f", lambda x: 1.0, [(1,)], (), lambda found: "no", lead="At zero: ")
    assert hint_of(function, lambda x: {}).startswith("At zero: `f(1)` is a dict")
    with pytest.raises(Unfinished, match=r"^`f` returns nothing yet"):
        function.check(empty_stub)


def test_parts_are_looked_at_in_order():
    check = asks(Number("x", 1.0, [("not x", lambda x: True)]), STATEMENTS, shows=lambda x, s: f"{x:g} {len(s)}")
    assert check(1, {"a": True, "b": False}).message == "1 2"
    assert check(2, {}).message == "not x"
    assert check(1, {}).state == "hint"
    assert len(check.parts) == 2
