"""What happened, as events in the order of time; what `promptmill logs` shows.

From the object store: submission, control events, retries, pieces (every attempt that came to a result), images that
an attempt left without one, losses that the dispatcher wrote down. From the ledger, while the job is in it: where its
tasks stand now, and what went wrong last. What nobody wrote down cannot be told: an attempt that was given back
without a result leaves no trace once its task is counted.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from ulid import ULID

from schemas.base import Frozen
from services.losses import read_losses
from services.store import ObjectStore

EventKind = Literal["submitted", "control", "retry", "handed_out", "done", "failed", "lost", "left", "finalized"]


class Event(Frozen):
    """One thing that happened. `at` is UTC, ISO 8601; `counts`: of several results, this is the row's outcome."""

    at: str
    kind: EventKind
    text: str
    task: str | None = None
    worker: str = ""
    token: str = ""
    error_class: str | None = None
    counts: bool = False


class WorkerShare(Frozen):
    """What one worker contributed to a job's outcomes. `seconds` is denoising time."""

    worker: str
    done: int
    failed: int
    images: int
    seconds: float
    first: str
    last: str


class History(Frozen):
    """Events, the oldest first; `now` says where things stand at this moment."""

    job: str
    row: str | None = None
    index: int | None = None
    events: tuple[Event, ...]
    workers: tuple[WorkerShare, ...] = ()
    rows_with_losses: int = 0
    now: tuple[str, ...] = ()


def token_time(token: str) -> str:
    """When the lease of a token was given out: its first twelve hex digits are Redis' time in ms."""
    try:
        return iso(int(token[:12], 16) / 1000)
    except (ValueError, OverflowError, OSError):
        return ""


def in_order(events: list[Event]) -> tuple[Event, ...]:
    """The oldest first."""
    return tuple(sorted(events, key=_moment))


def _moment(event: Event) -> float:
    try:
        at = datetime.fromisoformat(event.at).timestamp()
    except ValueError:
        return 0.0
    return at + 0.999 if event.kind == "finalized" else at  # told to the second, and the last thing in it


def iso(seconds: float) -> str:
    """A time in seconds since 1970 as the other times are written."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def ulid_time(text: str) -> str:
    """When a ULID was made."""
    return iso(ULID.from_str(text).timestamp)


def losses(store: ObjectStore, job: str, members: set[str] | None) -> Iterator[Event]:
    """Losses on record: of these members, or of all."""
    for loss in read_losses(store, job):
        if members is None or loss.member in members:
            yield Event(
                at=token_time(loss.token),
                kind="handed_out",
                text=f"task {loss.member} handed to {loss.worker}",
                task=loss.member,
                worker=loss.worker,
                token=loss.token,
            )
            yield Event(
                at=loss.lost_at,
                kind="lost",
                text=f"task {loss.member}: {loss.worker} was lost (loss {loss.losses})",
                task=loss.member,
                worker=loss.worker,
                token=loss.token,
            )
