"""A row on its way to its outcome: its uploads, and what each of its stages came to."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from schemas.errors import RowError
from schemas.planned import PlannedRow
from schemas.result import ImageResult, RenderInfo, StageResult
from schemas.rows import stage_field


@dataclass
class OpenRow:
    """One row whose images come in.

    Attributes:
        row: as planned, with all of its stages, its sizes known.
        inputs: `image` and `mask` -> sha256 of what was read.
        stage_masks: number of a later stage -> sha256 of the mask that was read for it.
        uploads: (number of the image, stage) -> its upload. In that order they stand in the result.
    """

    row: PlannedRow
    inputs: Mapping[str, str]
    stage_masks: Mapping[int, str] = field(default_factory=dict)
    uploads: dict[tuple[int, int], Future[ImageResult]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    renders: dict[int, RenderInfo] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def last_stage(self) -> int:
        return self.row.stage_count - 1

    @property
    def is_ready(self) -> bool:
        """Whether all of the row's images are there, and their uploads have ended without an outage."""
        uploads = self.uploads.values()
        rendered = sum(stage == self.last_stage for _, stage in self.uploads)
        return rendered == self.row.num_images and all(done.done() and outage(done) is None for done in uploads)

    @property
    def images_up(self) -> int:
        """Images of the last stage that are uploaded."""
        return sum(done.done() for (_, stage), done in self.uploads.items() if stage == self.last_stage)

    def keeps(self, stage: int) -> bool:
        """Whether the images of a stage are uploaded."""
        return stage == self.last_stage or self.row.keep == "all"

    def note(self, stage: int, render: RenderInfo, seconds: float) -> None:
        """One image of a stage was rendered."""
        self.renders[stage] = render
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def warn(self, stage: int, warnings: tuple[str, ...]) -> None:
        """What the user should know; of a later stage only what no earlier one told already."""
        known = {text.partition(": ")[2] if text.startswith("then[") else text for text in self.warnings}
        where = f"{stage_field(stage - 1)}: " if stage else ""
        self.warnings += [f"{where}{text}" for text in warnings if text not in known]

    def result(self) -> dict[str, object]:
        """What a result line says of the row as it was rendered."""
        last = self.row.at_stage(self.last_stage)
        return {
            "render": self.renders.get(max(self.renders)) if self.renders else None,
            "inputs": dict(self.inputs),
            "width": last.width,
            "height": last.height,
            "warnings": tuple(self.warnings),
            "stages": tuple(map(self._stage, range(self.row.stage_count))) if self.row.then else (),
            "seconds": round(sum(self.seconds.values()), 4),
        }

    def _stage(self, number: int) -> StageResult:
        view = self.row.at_stage(number)
        masks = {"mask": self.stage_masks[number]} if number in self.stage_masks else {}
        return StageResult(
            width=view.width or 0,
            height=view.height or 0,
            render=self.renders.get(number),
            seconds=round(self.seconds.get(number, 0.0), 4),
            inputs=dict(self.inputs) if number == 0 else masks,
        )


def outage(upload: Future[ImageResult]) -> BaseException | None:
    """What ended an upload that is not its row's fault."""
    error = upload.exception() if upload.done() else None
    return None if isinstance(error, RowError) else error
