"""Reading the ledger: what it holds of jobs at one moment, many jobs with one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.ledger.records import Flight, JobProgress

_META_NUMBERS = ("priority", "tasks", "counted", "done", "failed", "images", "cursor", "opened")
_META_LATER = ("streak", "head_rows", "head_failures", "settled")
_ANSWERS = 5  # of one job


@dataclass(frozen=True)
class Look:
    """A job at one moment. `has_losses`: a member of it was lost and is not counted yet."""

    progress: JobProgress
    flights: list[Flight]
    has_losses: bool


def look(redis: Any, bases: Sequence[str]) -> list[Look | None]:
    """One look at jobs by their base keys; None where the ledger does not know one. One request, one moment."""
    pipeline = redis.pipeline(transaction=True)
    for base in bases:
        pipeline.hgetall(f"{base}:meta")
        pipeline.zcard(f"{base}:again")
        pipeline.zrange(f"{base}:flight", 0, -1, withscores=True)
        pipeline.hgetall(f"{base}:leases")
        pipeline.exists(f"{base}:losses")
    answers = pipeline.execute()
    return [_look(*answers[at : at + _ANSWERS]) for at in range(0, len(answers), _ANSWERS)]


def _look(
    meta: dict[str, str], again: int, published: list[tuple[str, float]], leases: dict[str, str], losses: int
) -> Look | None:
    if not meta:
        return None
    flights = [_flight(member, int(since), leases.get(member)) for member, since in published]
    return Look(_progress(meta, again, len(flights)), flights, bool(losses))


def _progress(meta: dict[str, str], again: int, in_flight: int) -> JobProgress:
    numbers = {name: int(meta.get(name, 0)) for name in (*_META_NUMBERS, *_META_LATER)}
    return JobProgress(
        state=meta["state"],
        reason=meta.get("reason", ""),
        automatic=meta.get("automatic") == "1",
        control=meta.get("control", ""),
        streak_class=meta.get("streak_class", ""),
        suspect=meta.get("suspect", ""),
        units=float(meta.get("units", 0)),
        again=again,
        in_flight=in_flight,
        **numbers,
    )


def _flight(member: str, since: int, lease: str | None) -> Flight:
    if lease is None:
        return Flight(member, since)
    token, expiry, worker, rows, images = lease.split("|")
    return Flight(member, since, token, int(expiry), worker, int(rows), int(images))
