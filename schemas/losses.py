"""What the dispatcher writes down when it finds that a worker was lost: the ledger forgets it with the task."""

from pydantic import Field

from schemas.base import Versioned


class Loss(Versioned):
    """One lease that expired. `member` is the task, or `7.2` for one row of it alone; times in UTC, ISO 8601."""

    member: str
    worker: str
    token: str = Field(description="of the lease: its first twelve digits are the time at which it was given out")
    lost_at: str
    losses: int = Field(ge=0, description="of this member so far, with this one")
