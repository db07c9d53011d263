"""What earlier jobs took: units per second of a device by model, and bytes per pixel by file format."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field, ValidationError

from orchestrator.local_disk import local_disk
from schemas.base import Versioned
from schemas.errors import UnreadableObject
from schemas.job import FormatSize, ModelSpeed, Summary
from services import jobs
from services.store import ObjectStore

MOST_JOBS = 50
"""Jobs of a store that are looked at: the last ones by their id."""
FILE_NAME = "measured.json"
_READERS = 8


class Measured(Versioned):
    """Sums over jobs. `place` says where they were rendered, for people."""

    place: str = ""
    jobs: int = Field(0, ge=0)
    speeds: dict[str, ModelSpeed] = Field(default_factory=dict, description="model -> units, and seconds of one device")
    sizes: dict[str, FormatSize] = Field(default_factory=dict, description="file format -> bytes and pixels")

    def units_per_second(self, model: str) -> float | None:
        """Of one device; None where the model was never rendered."""
        speed = self.speeds.get(model)
        return speed.units / speed.seconds if speed and speed.units and speed.seconds else None

    def bytes_per_pixel(self, size: str) -> float | None:
        """Of images of a kind that `size_name` names; None where there was none."""
        found = self.sizes.get(size)
        return found.bytes / found.pixels if found and found.pixels else None

    def plus(self, summary: Summary) -> "Measured":
        """With one more job."""
        if not summary.speeds and not summary.sizes:
            return self
        speeds, sizes = dict(self.speeds), dict(self.sizes)
        for model, speed in summary.speeds.items():
            known = speeds.get(model, ModelSpeed(units=0, seconds=0))
            speeds[model] = ModelSpeed(units=known.units + speed.units, seconds=known.seconds + speed.seconds)
        for name, size in summary.sizes.items():
            before = sizes.get(name, FormatSize(bytes=0, pixels=0))
            sizes[name] = FormatSize(bytes=before.bytes + size.bytes, pixels=before.pixels + size.pixels)
        return self.model_copy(update={"jobs": self.jobs + 1, "speeds": speeds, "sizes": sizes})


def size_name(file_format: str, quality: int | None) -> str:
    """What images of about the same bytes per pixel share: `png`, `webp lossless`, `jpeg 95`."""
    if file_format == "webp" and quality is None:
        return "webp lossless"
    return file_format if quality is None or file_format == "png" else f"{file_format} {quality}"


def measured_in_store(store: ObjectStore) -> Measured:
    """What the last jobs of a store took.

    Raises:
        ServiceError: the store does not answer.
    """
    ids = list(jobs.list_jobs(store))[-MOST_JOBS:]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="summaries") as readers:
        found = readers.map(lambda job: _summary(store, job), ids)
        return _sum("of this store", (summary for summary in found if summary is not None))


def _summary(store: ObjectStore, job: str) -> Summary | None:
    try:
        return jobs.read_summary(store, job)
    except UnreadableObject:
        return None  # of a later version


def _sum(place: str, summaries: Iterable[Summary]) -> Measured:
    total = Measured(place=place)
    for summary in summaries:
        total = total.plus(summary)
    return total


def measured_here(data_dir: Path) -> Measured:
    """What earlier runs on this machine took; nothing where there is no record of them."""
    try:
        return Measured.model_validate_json((data_dir / FILE_NAME).read_bytes())
    except (OSError, ValidationError):
        return Measured(place="on this machine")


def remember_here(data_dir: Path, summary: Summary) -> None:
    """Add a job to the record of this machine.

    Raises:
        LocalDiskError: the folder cannot be written.
    """
    path = data_dir / FILE_NAME
    with local_disk(path):
        data_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(measured_here(data_dir).plus(summary).model_dump_json(indent=2))
        temporary.replace(path)
