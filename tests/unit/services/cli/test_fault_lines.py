"""How faults and warnings are shown: a few one by one, many by kind with runs of lines."""

import pytest

from schemas.errors import Fault, FaultGroup
from services.cli.manifest_faults import SHOWN_LINES, group_lines


def group(places: list[tuple[int | None, str | None]], *, count: int | None = None, message: str = "odd") -> FaultGroup:
    first = tuple(Fault(line=line, field="steps", value=value, message=message) for line, value in places)
    return FaultGroup(field="steps", kind="odd", count=count or len(first), first=first)


def test_a_few_are_told_one_by_one() -> None:
    assert list(group_lines(group([(3, "0"), (7, None)]))) == ["line 3, steps = 0: odd", "line 7, steps: odd"]


def test_many_share_a_heading_and_runs_of_lines_with_one_value_are_drawn_together() -> None:
    shown = list(group_lines(group([(3, "0"), (4, "0"), (5, "1"), (9, "1"), (10, None), (11, None)])))
    assert shown == ["steps: odd (6 times)", "  lines 3-4 (0), 5 (1), 9 (1), 10-11"]


def test_messages_that_differ_are_told_below_the_heading() -> None:
    shown = list(group_lines(group([(line, None) for line in (1, 2, 3, 4)], message="so odd")))
    assert shown == ["steps: odd (4 times)", *(f"  line {line}, steps: so odd" for line in (1, 2, 3, 4))]


@pytest.mark.parametrize("message", ["odd", "so odd"])
def test_what_is_not_shown_is_counted(message: str) -> None:
    places = [(2 * line, None) for line in range(1, SHOWN_LINES + 11)]
    *_, last = group_lines(group(places, count=5000, message=message))
    assert last.endswith(f"... and {5000 - SHOWN_LINES:,} more")
