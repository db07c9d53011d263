"""Images of rows of a job, from the object store onto this machine."""

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from orchestrator.outcomes import read_outcomes
from schemas.errors import SettingsError
from schemas.keys import EXTENSIONS
from services import jobs
from services.store import ObjectStore


def download_rows(store: ObjectStore, job: str, ids: Collection[str], folder: Path) -> list[Path]:
    """Every image of these rows.

    Raises:
        JobNotFound: no such job.
        SettingsError: a row is not in the job, or has no images.
        ServiceError: the object store did not answer.
    """
    wanted = set(ids)
    files: list[Path] = []
    with closing(read_outcomes(store, jobs.read_document(store, job))) as parts:
        for part in parts:
            for row in part.rows:
                outcome = part.found.get(row.index)
                if row.id in wanted and outcome is not None and outcome.status == "done":
                    keys = [image.key for image in outcome.images if image.key is not None]
                    files += _downloaded(store, keys, folder / row.id, EXTENSIONS[row.format])
                    wanted.discard(row.id)
            if not wanted:
                break
    if wanted:
        raise SettingsError(
            f"job {job} has no images of {', '.join(sorted(wanted)[:5])}", hint=f"promptmill status {job} tells more"
        )
    return files


def _downloaded(store: ObjectStore, keys: list[str], folder: Path, extension: str) -> Iterator[Path]:
    folder.mkdir()
    for number, key in enumerate(keys):
        path = folder / f"{number}.{extension}"
        path.write_bytes(store.get(key))
        yield path
