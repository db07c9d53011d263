"""Steps that many tests of the ledger take."""

from redis import Redis

from schemas.job import ControlState
from services.ledger import CountDelta, Ledger

JOB = "job"


LONG = 60.0


NOTHING = CountDelta(0, 0, 0, 0.0)


TWO_DONE = CountDelta(done=2, failed=1, images=5, units=0.5)


PAUSED = ControlState(state="paused", last="01A")


CANCELLED = ControlState(state="cancelled", last="01A")


def opened(ledger: Ledger, tasks: int = 3, **changes: object) -> None:
    assert ledger.open(JOB, **({"tasks": tasks, "priority": 100, "counts": NOTHING} | changes))  # type: ignore[arg-type]


def leased(ledger: Ledger, member: str = "0", seconds: float = LONG) -> str:
    lease = ledger.lease(JOB, member, worker="w", seconds=seconds)
    assert lease.answer == "granted"
    return lease.token


def expire(ledger: Ledger, member: str, token: str) -> None:
    """As if the worker had said nothing for a lease's time."""
    assert ledger.renew(JOB, member, token, worker="w", seconds=-1)[0] == "renewed"


def lost(ledger: Ledger, member: str = "0", times: int = 1) -> None:
    for _ in range(times):
        token = leased(ledger, member)
        expire(ledger, member, token)
        assert ledger.lose(JOB, member, token, error="gone") > 0


def members(ledger: Ledger, wanted: int = 100) -> list[str]:
    return [member for member, _ in ledger.take({JOB: wanted})[JOB]]


def everything(redis: "Redis") -> set[str]:
    return set(redis.keys(f"*:job:{JOB}:*"))
