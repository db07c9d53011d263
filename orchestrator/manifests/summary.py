"""What a manifest holds: counted while it is read."""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from orchestrator.manifests.reading import AuthoredRow
from schemas.base import Frozen

_MOST_SHAPES = 1000
_MOST_NAMES = 1000


class ManifestSummary(Frozen):
    """Rows in all, by pipeline and by model, and the columns kept as the user's own, with the rows that have them."""

    rows: int = Field(ge=0)
    pipelines: dict[str, int]
    models: dict[str, int]
    extra_columns: dict[str, int] = Field(description="column -> rows; the first 1,000 columns")


class Tally:
    """Counts rows on their way: `for row in tally.count(read(...))`, then `tally.summary()`. Constant memory."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, str | None, tuple[str, ...]], int] = {}
        self._rows = 0
        self._pipelines: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._extra: Counter[str] = Counter()

    def count(self, rows: Iterable[AuthoredRow]) -> Iterator[AuthoredRow]:
        """The same rows, counted."""
        shapes = self._shapes
        for authored in rows:
            row = authored.row
            # Most rows share a few shapes: one look-up a row, taken apart later.
            shape = (row.pipeline, row.model, tuple(row.extra))
            if shape in shapes:
                shapes[shape] += 1
            else:
                if len(shapes) >= _MOST_SHAPES:
                    self._take_apart()
                shapes[shape] = 1
            yield authored

    def summary(self) -> ManifestSummary:
        """What was counted so far."""
        self._take_apart()
        return ManifestSummary(
            rows=self._rows,
            pipelines=dict(self._pipelines.most_common()),
            models=dict(self._models.most_common()),
            extra_columns=dict(self._extra),
        )

    def _take_apart(self) -> None:
        for (pipeline, model, columns), rows in self._shapes.items():
            self._rows += rows
            self._pipelines[pipeline] += rows
            self._models[model or ""] += rows
            for column in columns:
                if column in self._extra or len(self._extra) < _MOST_NAMES:
                    self._extra[column] += rows
        self._shapes.clear()
