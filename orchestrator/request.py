"""What a user asks for with a manifest, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.manifests.options import ManifestOptions
from schemas.base import Frozen
from schemas.errors import FaultGroup, SettingsError

PROGRESS_ROWS = 1000


@dataclass(frozen=True)
class SubmitRequest:
    """What to submit.

    Args:
        name: the manifest's name where the path is a spooled copy.
        max_units: cost that the job must not exceed.
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
    max_units: float | None = None
    task_units: float | None = None
    task_rows: int | None = None
    strict: bool = False
    report: Path | None = None

    def refuse_over_limit(self, units: float) -> None:
        """Raises:
        SettingsError: a job of this cost would exceed `max_units`.
        """
        if self.max_units is not None and units > self.max_units:
            raise SettingsError(
                f"the job would cost {units:,.2f} units; --max-units is {self.max_units:,.2f}; nothing was sent",
                hint="fewer rows, images, steps or pixels, or a higher --max-units",
            )

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
