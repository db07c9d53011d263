"""What the ledger answers with."""

from dataclasses import dataclass
from typing import Literal

from schemas.base import Frozen

LeaseAnswer = Literal["granted", "counted", "leased", "paused", "cancelled", "split", "unknown"]
RenewAnswer = Literal["renewed", "lost", "missing"]


@dataclass(frozen=True)
class Lease:
    """The answer to a request for a lease; `token` is empty unless it was granted."""

    answer: LeaseAnswer
    token: str = ""


@dataclass(frozen=True)
class CountDelta:
    """What a counted task adds to its job.

    `pausing` failures can pause the job. The last `run` of them, after which no row was done, are of `pausing_class`;
    None: all of them, where no row was done.
    """

    done: int
    failed: int
    images: int
    units: float
    pausing: int = 0
    pausing_class: str = ""
    run: int | None = None


@dataclass(frozen=True)
class Flight:
    """One member in flight: published, and leased where `token` is given. Times in ms of Redis' clock."""

    member: str
    since: int
    token: str = ""
    expiry: int = 0
    worker: str = ""
    rows: int = 0
    images: int = 0


@dataclass(frozen=True)
class JobProgress:
    """A job as the ledger sees it. Counts hold counted tasks only; `flights` has the rest.

    Before `settled` (ms of Redis' clock) a living worker may not have taken its lease up again. `suspect` is a member
    whose rows a worker could not read.
    """

    state: str
    reason: str
    automatic: bool
    priority: int
    control: str
    tasks: int
    counted: int
    done: int
    failed: int
    images: int
    units: float
    cursor: int
    opened: int
    again: int
    in_flight: int
    streak: int
    streak_class: str
    head_rows: int
    head_failures: int
    settled: int = 0
    suspect: str = ""


class WorkerReport(Frozen):
    """What a worker says about itself every few seconds."""

    worker: str
    host: str
    pid: int
    device: str
    job: str = ""
    member: str = ""
    seen: int = 0
