"""Values of a row -> a valid row of the union, or faults."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.manifests.expectations import Expectations
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ManifestOptions
from schemas.rows import ROW_TYPES, PipelineName, Row
from services.input_images import address_problem

CheckModel = Callable[[str, PipelineName], str | None]
"""What is wrong with an alias for a pipeline, or None: the catalogue's part."""

_TEXT_FIELDS = frozenset({"prompt", "negative_prompt"})
_LIKELY_PROMPTS = ("caption", "text", "description", "title")
_MOST_REMEMBERED = 10_000


class RowBuilder:
    """Validates rows of one manifest. A row's own value wins over a default; null is not given.

    Args:
        strip: the manifest is text, where a blank around a value may be left of hand-written commas.
    """

    def __init__(
        self, options: ManifestOptions, faults: Faults, *, check_model: CheckModel | None = None, strip: bool = False
    ) -> None:
        self._faults = faults
        self._check_model = check_model
        self._strip = strip
        self._expectations = Expectations()
        self._validate = {name: TypeAdapter(row).validator.validate_python for name, row in ROW_TYPES.items()}
        self._defaults = {name: _applicable(options.defaults, name) for name in ROW_TYPES}
        self._default_pipeline = options.defaults.get("pipeline")
        self._input_by_default = bool({"image", "mask"} & set(options.defaults))
        self._models: dict[tuple[str, PipelineName], str | None] = {}

    def build(self, line: int, values: dict[str, Any], extra: dict[str, Any] | None) -> Row | None:
        """The row, or None where it has faults, which are then added."""
        if None in values.values():
            values = {name: value for name, value in values.items() if value is not None}
        pipeline = values.get("pipeline", self._default_pipeline)
        if type(pipeline) is not str or pipeline not in self._validate:
            pipeline = self._other_pipeline(line, pipeline, values)
            if pipeline is None:
                return None
        merged = self._defaults[pipeline] | values
        if extra:
            merged["extra"] = extra
        try:
            row = cast(Row, self._validate[pipeline](merged))
        except ValidationError as error:
            stripped = _stripped(values) if self._strip else values
            if stripped != values:
                return self.build(line, stripped, extra)
            self._explain(line, pipeline, error, merged)
            return None
        # pydantic takes true for 1, which nobody means.
        if bool in map(type, values.values()) and self._refuse_booleans(line, pipeline, values):
            return None
        return row if self._is_sound(line, row, values) else None

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
        """What the schemas cannot say."""
        sound = True
        for field in ("prompt", "negative_prompt"):
            if "\0" in (getattr(row, field) or ""):
                self._faults.add(line, "a NUL character", field=field, value=getattr(row, field))
                sound = False
        if row.model is None:
            self._faults.add(line, "no model: give it in the row, or --set model=ALIAS", field="model")
            sound = False
        elif self._check_model is not None:
            sound = self._model_is_sound(line, row.model, row.pipeline) and sound
        if row.pipeline != "txt2img":
            sound = self._addresses_are_sound(line, row) and sound
        return sound

    def _model_is_sound(self, line: int, model: str, pipeline: PipelineName) -> bool:
        key = (model, pipeline)
        if key not in self._models:
            if len(self._models) >= _MOST_REMEMBERED:
                self._models.clear()
            self._models[key] = self._check_model(model, pipeline) if self._check_model else None
        message = self._models[key]
        if message is not None:
            self._faults.add(line, message, field="model", value=model)
        return message is None

    def _addresses_are_sound(self, line: int, row: Row) -> bool:
        sound = True
        for field in ("image", "mask"):
            address = getattr(row, field, None)
            problem = address_problem(address) if address else None
            if problem:
                self._faults.add(line, problem, field=field, value=address)
                sound = False
        return sound

    def _refuse_booleans(self, line: int, pipeline: PipelineName, values: Mapping[str, Any]) -> bool:
        found = [field for field, value in values.items() if isinstance(value, bool)]
        for field in found:
            message = "expected " + self._expectations.expected(pipeline, field)
            self._faults.add(line, message, field=field, value=values[field])
        return bool(found)

    def _explain(self, line: int, pipeline: PipelineName, error: ValidationError, merged: Mapping[str, Any]) -> None:
        for details in error.errors(include_url=False):
            field = str(details["loc"][0])
            value = merged.get(field)
            message = self._expectations.explain(pipeline, field, details, value)
            if details["type"] == "missing" and field == "prompt":
                message += _likely_prompt(merged.get("extra") or {})
            self._faults.add(line, message, field=field, value=value)


def _applicable(defaults: Mapping[str, Any], pipeline: PipelineName) -> dict[str, Any]:
    """The defaults of the job that a pipeline takes: in a mixed manifest `strength` means the rows that have one."""
    fields = ROW_TYPES[pipeline].model_fields
    return {name: value for name, value in defaults.items() if name in fields} | {"pipeline": pipeline}


def _stripped(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.strip() if isinstance(value, str) and name not in _TEXT_FIELDS else value
        for name, value in values.items()
    }


def _likely_prompt(extra: Mapping[str, Any]) -> str:
    column = next((name for name in _LIKELY_PROMPTS if name in extra), None)
    return f" (is it --map prompt={column}?)" if column else ""
