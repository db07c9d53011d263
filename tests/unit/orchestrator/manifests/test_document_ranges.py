"""Ranges: inclusive, exact, and refused where they mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifests.documents.ranges import MOST_VALUES, NoRange, is_range, read_range


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-10", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("0-100:25", [0, 25, 50, 75, 100]),
        ("0-100:30", [0, 30, 60, 90]),
        ("0.5-1.0:0.1", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("0.1-0.3:.1", [0.1, 0.2, 0.3]),
        ("10-1:-3", [10, 7, 4, 1]),
        ("-1 - 1", [-1, 0, 1]),
        ("1 - -1:-1", [1, 0, -1]),
        ("7-7", [7]),
        ("7", [7]),
        (" 1-3 , 10, 20-40 : 10 ", [1, 2, 3, 10, 20, 30, 40]),
        ("7.0-9.0", [7, 8, 9]),
        ("9223372036854775707-9223372036854775708", [9223372036854775707, 9223372036854775708]),
    ],
)
def test_a_range_means_these_numbers(text: str, numbers: list[float]) -> None:
    assert list(read_range(text)) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5-1", "it runs backwards: 1-5, or with a step below 0: 5-1:-1"),
        ("1-5:-1", "it runs backwards"),
        ("0.1-0.3", "a range of decimals needs its step: 0.1-0.3:0.1"),
        ("1-10:0", "the step is 0"),
        ("", "expected a range such as 1-10"),
        ("x", "expected a range such as 1-10"),
        ("1-", "expected a range such as 1-10"),
        ("1,,2", "expected a range such as 1-10"),
        ("1e3-4", "expected a range such as 1-10"),
        (f"1-{MOST_VALUES + 1}", "10,000,001 numbers; at most 10,000,000 are accepted"),
        ("0-1:0.00000001", "100,000,001 decimals; at most 1,000,000 are accepted"),
        ("0-1000000,5", "more than 1,000,000 numbers"),
        ("9999999999999999999-1:-0.00000001", "decimals; at most"),
        ("1," * 10_000, "a range longer than 10,000 characters"),
    ],
)
def test_a_text_that_is_no_range_says_why(text: str, message: str) -> None:
    with pytest.raises(NoRange) as caught:
        read_range(text)
    assert message in str(caught.value)


def test_whole_numbers_are_counted_out_without_being_held() -> None:
    assert isinstance(read_range("0-9999999"), range)


@given(first=st.integers(-1000, 1000), count=st.integers(0, 50), step=st.integers(1, 9), digits=st.integers(0, 4))
def test_decimals_are_the_ones_that_are_written(first: int, count: int, step: int, digits: int) -> None:
    def written(number: int) -> str:
        return (
            f"{'-' * (number < 0)}{abs(number) // 10**digits}.{abs(number) % 10**digits:0{digits}d}"
            if digits
            else str(number)
        )

    text = f"{written(first)}-{written(first + count * step)}:{written(step)}"
    numbers = [float(written(first + at * step)) for at in range(count + 1)]
    assert list(read_range(text)) == numbers


@given(st.text(alphabet="0123456789-.:, +e", max_size=30))
def test_any_text_is_a_range_or_says_why(text: str) -> None:
    try:
        numbers = read_range(text)
    except NoRange:
        return
    assert len(numbers) > 0


@pytest.mark.parametrize(
    ("text", "found"), [("1-5", True), ("1-5:2", True), ("5", False), ("a-b", False), ("1-5,7", False)]
)
def test_in_a_list_only_a_text_of_two_numbers_is_a_range(text: str, found: bool) -> None:
    assert is_range(text) is found
