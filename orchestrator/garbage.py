"""What nothing names any more: orphaned images, unfinished uploads, and submissions that were given up.

An image is an orphan when neither the line that counts for a row nor `metadata.parquet` names it: its worker died
before the piece, or another attempt's image counts. It is removed only when it is older than the grace time and no
live lease has its token.

The order makes this safe beside workers and dispatchers at work. Images are listed first, then the leases are read,
then the pieces, then `metadata.parquet`. A worker writes its piece before its lease ends: an image whose lease is
gone when the leases are read has its piece by then, if it will ever have one. Workers whose lease was lost while they
were stopped are what the grace time is for.
"""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.local_disk import local_disk, scratch_folder
from orchestrator.outcomes import read_outcomes
from orchestrator.prefetch import prefetch
from schemas import keys
from schemas.base import Frozen
from schemas.errors import JobNotFound, ObjectMissing, ServiceError, UnreadableObject
from schemas.job import JobDocument
from services import jobs
from services.ledger import Ledger
from services.store import ObjectInfo, ObjectStore, UnfinishedUpload

LISTERS = 4
SAMPLE_KEYS = 20
REMOVED_AT_ONCE = 1000


class Garbage(Frozen):
    """What was found of one job. `removed` tells whether it is gone; sizes in bytes."""

    job: str
    abandoned: bool = False
    objects: int = 0
    bytes: int = 0
    uploads: int = 0
    waiting: int = 0
    removed: bool = False
    sample: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class GarbageRule:
    """What may go. `remove_abandoned`: submissions that were never finished too; otherwise they are only told."""

    grace_seconds: float
    dry_run: bool = False
    remove_abandoned: bool = False


def collect(store: ObjectStore, ledger: Ledger, job: str, rule: GarbageRule) -> Garbage:
    """Remove the orphans of one job, and its unfinished uploads.

    `waiting` of the answer counts unnamed images that are too young, or whose lease lives.

    Args:
        store: the object store.
        ledger: knows the live leases.
        job: the job's id, or that of a submission that was never finished.
        rule: what may go.

    Raises:
        JobNotFound: neither a job nor a submission.
        UnreadableObject: `metadata.parquet` is of a later version; nothing was removed.
        ServiceError: the store or Redis does not answer.
        LocalDiskError: no room for the list of images.
    """
    now = _now(store)
    try:
        document = jobs.read_document(store, job)
    except JobNotFound:
        return _abandoned(store, job, now, rule)
    oldest = now - rule.grace_seconds if rule.grace_seconds else None
    with scratch_folder() as folder, closing(_Unnamed(folder)) as unnamed:
        _list_images(store, job, oldest, unnamed)
        if unnamed.any():
            unnamed.keep_tokens(_live_tokens(ledger, job))
            _keep_named(store, document, folder, unnamed)
        found = Garbage(job=job, **unnamed.totals(), sample=tuple(unnamed.keys(SAMPLE_KEYS)))
        if not rule.dry_run:
            for batch in unnamed.batches():
                store.delete(batch)
    uploads, note = _end_uploads(store, keys.job_folder(job), now - rule.grace_seconds, dry_run=rule.dry_run)
    return found.model_copy(update={"uploads": uploads, "note": note, "removed": not rule.dry_run})


def collect_all(store: ObjectStore, ledger: Ledger, rule: GarbageRule) -> Iterator[Garbage]:
    """`collect` for every job and every submission of the store; what went wrong with one is told in its `note`."""
    for job in jobs.list_jobs(store):
        try:
            yield collect(store, ledger, job, rule)
        except (JobNotFound, ObjectMissing, UnreadableObject) as error:
            yield Garbage(job=job, note=error.message)


def _now(store: ObjectStore) -> float:
    """The store's clock, by which its objects are dated; this machine's where it tells none."""
    told = store.clock()
    return time.time() if told is None else told


def _list_images(store: ObjectStore, job: str, oldest: float | None, into: "_Unnamed") -> None:
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="list") as pool:
        folders = store.list_folders(keys.images_folder(job))
        with closing(prefetch(pool, lambda folder: list(store.list(folder)), folders, LISTERS)) as listings:
            for listing in listings:
                into.add(listing, oldest)


def _live_tokens(ledger: Ledger, job: str) -> list[str]:
    now = ledger.now()
    return [flight.token for flight in ledger.flights(job) if flight.token and flight.expiry > now]


def _keep_named(store: ObjectStore, document: JobDocument, folder: Path, unnamed: "_Unnamed") -> None:
    with closing(read_outcomes(store, document)) as parts:
        for part in parts:
            unnamed.keep(image.key for line in part.found.values() for image in line.images if image.key)
    # Last, and read again: a finalize that ended meanwhile froze what it found.
    for named in _frozen_keys(store, document.job, folder):
        unnamed.keep(named)


def _frozen_keys(store: ObjectStore, job: str, folder: Path) -> Iterator[list[str]]:
    path = folder / "metadata.parquet"
    try:
        with local_disk(folder), path.open("wb") as file:
            store.download(keys.metadata_table(job), file)
    except ObjectMissing:
        return
    try:
        with closing(pq.ParquetFile(path)) as table:
            for batch in table.iter_batches(columns=["key"]):
                yield [key for key in batch.column(0).to_pylist() if key]
    except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as error:
        raise UnreadableObject(
            f"{keys.metadata_table(job)} cannot be read ({error}); nothing of {job} was removed",
            hint="it was written by a later version, or is damaged: update this one, or let the job be finalized again",
        ) from None


def _end_uploads(store: ObjectStore, folder: str, oldest: float, *, dry_run: bool) -> tuple[int, str]:
    """Give up the old unfinished uploads below a folder; how many, and why they could not be found."""
    try:
        found: list[UnfinishedUpload] = [one for one in store.unfinished_uploads(folder) if one.begun <= oldest]
        for upload in found if not dry_run else ():
            store.abort_upload(upload)
    except ObjectMissing:  # how some stores say that there are none
        return 0, ""
    except ServiceError as error:  # some stores have no word for it, and some keys no right
        return 0, f"unfinished uploads cannot be seen: {error.message}"
    return len(found), ""


def _abandoned(store: ObjectStore, job: str, now: float, rule: GarbageRule) -> Garbage:
    """A submission that was never finished: given up once its newest object is older than the grace time."""
    found = list(store.list(keys.job_folder(job)))
    ours = [info.key for info in found if info.key.startswith(keys.claims_folder(job))]
    ours += [info.key for info in found if info.key == keys.submission(job)]
    if not ours:  # without a claim it is somebody else's folder
        raise JobNotFound(f"no job {job!r} in {store.place}", hint="`promptmill list` names all jobs")
    newest = max(info.modified if info.modified is not None else now for info in found)
    if rule.grace_seconds and newest > now - rule.grace_seconds:
        return Garbage(job=job, waiting=len(found), note="still being submitted, or cut short lately")
    dry_run = rule.dry_run or not rule.remove_abandoned
    uploads, note = _end_uploads(store, keys.job_folder(job), now - rule.grace_seconds, dry_run=dry_run)
    if not dry_run:
        # The claim last: cut short, this leaves a submission that can be found, and removed, again.
        store.delete([info.key for info in found if info.key not in ours])
        store.delete(ours)
    return Garbage(
        job=job,
        abandoned=True,
        objects=len(found),
        bytes=sum(info.size for info in found),
        uploads=uploads,
        removed=not dry_run,
        sample=tuple(info.key for info in found[:SAMPLE_KEYS]),
        note=note,
    )


class _Unnamed:
    """Images that nothing has named yet, on disk: a job can have millions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with local_disk(folder):
            self._database = sqlite3.connect(folder / "unnamed.sqlite")
            self._database.execute("PRAGMA journal_mode=OFF")  # it dies with its folder: nothing to recover
            self._database.execute(
                "CREATE TABLE images (key TEXT PRIMARY KEY, size INTEGER, token TEXT, old INTEGER) WITHOUT ROWID"
            )

    def close(self) -> None:
        self._database.close()

    def add(self, listing: list[ObjectInfo], oldest: float | None) -> None:
        """Take listed objects in, those that are images of ours. Where `oldest` is None, every one is old enough."""
        rows = []
        for info in listing:
            try:
                token = keys.parse_image(info.key).token
            except ValueError:
                continue  # somebody else's file
            old = oldest is None or (info.modified is not None and info.modified <= oldest)
            rows.append((info.key, info.size, token, old))
        with local_disk(self._folder):
            self._database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", rows)

    def any(self) -> bool:
        return self._database.execute("SELECT 1 FROM images LIMIT 1").fetchone() is not None

    def keep(self, named: "Iterator[str] | list[str]") -> None:
        """These are named: no orphans."""
        with local_disk(self._folder):
            self._database.executemany("DELETE FROM images WHERE key = ?", ((key,) for key in named))

    def keep_tokens(self, tokens: list[str]) -> None:
        """The lease with this token lives: its piece is still to come."""
        with local_disk(self._folder):
            self._database.executemany("UPDATE images SET old = 0 WHERE token = ?", ((token,) for token in tokens))

    def totals(self) -> dict[str, int]:
        count, size = self._database.execute("SELECT count(*), coalesce(sum(size), 0) FROM images WHERE old").fetchone()
        (waiting,) = self._database.execute("SELECT count(*) FROM images WHERE NOT old").fetchone()
        return {"objects": count, "bytes": size, "waiting": waiting}

    def keys(self, most: int) -> list[str]:
        found = self._database.execute("SELECT key FROM images WHERE old ORDER BY key LIMIT ?", [most])
        return [key for (key,) in found]

    def batches(self) -> Iterator[list[str]]:
        """The keys of all orphans."""
        found = self._database.execute("SELECT key FROM images WHERE old ORDER BY key")
        while batch := found.fetchmany(REMOVED_AT_ONCE):
            yield [key for (key,) in batch]
