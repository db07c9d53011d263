"""Ranges of numbers: `1-10`, `0-100:25`, `0.5-1.0:0.1`, `10-1:-3`, and lists of them, `1-5, 10`.

Inclusive, as in OpenJobDescription's range expressions, and with decimals beside them. Decimals are exact:
`0.1-0.3:0.1` ends with 0.3, not with 0.30000000000000004.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

# Values of one range that are held; whole numbers in one range alone are not.
MOST_HELD = 1_000_000
MOST_VALUES = 10_000_000

# So many digits that the count of any range fits into the 28 of a decimal.
_NUMBER = r"-?(?:[0-9]{1,19}(?:\.[0-9]{1,8})?|\.[0-9]{1,8})"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:-\s*({_NUMBER})\s*(?::\s*({_NUMBER})\s*)?)?")
_LONGEST = 10_000

Number = int | float


class NoRange(ValueError):
    """The text is no range of numbers, or not one that can be used; says why."""


def read_range(text: str) -> Sequence[Number]:
    """The numbers that a text means, in its order.

    Raises:
        NoRange: it is none.
    """
    if len(text) > _LONGEST:
        raise NoRange(f"a range longer than {_LONGEST:,} characters")
    pieces = [_piece(part) for part in text.split(",")]
    if len(pieces) == 1:
        return pieces[0]
    if sum(map(len, pieces)) > MOST_HELD:
        raise NoRange(f"more than {MOST_HELD:,} numbers")
    return [number for piece in pieces for number in piece]


def is_range(text: str) -> bool:
    """Whether a text looks like a range: more than one number."""
    match = _RANGE.fullmatch(text) if len(text) <= _LONGEST else None
    return match is not None and match[2] is not None


def _piece(text: str) -> Sequence[Number]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise NoRange("expected a range such as 1-10, 0-100:25 or 0.5-1.0:0.1, or a list of values")
    first, last, step = (None if part is None else Decimal(part) for part in match.groups())
    assert first is not None
    if last is None:
        return [_number(first)]
    if step is None:
        if not (_is_whole(first) and _is_whole(last)):
            raise NoRange(f"a range of decimals needs its step: {text.strip()}:0.1")
        step = Decimal(1)
    if step == 0:
        raise NoRange("the step is 0")
    if (last - first) * step < 0:
        raise NoRange(f"it runs backwards: {last}-{first}, or with a step below 0: {first}-{last}:-1")
    return _numbers(first, last, step)


def _numbers(first: Decimal, last: Decimal, step: Decimal) -> Sequence[Number]:
    count = int((last - first) // step) + 1
    if _is_whole(first) and _is_whole(step):
        if count > MOST_VALUES:
            raise NoRange(f"{count:,} numbers; at most {MOST_VALUES:,} are accepted")
        return range(int(first), int(first) + count * int(step), int(step))
    if count > MOST_HELD:
        raise NoRange(f"{count:,} decimals; at most {MOST_HELD:,} are accepted")
    return [float(first + step * at) for at in range(count)]


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _number(number: Decimal) -> Number:
    return int(number) if _is_whole(number) else float(number)
