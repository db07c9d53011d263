"""Fetch: a job's images onto this machine, verified, resumable, named by row id.

Beside the images it writes `metadata.jsonl`, a line per image with `file_name` first (the folder opens as a Hugging
Face imagefolder), and `failed.jsonl`, a line per failed row, where there are any. It works at any time: in mid-job it
takes what is there, and the same command goes on later. Lines stand in the order of the plan.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO, Any, Literal, NamedTuple

from orchestrator.extra_columns import flattened
from orchestrator.fetch_folder import FAILED, METADATA, FetchFolder, Stopped
from orchestrator.fetch_names import FileNames, file_names
from orchestrator.local_disk import disk_error
from orchestrator.metadata_table import RESERVED, SCHEMA, row_lines
from orchestrator.outcomes import PartOutcomes, read_outcomes
from orchestrator.prefetch import prefetch
from schemas.errors import ObjectMissing, StoreUnavailable
from schemas.job import JobDocument
from schemas.result import ImageResult
from services import jobs
from services.cli.output import byte_size
from services.store import ObjectStore

THREADS = 16
ATTEMPTS = 3
RETRY_SECONDS = 1.0
PROBLEMS_KEPT = 100
_IMAGE_COLUMNS = [
    name
    for name in SCHEMA.names
    if name not in ("part", "status", "dropped", "error_class", "error_message", "attempts", "keep", "stages", "extra")
]
_FAILED_COLUMNS = ["id", "index", "status", "error_class", "error_message", "attempts", "pipeline", "model", "prompt"]
_FAILED_COLUMNS += ["negative_prompt", "width", "height", "steps", "guidance_scale", "scheduler", "seed", "worker"]


class FetchProblem(NamedTuple):
    """One image that could not be had."""

    file_name: str
    key: str
    message: str


class FetchProgress(NamedTuple):
    """How far a fetch is; `total_images` counts what was planned, failed rows and dropped images too."""

    rows: int
    images: int
    bytes: int
    total_rows: int
    total_images: int


@dataclass
class FetchReport:
    """What a fetch came to. `problems` holds the first of them, `problem_count` counts them all."""

    job: str
    folder: Path
    rows_done: int = 0
    rows_failed: int = 0
    rows_pending: int = 0
    downloaded: int = 0
    kept: int = 0
    dropped: int = 0
    bytes: int = 0
    problem_count: int = 0
    problems: list[FetchProblem] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Images that are in the folder now, whole and right."""
        return self.downloaded + self.kept

    @property
    def exit_status(self) -> int:
        """1 where an image could not be had or a row failed, as `schemas.errors` says; else 0."""
        return 1 if self.problem_count or self.rows_failed else 0


class _Wanted(NamedTuple):
    file_name: str
    image: ImageResult
    key: str
    line: dict[str, Any]
    ends_row: bool


class _Fetched(NamedTuple):
    wanted: _Wanted
    how: Literal["downloaded", "kept", "problem"]
    message: str = ""


def fetch(
    store: ObjectStore,
    job: str,
    out_dir: Path,
    *,
    threads: int = THREADS,
    on_progress: Callable[[FetchProgress], None] | None = None,
) -> FetchReport:
    """Bring a job's images into a folder. Files that are there and right are kept.

    An image that is missing in the store, or whose bytes are not those that its result names, is counted in the
    report and has no line in `metadata.jsonl`; the others come all the same.

    Args:
        store: the object store.
        job: the job's id.
        out_dir: a new or empty folder, or one that this job was fetched into before.
        threads: downloads at the same time.
        on_progress: called in this thread after every image.

    Raises:
        JobNotFound: no such job.
        JobConflict: the folder holds another job, or other files.
        ServiceError: the object store did not answer.
        LocalDiskError: the disk is full or not writable; the hint says how much is missing.
        KeyboardInterrupt: as it came; everything that was fetched is whole, and the same call goes on.
    """
    document = jobs.read_document(store, job)
    stop = Event()
    folder = FetchFolder(out_dir, job, stop)
    work = _Fetch(store, document, folder, file_names(store, document), stop, on_progress)
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        try:
            work.run(pool, 4 * threads)
        except OSError as error:
            raise disk_error(error, out_dir, work.still_missing()) from error
        finally:
            stop.set()  # leaving early, by whatever: downloads under way end at their next chunk
    return work.report


class _Fetch:
    """One fetch under way."""

    def __init__(
        self,
        store: ObjectStore,
        document: JobDocument,
        folder: FetchFolder,
        names: FileNames,
        stop: Event,
        on_progress: Callable[[FetchProgress], None] | None,
    ) -> None:
        self.report = FetchReport(document.job, folder.path)
        self._store = store
        self._document = document
        self._folder = folder
        self._names = names
        self._stop = stop
        self._on_progress = on_progress
        self._rows = 0
        summary = jobs.read_summary(store, document.job)
        self._total_bytes = summary.bytes if summary else None

    def run(self, pool: ThreadPoolExecutor, ahead: int) -> None:
        """Fetch everything, then put both tables in place."""
        with (
            self._folder.draft() as metadata,
            self._folder.draft() as failed,
            closing(read_outcomes(self._store, self._document)) as parts,
        ):
            with (
                metadata.open("w", encoding="utf-8") as lines,
                failed.open("w", encoding="utf-8") as failures,
                closing(prefetch(pool, self._fetch, self._wanted(parts, failures), ahead)) as results,
            ):
                for found in results:
                    self._take(found, lines)
            metadata.replace(self._folder.path / METADATA)
            if self.report.rows_failed:
                failed.replace(self._folder.path / FAILED)
            else:
                (self._folder.path / FAILED).unlink(missing_ok=True)
        self._tell()

    def _wanted(self, parts: Iterator[PartOutcomes], failures: IO[str]) -> Iterator[_Wanted]:
        """Every image of every done row; other rows are counted on the way."""
        for part in parts:
            for row in part.rows:
                outcome = part.found.get(row.index)
                if outcome is None or outcome.status == "failed":
                    self._rows += 1
                    self.report.rows_pending += outcome is None
                    self.report.rows_failed += outcome is not None
                    if outcome is not None:
                        _write(failures, _columns(row_lines(part.part, row, outcome)[0], _FAILED_COLUMNS))
                    continue
                self.report.rows_done += 1
                names = self._names.by_image(row)
                lines = row_lines(part.part, row, outcome)
                for image, line in zip(outcome.images, lines, strict=True):
                    last = image is outcome.images[-1]
                    if image.key is None:
                        self.report.dropped += 1
                        self._rows += last
                        continue
                    name = names[image.image, image.stage]
                    yield _Wanted(name, image, image.key, {"file_name": name} | _columns(line, _IMAGE_COLUMNS), last)

    def _fetch(self, wanted: _Wanted) -> _Fetched:
        """One image, in a thread."""
        if self._stop.is_set():
            raise Stopped
        image = wanted.image
        size, sha256 = image.bytes or 0, image.sha256 or ""
        if self._folder.has(wanted.file_name, size, sha256):
            return _Fetched(wanted, "kept")
        for attempt in range(ATTEMPTS):
            try:
                if self._folder.put(wanted.file_name, lambda file: self._store.download(wanted.key, file) == sha256):
                    return _Fetched(wanted, "downloaded")
            except ObjectMissing:
                return _Fetched(wanted, "problem", "it is not in the object store")
            except StoreUnavailable:  # a connection that breaks within a file is tried again here, not by boto3
                if attempt == ATTEMPTS - 1 or self._stop.wait(RETRY_SECONDS * 2**attempt):
                    raise
        return _Fetched(wanted, "problem", "its bytes are not those that its result names (sha256)")

    def _take(self, found: _Fetched, lines: IO[str]) -> None:
        wanted, report = found.wanted, self.report
        self._rows += wanted.ends_row
        if found.how == "problem":
            report.problem_count += 1
            if len(report.problems) < PROBLEMS_KEPT:
                report.problems.append(FetchProblem(wanted.file_name, wanted.key, found.message))
        else:
            report.downloaded += found.how == "downloaded"
            report.kept += found.how == "kept"
            report.bytes += wanted.image.bytes or 0
            _write(lines, wanted.line)
        self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            totals, report = self._document.totals, self.report
            images = totals.images + totals.earlier_images
            self._on_progress(FetchProgress(self._rows, report.images, report.bytes, totals.rows, images))

    def still_missing(self) -> str:
        """How much is still to come: exactly where the job was finalized, else by the mean of the images so far."""
        report = self.report
        total = self._total_bytes
        if total is None and report.images:
            totals = self._document.totals
            total = report.bytes * (totals.images + totals.earlier_images) // report.images
        size = "" if total is None else f"about {byte_size(max(0, total - report.bytes))} are still to come: "
        return f"{size}make room and run the same command again, or name another folder; what was fetched is kept"


def _columns(line: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: line.get(name) for name in names} | flattened(line["extra"], RESERVED)


def _write(file: IO[str], line: dict[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
