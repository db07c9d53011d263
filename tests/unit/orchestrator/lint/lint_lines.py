"""What the tests of lint look at: the warnings of a report, by kind."""

from orchestrator.submit import ValidationReport

Told = tuple[str | None, str, list[int | None]]


def lines(report: ValidationReport) -> list[Told]:
    """Field, kind and lines of every kind of warning."""
    return [(group.field, group.kind, [fault.line for fault in group.first]) for group in report.warnings]


def texts(report: ValidationReport) -> list[str]:
    """Every warning as a user reads it, in the order of their lines."""
    return [str(fault) for group in report.warnings for fault in group.first]
