"""What became of every row of a job, read part by part in constant memory.

A row's outcome is the union of all pieces of all rounds: done beats failed, then the highest token wins. A row that
is done in an earlier `metadata.parquet` stays as it is there.
"""

import json
import sqlite3
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.frozen_outcomes import FrozenOutcomes, read_frozen
from orchestrator.local_disk import local_disk, scratch_folder
from orchestrator.prefetch import prefetch
from schemas.job import JobDocument
from schemas.planned import PlannedRow
from schemas.result import ResultLine, best, outcome_rank
from services import jobs
from services.store import ObjectStore

READERS = 4  # parts read at the same time; each holds about a thousand rows in memory


@dataclass(frozen=True)
class PartOutcomes:
    """One part of the first plan. `found` holds the line that counts for each row, by index, where there is one."""

    part: int
    rows: list[PlannedRow]
    found: dict[int, ResultLine]


def read_outcomes(
    store: ObjectStore, document: JobDocument, rounds: Sequence[jobs.Round] | None = None
) -> Generator[PartOutcomes, None, None]:
    """Every part of a job's first plan, in order, with what became of its rows up to now.

    Args:
        store: the object store.
        document: the job's document.
        rounds: the rounds that count, for a caller who must know which; None: all that there are.

    Raises:
        ServiceError: the object store did not answer, or a part of the plan is missing.
        LocalDiskError: no room for the copy of `metadata.parquet` or the outcomes of retries.
    """
    job = document.job
    with (
        scratch_folder() as folder,
        ThreadPoolExecutor(READERS, thread_name_prefix="outcomes") as pool,
        closing(read_frozen(store, job, folder)) as frozen,
        closing(_RetryOutcomes(folder)) as retried,
    ):
        for found in (rounds or jobs.read_rounds(store, document))[1:]:
            retried.read(pool, store, job, range(found.first_part, found.first_part + found.parts))

        def read(part: int) -> tuple[PartOutcomes, set[int]]:
            return _read_part(store, job, part, frozen)

        for part, kept in prefetch(pool, read, range(document.totals.parts), READERS):
            for line in retried.of(part.rows):
                if line.index not in kept:
                    known = part.found.get(line.index)
                    part.found[line.index] = line if known is None else best([known, line])
            yield part


def _read_part(store: ObjectStore, job: str, part: int, frozen: FrozenOutcomes) -> tuple[PartOutcomes, set[int]]:
    """A part with its frozen outcomes and those of its own pieces; and which of them are frozen."""
    rows = jobs.read_plan_part(store, job, part)
    kept = frozen.part(part)
    # Nothing changes a row that is frozen, so that a finished part costs no listing of its pieces.
    pieces = {} if all(row.index in kept for row in rows) else jobs.part_outcomes(store, job, part)
    return PartOutcomes(part, rows, pieces | kept), set(kept)


class _RetryOutcomes:
    """Outcomes of the rows of all retries, on disk: a retry can hold every row of the job, in parts of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with local_disk(folder):
            self._database = sqlite3.connect(folder / "retries.sqlite", check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=OFF")  # it dies with its folder: nothing to recover
            self._database.execute("CREATE TABLE lines (row INTEGER PRIMARY KEY, done INTEGER, token TEXT, line TEXT)")

    def close(self) -> None:
        self._database.close()

    def read(self, pool: Executor, store: ObjectStore, job: str, parts: range) -> None:
        """Take the pieces of a retry's parts into account."""

        def lines_of(part: int) -> list[ResultLine]:
            return list(jobs.part_outcomes(store, job, part).values())

        for lines in prefetch(pool, lines_of, parts, READERS):
            with local_disk(self._folder):
                self._database.executemany(
                    "INSERT INTO lines VALUES (?, ?, ?, ?) ON CONFLICT (row) DO UPDATE"
                    " SET done = excluded.done, token = excluded.token, line = excluded.line"
                    " WHERE (excluded.done, excluded.token) > (done, token)",  # as schemas.result.outcome_rank
                    [(line.index, *outcome_rank(line), line.model_dump_json()) for line in lines],
                )

    def of(self, rows: list[PlannedRow]) -> list[ResultLine]:
        """The line of each of these rows that was retried and has one."""
        indices = json.dumps([row.index for row in rows])
        found = self._database.execute(
            "SELECT line FROM lines WHERE row IN (SELECT value FROM json_each(?))", [indices]
        )
        return [ResultLine.model_validate_json(text) for (text,) in found]
