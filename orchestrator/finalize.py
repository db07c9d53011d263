"""Finalize: what a job came to, as `metadata.parquet`, the gallery and `summary.json`.

It reads the plan and the pieces, part by part in constant memory, and deletes nothing. It can be run again at any
time: rows that were done stay as they were, rows of a retry are taken in. `summary.json` is written last.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.cost.measured import size_name
from orchestrator.gallery import HTML, Gallery
from orchestrator.local_disk import local_disk, scratch_folder
from orchestrator.metadata_table import MetadataWriter, image_units, row_lines
from orchestrator.outcomes import PartOutcomes, read_outcomes
from schemas import keys
from schemas.errors import JobConflict
from schemas.job import FormatSize, JobDocument, ModelSpeed, Summary
from schemas.planned import PlannedRow
from schemas.result import ResultLine, rendered_units
from services import jobs
from services.failpoints import failpoint
from services.store import ObjectStore

PARQUET = "application/vnd.apache.parquet"


@dataclass
class _Tally:
    rows: int = 0
    done: int = 0
    images: int = 0
    earlier_images: int = 0
    dropped: int = 0
    flagged: int = 0
    bytes: int = 0
    units: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    speeds: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return self.rows - self.done - self.failures.total()

    def add(self, row: PlannedRow, outcome: ResultLine | None) -> None:
        self.rows += 1
        if outcome is None:
            return
        if outcome.status == "failed":
            self.failures[outcome.failure.error_class if outcome.failure else "render_error"] += 1
            return
        self.done += 1
        for image in outcome.images:
            self.bytes += image.bytes or 0
            self.units += image_units(row, outcome, image)
            if image.stage < outcome.last_stage:
                self.earlier_images += image.key is not None
                continue
            self.images += image.key is not None
            self.dropped += image.dropped
            self.flagged += bool(image.flagged)
        self._measure(row, outcome)

    def _measure(self, row: PlannedRow, outcome: ResultLine) -> None:
        """What later jobs are estimated by. A chain's time is that of several models."""
        if outcome.seconds and not row.then:
            speed = self.speeds.setdefault(row.model, [0.0, 0.0])
            speed[0] += rendered_units([row], [outcome])
            speed[1] += outcome.seconds
        for image in outcome.images:
            if image.bytes:
                size = self.sizes.setdefault(size_name(row.format, row.quality), [0, 0])
                size[0] += image.bytes
                size[1] += image.width * image.height


def finalize(
    store: ObjectStore,
    job: str,
    *,
    rounds: Sequence[jobs.Round] | None = None,
    now: datetime | None = None,
    before_writing: Callable[[], None] = lambda: None,
) -> Summary:
    """Write what a job came to, and return its summary.

    Args:
        job: the job's id. Every row of it has an outcome, or it was cancelled.
        rounds: those to take in, which the summary names; None: all. A retry beside them belongs to the next finalize.
        now: the time to write down, where anything changed since an earlier finalize.
        before_writing: called right before the table and the summary are written; may raise to keep them as they are.

    Raises:
        JobNotFound: no such job.
        JobConflict: rows without an outcome, and the job was not cancelled. Nothing that counts was written.
        ServiceError: the object store did not answer, or a part of the plan is missing.
        LocalDiskError: no room for the table on this machine.
    """
    document = jobs.read_document(store, job)
    rounds = jobs.read_rounds(store, document) if rounds is None else rounds
    tally = _Tally()
    gallery = Gallery(job, lambda name, page: store.put(keys.gallery(job, name), page, HTML))
    with scratch_folder() as folder:
        table = _write_table(read_outcomes(store, document, rounds), folder, tally, gallery)
        if tally.missing and jobs.read_control(store, document).state != "cancelled":
            raise JobConflict(f"job {job!r} is not finished: {tally.missing} of {tally.rows} rows have no outcome")
        failpoint("finalize.made")
        before_writing()
        store.put_file(keys.metadata_table(job), table, PARQUET)
        failpoint("finalize.table")
    summary = _summary(store, document, rounds, tally, now or datetime.now(UTC))
    gallery.finish(_caption(summary))
    failpoint("finalize.gallery")
    before_writing()
    store.put(keys.summary(job), summary.model_dump_json(indent=2).encode(), jobs.JSON)
    return summary


def _write_table(outcomes: Generator[PartOutcomes, None, None], folder: Path, tally: _Tally, gallery: Gallery) -> Path:
    """Write `metadata.parquet` to a folder of this machine, and count and show what passes."""
    with local_disk(folder), closing(MetadataWriter(folder)) as writer, closing(outcomes) as parts:
        for part in parts:
            writer.add([line for row in part.rows for line in row_lines(part.part, row, part.found.get(row.index))])
            _count(part, tally, gallery)
        return writer.finish()


def _count(part: PartOutcomes, tally: _Tally, gallery: Gallery) -> None:
    for row in part.rows:
        outcome = part.found.get(row.index)
        tally.add(row, outcome)
        for image in outcome.images if outcome else ():
            gallery.add(row, image)


def _summary(
    store: ObjectStore, document: JobDocument, rounds: Sequence[jobs.Round], tally: _Tally, now: datetime
) -> Summary:
    summary = Summary(
        job=document.job,
        state="cancelled" if tally.missing else "done",
        planned=tally.rows,
        done=tally.done,
        failed=tally.failures.total(),
        cancelled=tally.missing,
        images=tally.images,
        earlier_images=tally.earlier_images,
        dropped=tally.dropped,
        flagged=tally.flagged,
        bytes=tally.bytes,
        units=round(tally.units, 6),
        failures=dict(sorted(tally.failures.items())),
        speeds={
            model: ModelSpeed(units=round(cost, 6), seconds=round(seconds, 3))
            for model, (cost, seconds) in sorted(tally.speeds.items())
        },
        sizes={name: FormatSize(bytes=size, pixels=pixels) for name, (size, pixels) in sorted(tally.sizes.items())},
        rounds=tuple(found.round_id for found in rounds if found.round_id),
        submitted_at=document.submitted_at,
        finished_at=now.isoformat(timespec="seconds"),
    )
    earlier = jobs.read_summary(store, document.job)
    same = earlier is not None and earlier.model_copy(update={"finished_at": summary.finished_at}) == summary
    return earlier if same and earlier is not None else summary


def _caption(summary: Summary) -> str:
    counts = {"rows done": summary.done, "failed": summary.failed, "cancelled": summary.cancelled}
    counts |= {
        "images": summary.images,
        "images of earlier stages": summary.earlier_images,
        "dropped": summary.dropped,
        "flagged": summary.flagged,
    }
    told = [f"{count:,} {name}" for name, count in counts.items() if count or name in ("rows done", "images")]
    return f"{summary.planned:,} rows planned: {', '.join(told)}"
