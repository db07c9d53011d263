"""Every change of a task, each one Lua script, so that no two processes see half of it.

A member is a task (`7`) or one row of it alone (`7.2`). Its state, where it stands, and what moves it:

| state     | stands in                        | take      | lease   | renew    | release      | count   |
|-----------|----------------------------------|-----------|---------|----------|--------------|---------|
| waiting   | past the cursor                  | published | leased  | leased*  | -            | counted |
| again     | `:again`, not before its time    | published | leased  | leased*  | -            | counted |
| published | `:flight`                        | -         | leased  | leased*  | -            | counted |
| leased    | `:flight`, `:leases` with token  | -         | refused | leased   | again        | counted |
| counted   | bit in `:counted`                | -         | refused | lost     | -            | no-op   |

`open`, `grow` and `drop` make a job's tasks known, more, or forgotten; nothing else makes a member. After `open` with
a hold, and in a job that does not run, `take` takes nothing. `renew` and `release` need the lease's token; *`renew`
takes up a lease that Redis forgot. `requeue` moves published -> again (its message is gone), `split` moves a task to
its open rows, all of them again. A release as a loss needs an expired lease, so two dispatchers cannot count one loss
twice, or comes from the lease's holder. Nothing leaves `counted`.
"""

import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, cast

from redis import Redis
from redis.commands.core import Script

from schemas.job import ControlState
from schemas.task import member_name
from services.ledger.looks import Look, look
from services.ledger.presence import Presence
from services.ledger.records import (
    CountDelta,
    Flight,
    JobProgress,
    Lease,
    LeaseAnswer,
    RenewAnswer,
)
from services.redis_errors import mapped_errors

SCRIPTS = ("open", "take", "lease", "renew", "release", "requeue", "split", "count", "steer", "grow", "drop")
SAMPLES = 30
SAMPLES_SECONDS = 3600
_TOKEN_LETTERS = string.digits + string.ascii_lowercase


class Ledger(Presence):
    """The ledger of all jobs below one key prefix. Every method raises `LedgerUnavailable`."""

    def __init__(self, redis: "Redis", *, prefix: str, place: str) -> None:
        super().__init__(redis, prefix=prefix, place=place)
        folder = resources.files(__package__) / "scripts"
        prelude = (folder / "prelude.lua").read_text()
        self._scripts: dict[str, Script] = {
            name: self._redis.register_script(prelude + (folder / f"{name}.lua").read_text()) for name in SCRIPTS
        }

    def _base(self, job: str) -> str:
        return f"{self._prefix}:job:{job}"

    def _run(self, script: str, job: str, *args: Any) -> Any:
        with mapped_errors(self._place):
            return self._scripts[script](keys=[self._base(job)], args=list(args))

    # Jobs

    def open(
        self,
        job: str,
        *,
        tasks: int,
        priority: int,
        counts: CountDelta,
        counted: bytes = b"",
        retried: int = 0,
        hold_seconds: float = 0,
        settle_seconds: float = 0,
    ) -> bool:
        """Make a job known, with the tasks that the store shows as counted (a bit each, highest first).

        For `hold_seconds` nothing is published, so that living workers can take up their leases again. After
        `settle_seconds` those that did not are dead.
        Returns False where it was known already: nothing is changed then.
        """
        number = sum(byte.bit_count() for byte in counted)
        meta = {
            "tasks": tasks,
            "retried": retried,
            "priority": priority,
            "state": "running",
            "reason": "",
            "control": "",
        }
        meta |= {"counted": number, "done": counts.done, "failed": counts.failed, "images": counts.images}
        fields = [part for pair in (meta | {"units": counts.units}).items() for part in pair]
        waits = (int(hold_seconds * 1000), int(settle_seconds * 1000))
        return bool(self._run("open", job, counted, *waits, *fields))

    def grow(self, job: str, *, tasks: int, retried: int) -> bool:
        """Retries added tasks: `tasks` in all; the `retried` rows of all retries are no longer failed but open."""
        return bool(self._run("grow", job, tasks, retried))

    def drop(self, job: str, *, tasks: int) -> bool:
        """Forget a finalized job, unless it has grown since."""
        return bool(self._run("drop", job, tasks))

    def steer(self, job: str, control: ControlState) -> bool:
        """Set what the control events say, unless later ones were folded in already."""
        said = (control.state, control.priority, control.reason, int(control.automatic), control.last)
        return bool(self._run("steer", job, *said))

    def look(self, jobs: Sequence[str]) -> dict[str, Look]:
        """Jobs as the ledger holds them at one moment; those that it does not know are left out."""
        if not jobs:
            return {}
        with mapped_errors(self._place):
            found = look(self._redis, [self._base(job) for job in jobs])
        return {job: seen for job, seen in zip(jobs, found, strict=True) if seen is not None}

    def progress(self, job: str) -> JobProgress | None:
        """A job's counts, or None where the ledger does not know it."""
        found = self.look([job]).get(job)
        return found.progress if found else None

    def flights(self, job: str) -> list[Flight]:
        """Everything in flight of a job, published and leased."""
        found = self.look([job]).get(job)
        return found.flights if found else []

    # Members

    def take(self, wanted: Mapping[str, int]) -> dict[str, list[tuple[str, int]]]:
        """Members to publish now, of each job at most as many as wanted, with their losses so far. They are in flight
        from now on.
        """
        jobs = [job for job, number in wanted.items() if number > 0]
        if not jobs:
            return {}
        with mapped_errors(self._place):
            pipeline = self._redis.pipeline(transaction=False)
            for job in jobs:
                self._scripts["take"](keys=[self._base(job)], args=[wanted[job]], client=pipeline)
            answers = pipeline.execute()
        return {job: _pairs(found) for job, found in zip(jobs, answers, strict=True)}

    def lease(self, job: str, member: str, *, worker: str, seconds: float) -> Lease:
        """Ask for the lease of a member. A granted one comes with its token."""
        random = "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(4))
        answer, token = self._run("lease", job, member, worker.replace("|", "_"), int(seconds * 1000), random)
        return Lease(cast(LeaseAnswer, answer), token)

    def renew(
        self, job: str, member: str, token: str, *, worker: str, seconds: float, rows: int = 0, images: int = 0
    ) -> tuple[RenewAnswer, str]:
        """Keep a lease and report progress; answers with the job's state as well."""
        holder = worker.replace("|", "_")
        answer, state = self._run("renew", job, member, token, int(seconds * 1000), holder, rows, images)
        return cast(RenewAnswer, answer), state

    def give_back(
        self, job: str, member: str, token: str, *, delay_seconds: float = 0, error: str = "", suspect: bool = False
    ) -> bool:
        """The worker gives a member back unfinished; not a loss.

        Args:
            delay_seconds: not published before.
            suspect: its rows could not be read; the dispatcher looks whether the plan is to blame.
        """
        said = (0, int(delay_seconds * 1000), error[:500], int(suspect))
        return int(self._run("release", job, member, token, *said)) >= 0

    def clear_suspicion(self, job: str) -> None:
        """The plan of the suspected member is sound: its message was not."""
        with mapped_errors(self._place):
            self._redis.hdel(f"{self._base(job)}:meta", "suspect")

    def lose(self, job: str, member: str, token: str, *, error: str) -> int:
        """A lease expired: count a loss and publish again. Returns the losses so far, or -1: not so."""
        return int(self._run("release", job, member, token, 1, 0, error[:500], 0))

    def break_off(self, job: str, member: str, token: str, *, error: str) -> int:
        """The worker cannot go on with a member, and nobody foresaw why: a loss, told by its holder. As `lose`."""
        return int(self._run("release", job, member, token, 2, 0, error[:500], 0))

    def requeue(self, job: str, member: str, since: int) -> bool:
        """Publish a member again whose message is gone."""
        return bool(self._run("requeue", job, member, since))

    def split(self, job: str, task: int, rows: Iterable[int]) -> bool:
        """Send the open rows (places in the task) of a task one by one from now on."""
        return bool(self._run("split", job, member_name(task), *(member_name(task, row) for row in rows)))

    def count(self, job: str, member: str, delta: CountDelta) -> bool:
        """Count a member whose rows all have an outcome. True where this call counted it."""
        run = delta.run if delta.run is not None else 0 if delta.done else delta.pausing
        counts = (delta.done, delta.failed, delta.images, delta.units, delta.pausing, delta.pausing_class, run)
        return int(self._run("count", job, member, *counts)) == 1

    def notes(self, job: str) -> tuple[dict[str, int], dict[str, str]]:
        """Losses and last errors by member."""
        base = self._base(job)
        with mapped_errors(self._place):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hgetall(f"{base}:losses")
            pipeline.hgetall(f"{base}:errors")
            losses, errors = pipeline.execute()
        return {member: int(count) for member, count in losses.items()}, errors

    def sample(self, images: Mapping[str, int]) -> None:
        """Note how many images each job has at this moment, for its rate; the last `SAMPLES` are kept."""
        if not images:
            return
        now = self.now()
        with mapped_errors(self._place):
            pipeline = self._redis.pipeline(transaction=False)
            for job, number in images.items():
                key = f"{self._base(job)}:samples"
                pipeline.rpush(key, f"{now}|{number}")
                pipeline.ltrim(key, -SAMPLES, -1)
                pipeline.expire(key, SAMPLES_SECONDS)
            pipeline.execute()

    def rate(self, job: str) -> float:
        """Images per second over the last samples; 0 where there is no movement to see."""
        with mapped_errors(self._place):
            texts = self._redis.lrange(f"{self._base(job)}:samples", 0, -1)
        if len(texts) < 2:
            return 0.0
        (first_at, first), (last_at, last) = (map(int, texts[at].split("|")) for at in (0, -1))
        return max(last - first, 0) * 1000 / max(last_at - first_at, 1)


def _pairs(answer: list[Any]) -> list[tuple[str, int]]:
    return [(answer[at], int(answer[at + 1])) for at in range(0, len(answer), 2)]
