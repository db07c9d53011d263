"""What the readers of all formats make, before it is a row."""

from typing import Any, NamedTuple

Values = tuple[int, dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]
"""Line, values of fields, columns of the user's own, coordinates: what a row is built of."""


class Produced(NamedTuple):
    """Values of one row. Several can come from one line: those of a sweep, or of a template."""

    line: int
    values: dict[str, Any]
    extra: dict[str, Any] | None
    coordinates: dict[str, Any] | None = None
    """Where it stands in its parameter space, by field or column; None: it is no part of one."""
    template: Any = None
    """How its prompt is to be read, as it was given; None: as it stands."""
    key: str = ""
    """What its template's random choices are seeded by: the id of the row as authored, or its number from 0."""
