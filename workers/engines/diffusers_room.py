"""The engine room that renders with diffusers: its pipelines, its schedulers, its models, on one device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub.utils.tqdm import disable_progress_bars

from schemas.catalogue import ModelEntry, parse_source
from schemas.errors import ModelUnavailable, OutOfMemory, RenderFailed, RowError, SettingsError
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from schemas.rows import PipelineName
from services.catalogue import Catalogue
from services.settings import Settings
from workers.engines.base import DeviceLost, Rendered, Slot
from workers.engines.denoise import denoise
from workers.engines.limits import batch_limit
from workers.engines.prompts import chunk_counts, cut_off
from workers.engines.registry import ENGINES
from workers.engines.safety import SafetyChecker, judged
from workers.engines.schedulers import make_scheduler
from workers.engines.tiles import tiled
from workers.models.adapters import RowAdapters
from workers.models.folders import ModelFolder
from workers.models.libraries import quiet_libraries
from workers.models.loading import LoadedModel
from workers.models.memory import (
    device_name,
    free_bytes,
    give_back_memory,
    is_device_lost,
    is_out_of_memory,
    pick_device,
    pick_dtype,
)
from workers.models.pool import ModelPool
from workers.models.sources import fetch

_VERSIONS = ("torch", "diffusers", "transformers")
_LONGEST_MESSAGE = 1_000


@dataclass
class _Ready:
    """A loaded model, its schedulers as they came, and its safety checker."""

    model: LoadedModel
    schedulers: dict[PipelineName, Any] = field(default_factory=dict)
    checker: SafetyChecker | None = None


class DiffusersRoom:
    """Renders with diffusers. Used by one thread.

    Args:
        settings: of this process; `worker` and `data_dir` count.
        catalogue: the models that rows can name.

    Raises:
        SettingsError: the device does not exist here.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        quiet_libraries()
        disable_progress_bars()
        self._settings = settings.worker
        self._cache = settings.data_dir / "models"
        self._catalogue = catalogue
        self._adapters = RowAdapters(catalogue, self._cache)
        self.device = pick_device(settings.worker.device)
        self.dtype = pick_dtype(settings.worker.dtype, self.device)
        self._pool: ModelPool[_Ready] = ModelPool(
            settings.worker.max_models, self._free, lambda: give_back_memory(self.device)
        )

    def batch_limit(self, row: PlannedRow) -> int:
        """Most images like this row's in one denoising loop; 1 in exact mode, and for a model that is unknown."""
        alias = self._catalogue.names.get(row.model)
        if self._settings.exact or alias is None:
            return 1
        if self._settings.max_batch:
            return self._settings.max_batch
        entry = self._catalogue.entries[alias]
        free = 0 if self.device.type == "cpu" else self._free()
        return batch_limit(row, entry, self.device, self.dtype, free, alias in self._pool.loaded())

    def load(self, model: str, on_progress: Callable[[], None]) -> None:
        """Bring a model's files here, and its weights into memory. Of a model with several sources the weights
        come with the first row that asks for them.

        Raises:
            ModelUnavailable: it cannot be loaded here; the message says why and what to do.
        """
        alias, entry = self._resolve(model)
        if self._pool.get(alias) is not None:
            return
        folders = fetch(alias, entry, self._cache, on_progress)
        while not self._bring_in(alias, entry, folders):
            if not self._pool.drop_all_but(alias):
                raise ModelUnavailable(f"model {alias} does not fit into the memory of {self.device}")
        on_progress()

    def apart(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        """Slots of one batch key by the length of their prompts; plain prompts have one length all.

        Raises:
            ModelUnavailable: the model, a LoRA or an embedding cannot be loaded.
            RenderFailed: a prompt cannot be read.
        """
        row = slots[0].row
        if all(slot.row.weighting is None for slot in slots):
            return [list(slots)]
        pipe = self._pipeline(self._ready(row.model), row.pipeline)
        with self._adapters.words_of(pipe, row):
            counts = chunk_counts(pipe, [slot.row for slot in slots])
        found: dict[int, list[Slot]] = {}
        for count, slot in zip(counts, slots, strict=True):
            found.setdefault(count, []).append(slot)
        return list(found.values())

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        """Render slots that share one batch key, in one denoising loop.

        Where memory is short, other models leave and the loop is tried once more.

        Raises:
            OutOfMemory: not enough memory for so many.
            ModelUnavailable: the model cannot be loaded or has no such pipeline.
            RenderFailed: the pipeline raised; the message names model, pipeline and scheduler.
            DeviceLost: the device is unusable for this process.
            Interrupted: raised by `on_step`.
        """
        alias, _ = self._resolve(slots[0].row.model)
        try:
            return self._attempt(slots, on_step)
        except OutOfMemory:
            if not self._pool.drop_all_but(alias):
                raise
        return self._attempt(slots, on_step)

    def warnings(self, row: PlannedRow) -> tuple[str, ...]:
        """What a row's user should know although it renders: the ends of prompts that the model never sees.

        Raises:
            ModelUnavailable: as for `render`.
        """
        if row.weighting is not None:
            return ()  # read whole
        pipe = self._pipeline(self._ready(row.model), row.pipeline)
        told = []
        negative = row.negative_prompt if row.guidance_scale > 1 else ""
        for name, text in (("prompt", row.prompt), ("negative_prompt", negative)):
            tail = cut_off(pipe, text)
            if tail:
                cut = f"the text encoder reads 77 tokens and never sees {tail[:200]!r}"
                told.append(f"{name}: {cut}; weighting: compel reads all of it")
        return tuple(told)

    def info(self, row: PlannedRow) -> RenderInfo:
        """Device, dtype, versions and sources that a result of this row records."""
        alias, entry = self._resolve(row.model)
        ready = self._pool.get(alias)
        return RenderInfo(
            device=device_name(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            versions={name: _version(name) for name in _VERSIONS + _versions_of(row)},
            model_source=_public_source(entry.source),
            model_revision=ready.model.main.revision if ready else None,
            safety=self._settings.safety,
            adapters=self._adapters.info(row),
        )

    def loaded(self) -> list[str]:
        """Aliases of the models in memory, least recently used first."""
        return self._pool.loaded()

    def _attempt(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        row = slots[0].row
        ready = self._ready(row.model)
        try:
            pipe = self._pipeline(ready, row.pipeline)
            pipe.scheduler = make_scheduler(ready.schedulers[row.pipeline], row.scheduler)
            self._adapters.fetch(row, on_step)
            with tiled(pipe, row), self._adapters.put_into(pipe, row):
                pictures = denoise(pipe, ENGINES[row.pipeline], slots, on_step)
            return judged(pictures, ready.checker, self._settings.safety)
        except RowError:
            raise
        except Exception as error:
            failure = self._told(error, row, len(slots))
        finally:
            ready.model.restore()
        # Outside of the handler: its traceback holds the tensors that are to go.
        if isinstance(failure, OutOfMemory):
            give_back_memory(self.device)
        raise failure

    def _bring_in(self, alias: str, entry: ModelEntry, folders: Mapping[str, ModelFolder]) -> bool:
        """Load a model and keep it; False where memory was too short."""
        model = LoadedModel(
            alias, entry, folders, self.device, self.dtype, lambda needed: self._pool.make_room(needed, alias)
        )
        ready = _Ready(model)
        self._pool.add(alias, ready)
        try:
            ready.checker = self._checker(model)
            if not entry.sources:
                self._pipeline(ready, entry.pipelines[0])
        except BaseException as error:
            self._pool.drop(alias)
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _ready(self, model: str) -> _Ready:
        """A model that is loaded, or is now.

        Raises:
            ModelUnavailable: as for `load`.
        """
        alias, _ = self._resolve(model)
        self.load(model, _nothing)
        ready = self._pool.get(alias)
        if ready is None:
            raise ModelUnavailable(f"model {alias} left memory at once")
        return ready

    def _told(self, error: Exception, row: PlannedRow, batch: int) -> BaseException:
        reason = f"{type(error).__name__}: {error}".strip()[:_LONGEST_MESSAGE]
        if is_out_of_memory(error):
            size = f"{row.width}x{row.height}"
            return OutOfMemory(f"{batch} of {size} with {row.model} do not fit into {self.device}: {reason}")
        if is_device_lost(error):
            return DeviceLost(f"{self.device}: {reason}")
        sampler = f", scheduler {row.scheduler}" if row.scheduler else ""
        return RenderFailed(f"{row.pipeline} with {row.model}{sampler}: {reason}")

    def _pipeline(self, ready: _Ready, name: PipelineName) -> Any:
        entry, engine = ready.model.entry, ENGINES[name]
        class_name = engine.classes.get(entry.family)
        if class_name is None or name not in entry.pipelines:
            raise ModelUnavailable(f"model {ready.model.alias} has no {name}; it has {', '.join(entry.pipelines)}")
        pipe = ready.model.pipeline(engine.pipeline, class_name, engine.own_components)
        ready.schedulers.setdefault(name, pipe.scheduler)
        return pipe

    def _checker(self, model: LoadedModel) -> SafetyChecker | None:
        parts = model.main.components
        if self._settings.safety == "off" or "safety_checker" not in parts or "feature_extractor" not in parts:
            return None
        checker = model.component("safety_checker", model.main)
        processor = model.component("feature_extractor", model.main)
        return SafetyChecker(checker, processor, self._settings.safety_threshold or 0.0)

    def _resolve(self, model: str) -> tuple[str, ModelEntry]:
        try:
            return self._catalogue.resolve(model)
        except SettingsError as error:
            raise ModelUnavailable(error.message, hint=error.hint) from None

    def _free(self) -> int:
        return free_bytes(self.device)


def _nothing() -> None:
    """Nobody waits for progress."""


def _versions_of(row: PlannedRow) -> tuple[str, ...]:
    """Further libraries that decide what a row looks like."""
    return (("compel",) if row.weighting else ()) + (("peft",) if row.loras else ())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _public_source(source: str) -> str:
    """A source as a result records it: of a local folder its name alone, as its place is this machine's own."""
    kind, place = parse_source(source)
    return f"folder:{Path(place).name}" if kind == "folder" else source
