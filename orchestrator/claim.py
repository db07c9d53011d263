"""The claim on a job id: which manifest is being submitted under it. Stores without conditional writes keep it safe.

1. Whoever finds no `source/submission.json` writes a mark of its own below `source/claims/`, and only then lists them.
2. Where all marks are of the same manifest and options, it writes `submission.json`: the id is taken.
3. Where another's mark stands, it removes its own and gives way.

Of two that race, the one that wrote later sees the other's mark, as stores show what was written; so two can both give
way, and never both win. Marks of winners stay. Equal submits write equal objects and may go on together.
"""

from datetime import UTC, datetime

from ulid import ULID

from schemas import keys
from schemas.errors import JobConflict, ObjectMissing
from schemas.job import JobDocument, JobSpec, Submission
from services import jobs
from services.failpoints import failpoint
from services.store import ObjectStore


def claim(store: ObjectStore, job: str, spec: JobSpec) -> tuple[bool, JobDocument | None]:
    """Take a job id for a manifest, or find that it is this one's already.

    Returns:
        Whether objects of the submission may be there already, and the job where it was submitted to its end.

    Raises:
        JobConflict: the id belongs to another manifest or other options, or another submit wants it at this moment.
        ServiceError: the store does not answer.
    """
    known = _owner(store, job)
    if known is not None:
        return _ours(store, job, known, spec)
    mine = Submission(job=job, spec=spec, submitted_at=now())
    body = mine.model_dump_json().encode()
    key = keys.claim(job, str(ULID()))
    store.put(key, body, jobs.JSON)
    failpoint("claim.marked")
    others = [info.key for info in store.list(keys.claims_folder(job)) if info.key != key]
    if not all(_is_same(store, other, spec) for other in others):
        store.delete([key])
        known = _owner(store, job)  # the other may have won meanwhile, and be an equal one
        if known is not None:
            return _ours(store, job, known, spec)
        raise JobConflict(
            f"job id {job!r} is wanted by another submit at this moment, or by one that was cut short",
            hint="give the command again, or choose another --job-id",
        )
    store.put(keys.submission(job), body, jobs.JSON)
    return bool(others), None


def _owner(store: ObjectStore, job: str) -> JobSpec | None:
    try:
        return Submission.model_validate_json(store.get(keys.submission(job))).spec
    except ObjectMissing:
        return None


def _is_same(store: ObjectStore, key: str, spec: JobSpec) -> bool:
    try:
        return _is_equal(Submission.model_validate_json(store.get(key)).spec, spec)
    except ObjectMissing:
        return True  # it gave way since the list was made


def _ours(store: ObjectStore, job: str, known: JobSpec, spec: JobSpec) -> tuple[bool, JobDocument | None]:
    if not _is_equal(known, spec):
        differs = [name for name in JobSpec.model_fields if getattr(known, name) != getattr(spec, name)]
        raise JobConflict(
            f"job id {job!r} is taken: submitted with another {', '.join(differs)}",
            hint="choose another --job-id, or give the same manifest and options to go on",
        )
    try:
        return True, JobDocument.model_validate_json(store.get(keys.job_document(job)))
    except ObjectMissing:
        return True, None


def _is_equal(known: JobSpec, spec: JobSpec) -> bool:
    """Of the limit the first one counts, until `resume` sets another."""
    return known == spec.model_copy(update={"max_units": known.max_units})


def now() -> str:
    """The time in UTC, as documents hold it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
