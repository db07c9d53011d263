"""Every error that promptmill raises on purpose.

```
PromptmillError                exit status
├── ManifestError              2    faults in a manifest, all of them, with line numbers
├── SettingsError              2    a setting or option that cannot be used
├── JobNotFound                3    no such job in this store
├── JobConflict                3    the job id is taken, or the job's state does not allow the verb
├── ServiceError               4    a service that promptmill stands on
│   ├── StoreUnavailable       4    no answer from the object store, after retries
│   ├── StoreRefused           4    wrong credentials, or not allowed
│   ├── BucketMissing          4    the bucket does not exist
│   ├── ObjectMissing          4    one object does not exist
│   ├── UnreadableObject       4    one object is of a shape that this version does not know
│   └── LedgerUnavailable      4    no answer from Redis
├── LocalDiskError             5    this machine's disk is full or not writable
├── JobPaused                  6    the job stopped itself: too many errors in a row
└── RowError                   -    how one row can end; it never ends the job
    ├── InvalidInput           invalid_input
    ├── ModelUnavailable       model_unavailable
    ├── OutOfMemory            out_of_memory
    ├── RenderFailed           render_error
    └── PoisonRow              poison
```

Exit status 0 is success, 1 a job that ended with failed rows, 130 an interrupt.
"""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.base import Frozen

ErrorClass = Literal["invalid_input", "model_unavailable", "out_of_memory", "render_error", "poison"]


class PromptmillError(Exception):
    """The root. `hint` says what the reader can do next; `exit_status` is what a command ends with."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Fault(Frozen):
    """One thing that is wrong with a manifest. `line` counts from 1 as an editor does; None: the whole file."""

    line: int | None
    field: str | None
    value: str | None
    message: str
    rows: int | None = Field(None, description="rows that have it, where it is told once for all of them")

    def __str__(self) -> str:
        where = "manifest" if self.line is None else f"line {self.line}"
        field = f", {self.field}" if self.field else ""
        value = f" = {self.value}" if self.value is not None else ""
        rows = f" ({self.rows:,} rows)" if self.rows is not None and self.rows > 1 else ""
        return f"{where}{field}{value}: {self.message}{rows}"


class FaultGroup(Frozen):
    """Faults of one kind, or warnings: how many there are, and the first of them in the order of their lines."""

    field: str | None
    kind: str = Field(description="what is wrong, in words that every one of them shares")
    count: int
    first: tuple[Fault, ...]
    rows: int | None = Field(None, description="rows that have one, where each is told once for all of them")


class ManifestError(PromptmillError):
    """Faults in a manifest. `total` counts them all; `faults` holds the first of them, `groups` the same by kind.

    `warnings` is what else was noticed, by kind.
    """

    exit_status = 2

    def __init__(
        self,
        faults: list[Fault],
        *,
        total: int | None = None,
        hint: str = "",
        groups: tuple[FaultGroup, ...] | None = None,
        warnings: tuple[FaultGroup, ...] = (),
    ) -> None:
        self.faults = faults
        self.total = len(faults) if total is None else total
        self.groups = _one_by_one(faults) if groups is None else groups
        self.warnings = warnings
        noun = "fault" if self.total == 1 else "faults"
        super().__init__(f"{self.total} {noun} in the manifest; nothing was sent", hint=hint)


def _one_by_one(faults: list[Fault]) -> tuple[FaultGroup, ...]:
    return tuple(FaultGroup(field=fault.field, kind=fault.message, count=1, first=(fault,)) for fault in faults)


class SettingsError(PromptmillError):
    """A setting or option that cannot be used."""

    exit_status = 2


class JobNotFound(PromptmillError):
    """No such job in this store."""

    exit_status = 3


class JobConflict(PromptmillError):
    """The job id is taken by another manifest, or the job's state does not allow the verb."""

    exit_status = 3


class ServiceError(PromptmillError):
    """A service that promptmill stands on does not do its part."""

    exit_status = 4


class StoreUnavailable(ServiceError):
    """The object store gave no answer, or only server errors, after all retries."""


class StoreRefused(ServiceError):
    """The object store refused the credentials or the action."""


class BucketMissing(ServiceError):
    """The bucket does not exist."""


class ObjectMissing(ServiceError):
    """One object does not exist."""


class UnreadableObject(ServiceError):
    """One object is of a shape that this version does not know."""


class LedgerUnavailable(ServiceError):
    """Redis gave no answer, or refused."""


class LocalDiskError(PromptmillError):
    """This machine's disk is full or not writable."""

    exit_status = 5


class JobPaused(PromptmillError):
    """The job stopped itself because it made no progress but errors."""

    exit_status = 6


class RowError(PromptmillError):
    """How one row can end; `error_class` is what its result and `retry --class` name."""

    error_class: ClassVar[ErrorClass] = "render_error"


class InvalidInput(RowError):
    """Missing or broken image, or too large."""

    error_class = "invalid_input"


class ModelUnavailable(RowError):
    """The model cannot be loaded here."""

    error_class = "model_unavailable"


class OutOfMemory(RowError):
    """Not enough device memory even for one image."""

    error_class = "out_of_memory"


class RenderFailed(RowError):
    """The pipeline raised."""

    error_class = "render_error"


class PoisonRow(RowError):
    """The row ended its worker, or broke off its task, three times when it was alone."""

    error_class = "poison"
