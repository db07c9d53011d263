"""What `promptmill doctor` finds: one line a check, and what to do where something is not as it should be.

Checks of other packages come by the entry-point group `promptmill.checks`: functions from `Settings` to findings.
"""

from typing import Literal

from schemas.base import Frozen

CHECK_GROUP = "promptmill.checks"
Level = Literal["ok", "warning", "problem"]


class Finding(Frozen):
    """One check's result. `problem`: a service is wrong, and jobs cannot be worked on until it is mended."""

    check: str
    level: Level
    message: str
    what_to_do: str = ""


def ok(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check=check, level="ok", message=message)


def warning(check: str, message: str, what_to_do: str = "") -> Finding:
    """It works, or it will once the user does what is said."""
    return Finding(check=check, level="warning", message=message, what_to_do=what_to_do)


def problem(check: str, message: str, what_to_do: str = "") -> Finding:
    """A service is wrong."""
    return Finding(check=check, level="problem", message=message, what_to_do=what_to_do)


def worst(findings: list[Finding]) -> Level:
    """The worst level among findings."""
    levels = {finding.level for finding in findings}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"
