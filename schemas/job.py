"""A job: one submitted manifest with its defaults, its rounds and the control events that steer it."""

from typing import Any, Literal

from pydantic import Field

from schemas.base import Frozen, Versioned
from schemas.task import JobId, UlidText

ControlVerb = Literal["pause", "resume", "cancel", "priority"]
JobState = Literal["running", "paused", "cancelled", "done"]


class Totals(Frozen):
    """What a plan holds."""

    rows: int = Field(ge=0)
    images: int = Field(ge=0, description="of the rows' last stages")
    earlier_images: int = Field(0, ge=0, description="of earlier stages of chains, where they are kept")
    units: float = Field(ge=0)
    tasks: int = Field(ge=0)
    parts: int = Field(ge=0)
    batches: int = Field(0, ge=0, description="runs of rows with one batch key")


class JobSpec(Frozen):
    """What the user asked for beside the rows."""

    manifest_name: str
    manifest_sha256: str
    manifest_format: str
    defaults: dict[str, Any] = Field(default_factory=dict, description="--set NAME=VALUE")
    column_map: dict[str, str] = Field(default_factory=dict, description="our field -> the manifest's column")
    extra_columns: tuple[str, ...] = Field((), description="columns kept on request although their names are near ours")
    keep_going: bool = Field(False, description="errors in a row do not pause the job")
    max_units: float | None = Field(None, gt=0, description="cost at which the job is paused; None: no limit")
    task_units: float
    task_rows: int


class Submission(Versioned):
    """The claim on a job id: written before anything else of a job."""

    job: JobId
    spec: JobSpec
    submitted_at: str


class JobDocument(Versioned):
    """`job.json`: immutable, written last at submit. A job exists once it is there."""

    job: JobId
    spec: JobSpec
    totals: Totals
    priority: int = Field(100, ge=1, le=10_000, description="weight at the start; twice the weight, twice the share")
    submitted_at: str


class RoundDocument(Versioned):
    """`round.json` of a retry: written last. Its tasks and parts are numbered after all earlier ones."""

    round_id: UlidText
    first_task: int = Field(ge=0)
    first_part: int = Field(ge=0)
    totals: Totals
    error_classes: tuple[str, ...] = ()
    created_at: str


class ControlEvent(Versioned):
    """One immutable event under `control/`. Folded in the order of their ULIDs; a cancel is final."""

    verb: ControlVerb
    priority: int | None = Field(None, ge=1, le=10_000)
    reason: str = ""
    by: str = Field("", description="who: a user, or the orchestrator")
    automatic: bool = Field(False, description="the job paused itself")
    max_units: float | None = Field(None, gt=0, description="of resume: the limit from now on; None: as before")


class ControlState(Frozen):
    """The fold of all events of a job.

    Attributes:
        last: the ULID of the last one folded, empty for none.
        max_units: the limit that an event set; None: the job's own counts.
    """

    state: Literal["running", "paused", "cancelled"] = "running"
    priority: int = 100
    reason: str = ""
    automatic: bool = False
    last: str = ""
    max_units: float | None = None


def fold(initial_priority: int, events: list[tuple[str, ControlEvent]]) -> ControlState:
    """Fold control events.

    | state     | pause  | resume  | cancel    | priority     |
    |-----------|--------|---------|-----------|--------------|
    | running   | paused | running | cancelled | new priority |
    | paused    | paused | running | cancelled | new priority |
    | cancelled | -      | -       | -         | -            |
    """
    state = ControlState(priority=initial_priority)
    for ulid, event in sorted(events, key=lambda pair: pair[0]):
        if state.state == "cancelled":
            break
        if event.verb == "priority":
            state = state.model_copy(update={"priority": event.priority or state.priority, "last": ulid})
            continue
        name = {"pause": "paused", "resume": "running", "cancel": "cancelled"}[event.verb]
        told = {"state": name, "reason": event.reason, "automatic": event.automatic, "last": ulid}
        told["max_units"] = event.max_units or state.max_units
        state = state.model_copy(update=told)
    return state


class ModelSpeed(Frozen):
    """What rows of one model cost, and the time that their denoising took on one device."""

    units: float = Field(ge=0)
    seconds: float = Field(ge=0)


class FormatSize(Frozen):
    """What images of one file format came to."""

    bytes: int = Field(ge=0)
    pixels: int = Field(ge=0)


class Summary(Versioned):
    """`summary.json`: what a job came to. `done + failed + cancelled == planned`."""

    job: JobId
    state: Literal["done", "cancelled"]
    planned: int
    done: int
    failed: int
    cancelled: int
    images: int
    earlier_images: int = Field(0, description="of earlier stages of chains; not among `images`")
    dropped: int
    flagged: int
    bytes: int
    units: float
    failures: dict[str, int] = Field(default_factory=dict, description="error class -> rows")
    speeds: dict[str, ModelSpeed] = Field(default_factory=dict, description="model -> what its rows took")
    sizes: dict[str, FormatSize] = Field(default_factory=dict, description="file format -> what its images came to")
    rounds: tuple[str, ...] = ()
    submitted_at: str
    finished_at: str
