"""Addresses that read a job's images without credentials, each until it expires."""

from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

from orchestrator.outcomes import read_outcomes
from schemas.base import Frozen
from schemas.errors import SettingsError
from schemas.result import ResultLine
from services import jobs
from services.store import ObjectStore

LONGEST_SECONDS = 7 * 86_400  # S3's own limit for a signature of version 4


class ImageLink(Frozen):
    """One image's address. `expires_at` is UTC, ISO 8601; credentials that expire earlier end it with them."""

    id: str
    index: int
    image: int
    key: str
    url: str
    expires_at: str


def image_links(
    store: ObjectStore, job: str, *, expires_seconds: float, rows: Collection[str] = ()
) -> Generator[ImageLink, None, None]:
    """Sign an address for every image of a job that there is by now, in the order of the plan.

    Whoever has such an address can read that one image, and nothing else, until it expires. It cannot be called back.

    Args:
        store: the object store; its own credentials sign, and nothing is asked of it for that.
        job: the job's id.
        expires_seconds: how long each holds, up to seven days.
        rows: only images of these ids; empty: all.

    Raises:
        JobNotFound: no such job.
        SettingsError: longer than a signature can hold, or not at all.
        ServiceError: the object store does not answer.
    """
    seconds = int(expires_seconds)
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise SettingsError("--expires: from 1s to 7d: S3 signs for no longer")
    document = jobs.read_document(store, job)
    wanted = frozenset(rows)
    with closing(read_outcomes(store, document)) as parts:
        for part in parts:
            for row in part.rows:
                line = part.found.get(row.index)
                if line is not None and (not wanted or row.id in wanted):
                    yield from _links_of_row(store, row.id, line, seconds)


def _links_of_row(store: ObjectStore, row_id: str, line: ResultLine, seconds: int) -> Iterator[ImageLink]:
    for image in line.images:
        if image.key is None:
            continue
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        yield ImageLink(
            id=row_id,
            index=line.index,
            image=image.image,
            key=image.key,
            url=store.presign(image.key, seconds),
            expires_at=ends.isoformat(timespec="seconds"),
        )
