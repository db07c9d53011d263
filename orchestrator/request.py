"""What a user asks for with a manifest, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.manifests.options import ManifestOptions
from schemas.base import Frozen
from schemas.errors import FaultGroup

PROGRESS_ROWS = 1000


@dataclass(frozen=True)
class SubmitRequest:
    """What to submit.

    Args:
        name: the manifest's name where the path is a spooled copy.
        strict: a warning is a fault.
        report: where every fault and warning is written, `.jsonl` or `.csv`.
    """

    path: Path
    options: ManifestOptions
    name: str | None = None
    base_folder: Path | None = None
    job_id: str | None = None
    priority: int = 100
    keep_going: bool = False
    task_units: float | None = None
    task_rows: int | None = None
    strict: bool = False
    report: Path | None = None

    @property
    def manifest_name(self) -> str:
        return self.name or self.path.name


class SubmitProgress(Frozen):
    """How far a submit is: rows that are checked and planned, then rows whose plan is in the store."""

    stage: str
    rows: int
    total: int | None = None


OnProgress = Callable[[SubmitProgress], None]
OnWarnings = Callable[[tuple[FaultGroup, ...]], None]
