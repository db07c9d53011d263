"""The claim on a job id: which manifest is being submitted under it.

A store without conditional writes keeps no two apart, and whoever submits can be killed or stand still between any two
of its requests, for any time, without a right to delete. So the submits that want an id come to one answer by Disk
Paxos (Gafni and Lamport, 2003), with the store as its one disk and an object where a block would be written over:

1. A submit takes a ballot higher than all that it knows of, writes a `want` of it into `source/claims/`, and lists all.
2. Where a higher one stands there, it begins again with a higher one of its own, after a pause that chance decides.
3. Else the `take` of the highest ballot says what may be decided already. One of another manifest: it gives way. One of
   this manifest, or none: it writes a `take` of its own ballot with the same content, and lists once more.
4. Where no higher `want` stands there now, that is decided: every later ballot finds this `take` and keeps to it. It
   writes `submission.json`, from which everybody else reads whose the id is.

So what is once decided stays, however late a request is; a `want` binds nobody, and nothing needs to be removed. Equal
submits write equal objects and go on together.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ulid import ULID

from schemas import keys
from schemas.errors import JobConflict, ObjectMissing
from schemas.job import JobDocument, JobSpec, Submission
from schemas.keys import ClaimKey
from services import jobs
from services.failpoints import failpoint
from services.store import ObjectStore

BALLOTS = 20
LONGEST_PAUSE_SECONDS = 2.0

Found = tuple[bool, JobDocument | None]


class _Overtaken(Exception):
    """A higher ballot was seen; `highest` is its number."""

    def __init__(self, highest: int) -> None:
        super().__init__(highest)
        self.highest = highest


def claim(store: ObjectStore, job: str, spec: JobSpec, *, pause: Callable[[float], None] = time.sleep) -> Found:
    """Take a job id for a manifest, or find that it is this one's already.

    Args:
        pause: waits for some seconds; between ballots of submits that overtake each other.

    Returns:
        Whether objects of the submission may be there already, and the job where it was submitted to its end.

    Raises:
        JobConflict: the id belongs to another manifest or other options, or is wanted for them at this moment.
        ServiceError: the store does not answer.
    """
    ulid, highest = str(ULID()), 0
    for attempt in range(BALLOTS):
        known = _owner(store, job)
        if known is not None:
            return _ours(store, job, known, spec)
        try:
            return _ballot(store, ClaimKey(job, highest + 1, ulid, "want"), spec), None
        except _Overtaken as overtaken:
            highest = overtaken.highest
            longest = min(LONGEST_PAUSE_SECONDS, 0.05 * 2**attempt)
            pause(random.uniform(0, longest))  # noqa: S311 - when it tries again is no secret
    raise JobConflict(
        f"job id {job!r} is wanted by other submits at this moment", hint="give the command again in a minute"
    )


def _ballot(store: ObjectStore, want: ClaimKey, spec: JobSpec) -> bool:
    """One ballot; whether somebody went as far before. Raises where it is overtaken, or another has the id."""
    mine = Submission(job=want.job, spec=spec, submitted_at=now()).model_dump_json().encode()
    store.put(keys.claim(want), mine, jobs.JSON)
    failpoint("claim.marked")
    earlier = _takes(store, want)
    body = mine
    if earlier:
        try:
            body = store.get(keys.claim(earlier[-1]))
        except ObjectMissing:  # `gc` removes a submission that was given up
            raise _Overtaken(want.number) from None
        known = Submission.model_validate_json(body)
        if not _is_equal(known.spec, spec):
            raise _taken_meanwhile(known)
    store.put(keys.claim(want._replace(step="take")), body, jobs.JSON)
    failpoint("claim.taken")
    _takes(store, want)
    store.put(keys.submission(want.job), body, jobs.JSON)
    return bool(earlier)


def _takes(store: ObjectStore, mine: ClaimKey) -> list[ClaimKey]:
    """All takes, the one of the highest ballot last.

    Raises:
        _Overtaken: there is a ballot higher than `mine`.
    """
    marks = sorted(
        mark for info in store.list(keys.claims_folder(mine.job)) if (mark := keys.parse_claim(info.key)) is not None
    )
    if marks and marks[-1].ballot > mine.ballot:
        raise _Overtaken(marks[-1].number)
    return [mark for mark in marks if mark.step == "take"]


def _owner(store: ObjectStore, job: str) -> JobSpec | None:
    try:
        return Submission.model_validate_json(store.get(keys.submission(job))).spec
    except ObjectMissing:
        return None


def _taken_meanwhile(known: Submission) -> JobConflict:
    return JobConflict(
        f"job id {known.job!r} is wanted by another submit, of {known.spec.manifest_name!r} with other content or "
        "options, at this moment, or by one that was cut short",
        hint="choose another --job-id, or give the same manifest and options as that one to go on with it; "
        f"what was given up a day ago goes with: promptmill gc {known.job} --abandoned",
    )


def _ours(store: ObjectStore, job: str, known: JobSpec, spec: JobSpec) -> Found:
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
