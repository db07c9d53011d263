"""Lost leases in the object store: written by the dispatcher that counted them, read by `promptmill logs`.

They are a record and nothing stands on them: one that cannot be written is logged, and no more.
"""

import logging
from collections.abc import Iterator

from pydantic import ValidationError
from ulid import ULID

from schemas import keys
from schemas.errors import ServiceError
from schemas.losses import Loss
from services import jobs
from services.store import ObjectStore

log = logging.getLogger(__name__)


def write_losses(store: ObjectStore, job: str, losses: list[Loss]) -> None:
    """Write down what was lost; nothing where nothing was. Never raises for the store."""
    if not losses:
        return
    body = b"".join(loss.model_dump_json().encode() + b"\n" for loss in losses)
    try:
        store.put(keys.losses(job, str(ULID())), body, jobs.JSON_LINES)
    except ServiceError as error:
        log.warning("%s: losses are not on record: %s", job, error.message)


def read_losses(store: ObjectStore, job: str) -> Iterator[Loss]:
    """Every loss on record, the oldest first. Lines that this version does not know are left out."""
    for info in store.list(keys.losses_folder(job)):
        try:
            keys.parse_losses(info.key)
        except ValueError:
            continue  # somebody else's file
        for text in store.get(info.key).splitlines():
            try:
                yield Loss.model_validate_json(text)
            except ValidationError:
                log.warning("%s: a line that this version cannot read is left out", info.key)
