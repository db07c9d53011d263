"""Why rows failed: equal causes together, the most frequent first."""

import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from orchestrator.outcomes import read_outcomes
from schemas.base import Frozen
from schemas.errors import ErrorClass
from schemas.planned import PlannedRow
from schemas.result import RowFailure
from services import jobs
from services.store import ObjectStore

SAMPLE_ROWS = 5
MOST_GROUPS = 500  # so that a job whose every message is another stays small
_VARIABLE = re.compile(
    r"(?:s3|https?)://[^\s'\"]+"  # addresses
    r"|\bjobs/\S+"  # keys of ours
    r"|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"  # hashes and tokens
    r"|\d+(?:[.,]\d+)*"
)


class FailedRow(Frozen):
    """One row of a group, for a look at it."""

    id: str
    index: int
    prompt: str
    message: str
    attempts: int


class FailureGroup(Frozen):
    """Rows that failed alike. `pattern` is their message with `#` for what differs: numbers, addresses, hashes."""

    error_class: ErrorClass
    pattern: str
    rows: int
    attempts: int
    sample: tuple[FailedRow, ...]
    workers: dict[str, int]


class Failures(Frozen):
    """All failed rows of a job at one moment. `others` counts rows beyond the first groups."""

    job: str
    rows: int
    groups: tuple[FailureGroup, ...]
    others: int = 0


@dataclass
class _Group:
    rows: int = 0
    attempts: int = 0
    sample: list[FailedRow] = field(default_factory=list)
    workers: Counter[str] = field(default_factory=Counter)


def pattern_of(message: str) -> str:
    """A message without what differs from row to row."""
    return _VARIABLE.sub("#", message)


def read_failures(store: ObjectStore, job: str) -> Failures:
    """Group the rows that failed so far, also while the job runs. Reads the pieces of every part that is not done.

    Raises:
        JobNotFound: no such job.
        ServiceError: the object store did not answer.
    """
    document = jobs.read_document(store, job)
    groups: dict[tuple[ErrorClass, str], _Group] = {}
    rows = others = 0
    with closing(read_outcomes(store, document)) as parts:
        for part in parts:
            for row in part.rows:
                line = part.found.get(row.index)
                if line is None or line.failure is None or line.status != "failed":
                    continue
                rows += 1
                others += not _add(groups, row, line.failure, line.worker)
    made = [
        FailureGroup(
            error_class=error_class,
            pattern=pattern,
            rows=group.rows,
            attempts=group.attempts,
            sample=tuple(group.sample),
            workers=dict(group.workers.most_common(SAMPLE_ROWS)),
        )
        for (error_class, pattern), group in groups.items()
    ]
    made.sort(key=lambda group: (-group.rows, group.error_class, group.pattern))
    return Failures(job=job, rows=rows, groups=tuple(made), others=others)


def _add(groups: dict[tuple[ErrorClass, str], _Group], row: PlannedRow, failure: RowFailure, worker: str) -> bool:
    name = (failure.error_class, pattern_of(failure.message))
    if name not in groups and len(groups) >= MOST_GROUPS:
        return False
    group = groups.setdefault(name, _Group())
    group.rows += 1
    group.attempts = max(group.attempts, failure.attempts)
    group.workers[worker] += 1
    if len(group.sample) < SAMPLE_ROWS:
        group.sample.append(
            FailedRow(
                id=row.id,
                index=row.index,
                prompt=row.prompt,
                message=failure.message,
                attempts=failure.attempts,
            )
        )
    return True
