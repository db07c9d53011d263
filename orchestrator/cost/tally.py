"""What decides the cost of a plan, counted while it is made."""

from collections import Counter

from orchestrator.cost.measured import size_name
from orchestrator.planner.lines import Prototype
from schemas.planned import USUAL_SIDE, PlannedRow

_MOST_PROTOTYPES = 10_000


class CostTally:
    """Units by model, and images and pixels by file format. Constant memory."""

    def __init__(self) -> None:
        self._rows: dict[Prototype, int] = {}
        self._units: dict[str, float] = {}
        self._pixels: Counter[str] = Counter()
        self._unknown_sizes = 0

    def add(self, prototype: Prototype) -> None:
        """Count one row. Most rows share a few prototypes: they are taken apart later."""
        rows = self._rows
        if prototype in rows:
            rows[prototype] += 1
            return
        if len(rows) >= _MOST_PROTOTYPES:
            self._take_apart()
        rows[prototype] = 1

    @property
    def units(self) -> dict[str, float]:
        """Model -> units of its stages."""
        self._take_apart()
        return dict(self._units)

    @property
    def pixels(self) -> dict[str, int]:
        """Kind of file, as `size_name` names it -> pixels of all images that are kept."""
        self._take_apart()
        return dict(self._pixels)

    @property
    def unknown_sizes(self) -> int:
        """Rows whose size an `s3://` input decides: they count as 512 x 512."""
        self._take_apart()
        return self._unknown_sizes

    def _take_apart(self) -> None:
        for prototype, rows in self._rows.items():
            first = prototype.first
            stages = _stages(first)
            for stage in stages:
                self._units[stage.model] = self._units.get(stage.model, 0.0) + stage.units() * rows
            kept = stages if first.keep == "all" else stages[-1:]
            pixels = sum((stage.width or USUAL_SIDE) * (stage.height or USUAL_SIDE) for stage in kept)
            self._pixels[size_name(first.format, first.quality)] += pixels * first.num_images * rows
            self._unknown_sizes += rows if first.width is None or first.height is None else 0
        self._rows.clear()


def _stages(row: PlannedRow) -> list[PlannedRow]:
    sized = row if row.width and row.height else row.sized(row.width or USUAL_SIDE, row.height or USUAL_SIDE)
    return [sized.at_stage(number) for number in range(sized.stage_count)]
