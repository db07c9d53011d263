"""What a worker commits: a piece, one JSON line per row."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from schemas.base import Frozen, Versioned
from schemas.errors import ErrorClass
from schemas.planned import PlannedRow
from schemas.rows import RowId

RowStatus = Literal["done", "failed"]


class ImageResult(Frozen):
    """One image of a row. A dropped one (safety) has no object: key, sha256 and size are None."""

    image: int = Field(ge=0, description="number of the image in its row")
    stage: int = Field(0, ge=0, description="the stage that made it; an unchained row has stage 0 alone")
    seed: int
    key: str | None = Field(description="object key below the prefix")
    sha256: str | None = Field(description="hex digest of the file's bytes")
    bytes: int | None
    width: int
    height: int
    flagged: bool | None = Field(description="by the safety checker; None: the model has none, or it is off")
    dropped: bool = False
    batch_size: int = Field(description="images in the denoising loop that made it")
    slot: int = Field(description="its place in that loop")


class RowFailure(Frozen):
    """Why a row failed. Messages hold no secrets and no more than 2,000 characters."""

    error_class: ErrorClass
    message: str
    attempts: int = Field(1, ge=1, description="times the row was tried")


class AdapterInfo(Frozen):
    """A LoRA or a textual inversion that took part, by its content."""

    kind: Literal["lora", "embedding"]
    name: str
    source: str
    revision: str | None
    sha256: str = Field(description="hex digest of the file")
    tensors_sha256: str = Field(description="of what follows the file's header; A1111's `Lora hashes` begin so")


class RenderInfo(Frozen):
    """What else decides a pixel's last bits: where the row was rendered, and with which versions."""

    device: str
    dtype: str
    versions: dict[str, str] = Field(description="library -> version")
    model_source: str
    model_revision: str | None
    safety: str
    adapters: tuple[AdapterInfo, ...] = Field((), description="LoRAs, then embeddings, in the row's order")


class StageResult(Frozen):
    """What one stage of a chain came to: its output's size, and what else decided its pixels."""

    width: int
    height: int
    render: RenderInfo | None = Field(None, description="None: no image of the row came so far (all were dropped)")
    seconds: float = Field(0.0, description="denoising time of the row's share of its batches")
    inputs: dict[str, str] = Field(default_factory=dict, description="image (of stage 0), mask -> sha256")


class ResultLine(Versioned):
    """One row's outcome in a piece. `done` with all of its images, or `failed` with none.

    `width`, `height` and `render` are those of the last stage, `seconds` of all together, `inputs` those of
    stage 0.
    `images` holds the images of earlier stages too, where they are kept, before the last one of their number.
    """

    index: int
    id: RowId
    status: RowStatus
    images: tuple[ImageResult, ...] = ()
    failure: RowFailure | None = None
    render: RenderInfo | None = None
    stages: tuple[StageResult, ...] = Field((), description="every stage of a chain, in order; of one stage: none")
    inputs: dict[str, str] = Field(default_factory=dict, description="image, mask -> sha256")
    width: int | None = Field(None, description="output size in pixels, as rendered")
    height: int | None = None
    warnings: tuple[str, ...] = ()
    attempts: int = Field(1, ge=1, description="times its task was handed out: the losses before, and this one")
    worker: str = ""
    token: str
    seconds: float = Field(0.0, description="denoising time of the row's share of its batches")
    finished_at: str = Field("", description="UTC, ISO 8601")

    @property
    def last_stage(self) -> int:
        """Number of the row's last stage."""
        return max(0, len(self.stages) - 1)

    @property
    def final_images(self) -> tuple[ImageResult, ...]:
        """The images of the last stage: those that a row's `num_images` counts."""
        return tuple(image for image in self.images if image.stage == self.last_stage)


def outcome_rank(line: ResultLine) -> tuple[bool, str]:
    """Order among the lines of one row: done beats failed, then the highest token wins."""
    return (line.status == "done", line.token)


def best(lines: list[ResultLine]) -> ResultLine:
    """The line that counts for a row."""
    return max(lines, key=outcome_rank)


def rendered_units(rows: Iterable[PlannedRow], lines: Iterable[ResultLine]) -> float:
    """Cost of rows that have an outcome: where an input decided the size, of the size that it turned out to have."""
    known = {line.index: line for line in lines}
    return sum(_rendered_units(row, known.get(row.index)) for row in rows)


def _rendered_units(row: PlannedRow, line: ResultLine | None) -> float:
    if line is None or (row.width and row.height):
        return row.units()
    if row.then and len(line.stages) == row.stage_count:
        sizes = enumerate((stage.width, stage.height) for stage in line.stages)
        return sum(row.at_stage(number).sized(*size).units() for number, size in sizes)
    if row.then or not (line.width and line.height):
        return row.units()
    return row.sized(line.width, line.height).units()
