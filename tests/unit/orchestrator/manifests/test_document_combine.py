"""Combination expressions, by the examples of OpenJobDescription's specification and beyond."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifests.documents.combine import BadCombination, axes_of, parse_combination, product

VALUES = {"A": [1, 2, 3], "B": [10, 11, 12], "C": [20, 21], "D": ["a", "b", "c"], "E": list(range(6))}


def rows(text: str) -> list[dict[str, object]]:
    axes = axes_of(parse_combination(text), VALUES)
    names = [name for axis in axes for name in axis.names]
    found = [dict(zip(names, step, strict=True)) for step in product(axes)]
    assert len(found) == math.prod(axis.length for axis in axes)
    return found


def test_a_product_is_every_pair_the_last_fastest() -> None:
    assert rows("A * C") == [{"A": a, "C": c} for a in (1, 2, 3) for c in (20, 21)]


def test_parentheses_go_through_their_names_together() -> None:
    assert rows("(A, B)") == [{"A": 1, "B": 10}, {"A": 2, "B": 11}, {"A": 3, "B": 12}]


def test_a_product_of_what_goes_together_and_another() -> None:
    assert rows("(A, B) * C")[:3] == [
        {"A": 1, "B": 10, "C": 20},
        {"A": 1, "B": 10, "C": 21},
        {"A": 2, "B": 11, "C": 20},
    ]
    assert len(rows("D * (A, B) * C")) == 18


def test_a_product_goes_together_with_a_name_of_as_many_values() -> None:
    found = rows("(A * C, E)")
    assert found[:3] == [{"A": 1, "C": 20, "E": 0}, {"A": 1, "C": 21, "E": 1}, {"A": 2, "C": 20, "E": 2}]
    assert len(found) == 6


def test_parentheses_around_one_name_are_that_name() -> None:
    assert rows("(A) * (C)") == rows("A*C")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(A, C)", "what goes together must have equally many values: A 3, C 2"),
        ("(A * B, E) * C", "equally many values: A * B 9, E 6"),
        ("", "expected a name or (, found its end"),
        ("A *", "expected a name or (, found its end"),
        ("A B", "expected * and another name, found B"),
        ("(A, B", "expected a comma or ), found its end"),
        ("A)", "expected * and another name, found )"),
        ("(A,)", "expected a name or (, found )"),
        ("A * B * A", "A stands twice in it"),
        ("(" * 100 + "A" + ")" * 100, "nested more than 16 levels deep"),
        ("A*" * 2000 + "A", "longer than 2,000 characters"),
    ],
)
def test_an_expression_that_cannot_be_used_says_why(text: str, message: str) -> None:
    with pytest.raises(BadCombination) as caught:
        rows(text)
    assert message in str(caught.value)


@given(st.lists(st.sampled_from(["A", "B", "C", "D", "E", "(", ")", ",", "*"]), max_size=20))
def test_any_text_is_an_expression_or_says_why(parts: list[str]) -> None:
    try:
        rows(" ".join(parts))
    except BadCombination:
        return


def test_names_can_be_taken_out_and_renamed() -> None:
    expression = parse_combination("(A, B) * C")
    assert str(expression.without({"A"})) == "(B) * C"
    assert str(expression.without({"A", "B"})) == "C"
    assert expression.without({"A", "B", "C"}) is None
    assert str(expression.renamed(str.lower)) == "(a, b) * c"
