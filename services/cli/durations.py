"""Durations as people write them: `30s`, `15m`, `24h`, `7d`."""

import re
from typing import Any

import rich_click as click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


class Duration(click.ParamType[float]):
    """A duration in seconds; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is no duration: write it as 30s, 15m, 24h or 7d", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]
