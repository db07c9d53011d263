"""A task: a run of consecutive planned rows, sent by reference. The message never holds a prompt."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from schemas.base import Frozen
from schemas.keys import JOB_ID
from schemas.rows import ModelAlias, PipelineName

JobId = Annotated[str, StringConstraints(max_length=64, pattern=f"^(?:{JOB_ID.pattern})$")]
UlidText = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]


class TaskStage(Frozen):
    """Pipeline and model of one stage of a task."""

    pipeline: PipelineName
    model: ModelAlias


class TaskRecord(Frozen):
    """A line of the task table: where the task's rows stand in the plan, and what they cost.

    `pipeline` and `model` are those of the first stage. `stages` names all of them; a table of an earlier version has
    none, and its tasks one stage.
    """

    task: int = Field(ge=0)
    part: int = Field(ge=0)
    offset: int = Field(ge=0, description="first byte in the part")
    length: int = Field(ge=1, description="bytes")
    rows: int = Field(ge=1)
    images: int = Field(ge=1)
    units: float = Field(ge=0)
    pipeline: PipelineName
    model: ModelAlias
    stages: tuple[TaskStage, ...] = Field((), description="in order; the rows of a task have the same ones")
    round_id: UlidText | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_stage_at_least(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("stages"):
            return values | {"stages": ({"pipeline": values.get("pipeline"), "model": values.get("model")},)}
        return values


class TaskMessage(Frozen):
    """What Celery carries: about 200 bytes. It may name fewer rows than the task (a row alone after losses).

    A message is a hint: lost, doubled or garbage, the outcome is the same.
    """

    v: Literal[1] = 1
    job: JobId
    task: int = Field(ge=0, le=2**31 - 1)
    row: int | None = Field(None, ge=0, description="the only row of the task to render, from 0; None: all")
    attempt: int = Field(0, ge=0, description="losses so far")
    round_id: UlidText | None = None
    part: int = Field(ge=0, le=2**31 - 1)
    offset: int = Field(ge=0)
    length: int = Field(ge=1, le=1 << 30)

    @property
    def member(self) -> str:
        """The name of the task, or of its one row, in the ledger."""
        return member_name(self.task, self.row)


def member_name(task: int, row: int | None = None) -> str:
    """`7` for task 7, `7.2` for its third row alone."""
    return str(task) if row is None else f"{task}.{row}"


def parse_member(member: str) -> tuple[int, int | None]:
    """The inverse of `member_name`.

    Raises:
        ValueError: not a member's name.
    """
    task, dot, row = member.partition(".")
    return int(task), int(row) if dot else None
