"""Values of a row -> a valid row of the union, or faults."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.manifests.expectations import Expectations
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.foreign import translated, written
from orchestrator.manifests.names import INITIAL_IMAGE
from orchestrator.manifests.options import ManifestOptions
from orchestrator.manifests.stages import StageFault, StageFaults, given_stages
from orchestrator.manifests.weighted import needs_reading, read_weighted
from schemas.rows import ROW_TYPES, InpaintStage, PipelineName, Row, stage_field
from services.input_addresses import address_problem

CheckModel = Callable[[str, PipelineName], str | None]
"""What is wrong with an alias for a pipeline, or None: the catalogue's part."""

_TEXT_FIELDS = frozenset({"prompt", "negative_prompt"})
_LIKELY_PROMPTS = ("caption", "text", "description", "title")
_MOST_REMEMBERED = 10_000
AsWritten = Mapping[str, tuple[str, object]]
"""Field -> its name and value as the user wrote them."""
_NO_KEYS: Mapping[str, str] = {}
_AS_IT_IS: AsWritten = {}


class RowBuilder:
    """Validates rows of one manifest. A row's own value wins over a default; null is not given.

    Args:
        strip: the manifest is text, where a blank around a value may be left of hand-written commas.
        keys: what the manifest's format calls the fields, where it has no columns.
    """

    def __init__(
        self,
        options: ManifestOptions,
        faults: Faults,
        *,
        check_model: CheckModel | None = None,
        strip: bool = False,
        keys: Mapping[str, str] = _NO_KEYS,
    ) -> None:
        self._faults = faults
        self._check_model = check_model
        self._strip = strip
        self._keys = keys
        self._expectations = Expectations(keys=keys)
        self._stage_faults = StageFaults()
        self._validate = {name: TypeAdapter(row).validator.validate_python for name, row in ROW_TYPES.items()}
        self._defaults = {name: _applicable(options.defaults, name) for name in ROW_TYPES}
        self._default_pipeline = options.defaults.get("pipeline")
        self._input_by_default = bool({"image", "mask"} & set(options.defaults))
        self._sound_models: set[tuple[str | None, PipelineName]] = set()
        self._unsound_models: dict[tuple[str | None, PipelineName], str] = {}

    def build(
        self,
        line: int,
        values: dict[str, Any],
        extra: dict[str, Any] | None,
        as_written: AsWritten = _AS_IT_IS,
    ) -> Row | None:
        """The row, or None where it has faults, which are then added.

        Args:
            as_written: names and values of what was translated, as of `foreign.written`.
        """
        if None in values.values():
            values = {name: value for name, value in values.items() if value is not None}
        pipeline = values.get("pipeline", self._default_pipeline)
        if type(pipeline) is not str or pipeline not in self._validate:
            if pipeline is None and INITIAL_IMAGE in values:
                # What other tools call so is what they begin to denoise from.
                meant = "inpaint" if "mask" in values else "img2img"
                return self.build(line, translated(values) | {"pipeline": meant}, extra, written(values))
            pipeline = self._other_pipeline(line, pipeline, values)
            if pipeline is None:
                return None
        defaults = self._defaults[pipeline]
        merged = defaults | values if defaults else values
        if "then" in merged and (merged := self._with_stages(line, merged)) is None:
            return None
        if extra:
            merged["extra"] = extra
        try:
            row = cast(Row, self._validate[pipeline](merged))
        except ValidationError as error:
            mended = translated(_stripped(values) if self._strip else values)
            if mended != values:
                return self.build(line, mended, extra, {**as_written, **written(values)})
            self._explain(line, pipeline, error, merged, as_written)
            return None
        # pydantic takes true for 1, which nobody means.
        if bool in map(type, values.values()) and self._refuse_booleans(line, pipeline, values, as_written):
            return None
        if row.then and self._add_stage_faults(line, self._stage_faults.booleans(merged["then"])):
            return None
        if not self._is_sound(line, row, values):
            return None
        return read_weighted(line, row, self._faults) if needs_reading(row) else row

    def _with_stages(self, line: int, merged: dict[str, Any]) -> Any:
        try:
            return merged | {"then": given_stages(merged["then"])}
        except ValueError as error:
            self._faults.add(line, str(error), field="then", value=merged["then"])
            return None

    def _other_pipeline(self, line: int, pipeline: object, values: Mapping[str, Any]) -> PipelineName | None:
        if pipeline is not None:
            self._faults.add(line, self._expectations.pipeline(pipeline), field="pipeline", value=pipeline)
            return None
        if "image" in values or "mask" in values or self._input_by_default:
            message = "a row with an input image must say which: " + ", ".join(list(ROW_TYPES)[1:])
            self._faults.add(line, message, field="pipeline")
            return None
        return "txt2img"

    def _is_sound(self, line: int, row: Row, values: Mapping[str, Any]) -> bool:
        """What the schemas cannot say. Written for speed: it runs once a row."""
        pipeline = row.pipeline
        key = (row.model, pipeline)
        sound = key in self._sound_models or self._model_is_sound(line, key)
        negative = row.negative_prompt
        if "\0" in row.prompt or (negative and "\0" in negative):
            self._faults.add(line, "a NUL character", field="prompt" if "\0" in row.prompt else "negative_prompt")
            sound = False
        if pipeline != "txt2img":
            sound = self._addresses_are_sound(line, row) and sound
        if row.then:
            sound = self._stages_are_sound(line, row) and sound
        return sound

    def _stages_are_sound(self, line: int, row: Row) -> bool:
        """What the schemas cannot say of the stages: their texts, their masks, their models."""
        found: list[StageFault] = []
        sound = True
        for position, stage in enumerate(row.then):
            for field, text in (("prompt", stage.prompt), ("negative_prompt", stage.negative_prompt)):
                if text and "\0" in text:
                    found.append(StageFault(stage_field(position, field), None, "a NUL character"))
            problem = address_problem(stage.mask) if isinstance(stage, InpaintStage) else None
            if problem and isinstance(stage, InpaintStage):
                found.append(StageFault(stage_field(position, "mask"), stage.mask, problem))
            key = (stage.model or row.model, stage.pipeline)
            if row.model and key not in self._sound_models:
                sound = self._model_is_sound(line, key, stage_field(position, "model")) and sound
        return not self._add_stage_faults(line, found) and sound

    def _add_stage_faults(self, line: int, found: Iterable[StageFault]) -> bool:
        """Whether there was one."""
        before = self._faults.total
        for fault in found:
            self._faults.add(line, fault.message, field=fault.field, value=fault.value)
        return self._faults.total > before

    def _model_is_sound(self, line: int, key: tuple[str | None, PipelineName], field: str = "model") -> bool:
        model, pipeline = key
        if model is None:
            self._faults.add(line, "no model: give it in the row, or --set model=ALIAS", field="model")
            return False
        if key not in self._unsound_models:
            message = self._check_model(model, pipeline) if self._check_model else None
            if len(self._sound_models) + len(self._unsound_models) >= _MOST_REMEMBERED:
                self._sound_models.clear()
                self._unsound_models.clear()
            if message is None:
                self._sound_models.add(key)
                return True
            self._unsound_models[key] = message
        self._faults.add(line, self._unsound_models[key], field=self._keys.get(field, field), value=model)
        return False

    def _addresses_are_sound(self, line: int, row: Row) -> bool:
        sound = True
        for field in ("image", "mask"):
            address = getattr(row, field, None)
            problem = address_problem(address) if address else None
            if problem:
                self._faults.add(line, problem, field=field, value=address)
                sound = False
        return sound

    def _refuse_booleans(
        self, line: int, pipeline: PipelineName, values: Mapping[str, Any], as_written: AsWritten
    ) -> bool:
        found = [field for field, value in values.items() if isinstance(value, bool)]
        for field in found:
            message = "expected " + self._expectations.expected(pipeline, field)
            self._add(line, message, field, values[field], as_written)
        return bool(found)

    def _add(self, line: int, message: str, field: str, value: object, as_written: AsWritten) -> None:
        """Add a fault under the name that the user wrote."""
        name, shown = as_written.get(field, (field, value))
        self._faults.add(line, message, field=self._keys.get(name, name), value=shown)

    def _explain(
        self,
        line: int,
        pipeline: PipelineName,
        error: ValidationError,
        merged: Mapping[str, Any],
        as_written: AsWritten,
    ) -> None:
        for details in error.errors(include_url=False):
            field = str(details["loc"][0])
            if field == "then":
                self._add_stage_faults(line, [self._stage_faults.explain(details, merged.get(field))])
                continue
            value = merged.get(field)
            message = self._expectations.explain(pipeline, field, details, value)
            if details["type"] == "missing" and field == "prompt":
                message += _likely_prompt(merged.get("extra") or {})
            self._add(line, message, field, value, as_written)


def _applicable(defaults: Mapping[str, Any], pipeline: PipelineName) -> dict[str, Any]:
    """The defaults of the job that a pipeline takes: in a mixed manifest `strength` means the rows that have one."""
    fields = ROW_TYPES[pipeline].model_fields
    return {name: value for name, value in defaults.items() if name in fields}


def _stripped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strip() if isinstance(value, str) and name not in _TEXT_FIELDS else value
        for name, value in values.items()
    }


def _likely_prompt(extra: Mapping[str, Any]) -> str:
    column = next((name for name in _LIKELY_PROMPTS if name in extra), None)
    return f" (is it --map prompt={column}?)" if column else ""
