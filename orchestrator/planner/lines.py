"""Rows to lines of the plan, fast: rows that differ only in texts, id, seed and inputs share all the rest.

`resolve` makes the first row of each kind, and with it a prototype; of every further one only what is its own is
written. A line says what `resolve(...).line()` would say, its fields in another order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from orchestrator.planner.defaults import Broken, PlannedInput
from orchestrator.planner.resolve import derived_seed, limits_broken, resolve
from orchestrator.planner.stage_lines import StageLine, stage_lines, then_text
from schemas.catalogue import ModelEntry
from schemas.planned import PlannedRow
from schemas.rows import ROW_TYPES, InpaintStage, Row, default_row_id
from services.catalogue import Catalogue

OWN_FIELDS = frozenset({"id", "prompt", "negative_prompt", "seed", "image", "mask", "extra"})
"""Fields that a row shares with no other. All others decide its prototype."""
_OWN_IN_PLAN = {"index", "id", "prompt", "negative_prompt", "seed", "image", "mask", "extra", "coordinates", "then"}
# What decides which image of a recipe it is, or what is kept beside it.
_NO_SETTINGS: Any = dict.fromkeys(_OWN_IN_PLAN | {"num_images", "keep"}, True) | {
    "then": {"__all__": {"prompt", "negative_prompt", "seed", "mask"}}
}
_MOST_REMEMBERED = 10_000
_NO_INPUTS: dict[str, PlannedInput] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Prototype:
    """What rows with the same settings have in common in the plan.

    Attributes:
        first: the first of them, as planned.
        entry: its model's in the catalogue.
        broken: what the models cannot do.
        tail: the common end of their lines.
        recipe: what else than prompts, seeds and inputs makes their last image, at every stage.
        then: their stages, where they share them.
    """

    first: PlannedRow
    entry: ModelEntry
    stages: tuple[tuple[str, str], ...]
    batch_key: tuple[object, ...]
    units: float
    num_images: int
    kept_images: int
    broken: tuple[Broken, ...]
    tail: bytes
    recipe: bytes
    then: tuple[StageLine, ...] = ()


class PlannedLine(NamedTuple):
    """A planned row as the planner handles it; methods as of `PlannedRow`."""

    prototype: Prototype
    text: bytes

    @property
    def num_images(self) -> int:
        return self.prototype.num_images

    def kept_images(self) -> int:
        """Images that the row comes to, in all stages that are kept."""
        return self.prototype.kept_images

    def stages(self) -> tuple[tuple[str, str], ...]:
        """Pipeline and model of every stage."""
        return self.prototype.stages

    def batch_key(self) -> tuple[object, ...]:
        """Rows with equal keys can share one denoising loop, at every stage."""
        return self.prototype.batch_key

    def units(self) -> float:
        """Cost of all images of the row, over all stages."""
        return self.prototype.units

    def line(self) -> bytes:
        """The row's line in the plan; empty where nobody is going to write it."""
        return self.text


class LinePlanner:
    """Plans the rows of one job.

    Args:
        job: the job's id, from which missing seeds are derived.
    """

    def __init__(self, job: str, catalogue: Catalogue) -> None:
        self._job = job
        self._catalogue = catalogue
        self._known: dict[tuple[object, ...], Prototype] = {}
        self._settings = {
            name: itemgetter(*(field for field in row.model_fields if field not in OWN_FIELDS))
            for name, row in ROW_TYPES.items()
        }

    def prototype(self, row: Row, inputs: Mapping[str, PlannedInput] = _NO_INPUTS) -> Prototype:
        """What the row has in common with others; `inputs` as of `resolve`."""
        if any(isinstance(stage, InpaintStage) for stage in row.then):  # an input of its own
            return self._make(row, inputs)
        settings = self._settings[row.pipeline](row.__dict__)
        if inputs:
            settings += (inputs["image"].size,)
        found = self._known.get(settings)
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            found = self._known[settings] = self._make(row, inputs)
        return found

    def plan(
        self,
        row: Row,
        prototype: Prototype,
        index: int,
        inputs: Mapping[str, PlannedInput] = _NO_INPUTS,
        coordinates: Mapping[str, Any] | None = None,
    ) -> PlannedLine:
        """The row with its line; arguments as of `resolve`, and the row's prototype."""
        if row.then and not prototype.then:
            return PlannedLine(prototype, self._resolved(row, index, inputs, coordinates).line())
        row_id = row.id or default_row_id(index)
        seed = derived_seed(self._job, row_id) if row.seed is None else row.seed
        own: dict[str, Any] = {"index": index, "id": row_id, "prompt": row.prompt, "seed": seed}
        if row.negative_prompt:
            own["negative_prompt"] = row.negative_prompt
        then = then_text(prototype.then, own) if prototype.then else b""
        for name, found in inputs.items():
            own[name] = found.image.model_dump(exclude_defaults=True)
        if row.extra:
            own["extra"] = row.extra
        if coordinates:
            own["coordinates"] = coordinates
        try:
            return PlannedLine(prototype, orjson.dumps(own)[:-1] + then + prototype.tail)
        except TypeError:  # whole numbers beyond 64 bits, in columns of the user's own
            return PlannedLine(prototype, self._resolved(row, index, inputs, coordinates).line())

    def _resolved(
        self,
        row: Row,
        index: int,
        inputs: Mapping[str, PlannedInput],
        coordinates: Mapping[str, Any] | None = None,
    ) -> PlannedRow:
        return resolve(
            row, index=index, job=self._job, catalogue=self._catalogue, inputs=inputs, coordinates=coordinates
        )

    def _make(self, row: Row, inputs: Mapping[str, PlannedInput]) -> Prototype:
        planned = self._resolved(row, 0, inputs)
        shared = planned.model_dump_json(exclude_defaults=True, exclude=_OWN_IN_PLAN)
        return Prototype(
            first=planned,
            entry=self._catalogue.entries[planned.model],
            stages=planned.stages(),
            batch_key=planned.batch_key(),
            units=planned.units(),
            num_images=planned.num_images,
            kept_images=planned.kept_images(),
            broken=tuple(limits_broken(row, catalogue=self._catalogue, inputs=inputs)),
            recipe=planned.model_dump_json(exclude_defaults=True, exclude=_NO_SETTINGS).encode(),
            tail=b"," + shared.removeprefix("{").encode() + b"\n",
            then=stage_lines(row, planned) if row.then else (),
        )
