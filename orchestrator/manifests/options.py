"""How a manifest is to be read: format, `--map`, `--set`, `--extra`, and limits against hostile files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.manifests.expectations import Expectations
from orchestrator.manifests.faults import shorten
from orchestrator.manifests.names import COLUMN_FIELDS, FOREIGN, TEMPLATE, field_called, near_field
from orchestrator.manifests.stages import StageFaults, given_stages
from orchestrator.manifests.templates.settings import BadSettings, read_template
from schemas.errors import SettingsError
from schemas.rows import PIPELINES, ROW_TYPES, RowBase
from schemas.samplers import scheduler_called
from services.settings import ManifestSettings

Format = Literal["jsonl", "csv", "tsv", "parquet", "text", "yaml", "json", "a1111"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class ReadLimits:
    """What a manifest may cost to read. Sizes in bytes, after decompression."""

    rows: int = 100_000_000
    line_bytes: int = 10_000_000
    nesting: int = 64
    total_bytes: int = 64 * 2**30
    # A gzip file may always grow to so many bytes; beyond that only by this factor. Deflate's most is 1,032;
    # prompts come to 3 to 30.
    gzip_free_bytes: int = 64 * 2**20
    gzip_ratio: int = 100
    # YAML and JSON documents are held in memory: their text, and so many values.
    document_bytes: int = 64 * 2**20
    document_values: int = 1_000_000

    def within(self, settings: ManifestSettings) -> "ReadLimits":
        """These, and nowhere more than the settings allow."""
        return replace(
            self,
            rows=min(self.rows, settings.max_rows),
            line_bytes=min(self.line_bytes, settings.max_line_bytes),
            total_bytes=min(self.total_bytes, settings.max_bytes),
            document_bytes=min(self.document_bytes, settings.max_bytes),
        )


@dataclass(frozen=True)
class ManifestOptions:
    """How to read a manifest.

    Args:
        format: None: by the file's name.
        column_map: our field -> the manifest's column.
        defaults: typed values of fields, as `parse_set` gives them; a row's own value wins.
        extra_columns: columns kept as the user's own although they are named like ours.

    Raises:
        SettingsError: an unknown field, or one column used twice.
    """

    format: Format | None = None
    column_map: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    extra_columns: frozenset[str] = frozenset()
    limits: ReadLimits = ReadLimits()

    def __post_init__(self) -> None:
        for name in self.column_map:
            _check_field("--map", name)
        for name in self.defaults:
            if name != TEMPLATE:
                _check_field("--set", name)
        if "id" in self.defaults:
            raise SettingsError("--set id: an id names one row; give it in the manifest")
        columns = list(self.column_map.values())
        for column in columns:
            if columns.count(column) > 1:
                raise SettingsError(f"--map: column {column!r} is mapped to two fields")
            if column in self.extra_columns:
                raise SettingsError(f"column {column!r} is in both --map and --extra")


def parse_map(texts: Iterable[str]) -> dict[str, str]:
    """Read `--map FIELD=COLUMN`.

    Raises:
        SettingsError: not of that form, an unknown field, or a field mapped twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, column = _split("--map", text, "prompt=Prompt")
        name = _field("--map", name)
        if name in found:
            raise SettingsError(f"--map {text}: {name} is mapped to {found[name]!r} already")
        found[name] = column
    return found


def parse_set(texts: Iterable[str]) -> dict[str, Any]:
    """Read `--set FIELD=VALUE` into typed values.

    Raises:
        SettingsError: not of that form, an unknown field, a field set twice, or a value that the field refuses.
    """
    found: dict[str, Any] = {}
    template: dict[str, str] = {}
    for text in texts:
        name, value = _split("--set", text, "steps=30")
        if name == TEMPLATE or name.startswith(f"{TEMPLATE}."):
            template[name.partition(".")[2] or "syntax"] = value
            continue
        name = _field("--set", name)
        if name in found:
            raise SettingsError(f"--set {text}: {name} is set already")
        found[name] = _typed(name, value)
    if template:
        found[TEMPLATE] = _template(template)
    return found


def _split(option: str, text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value:
        raise SettingsError(f"{option} {text}: expected NAME=VALUE, such as {option} {example}")
    return name.strip(), value


def _check_field(option: str, name: str) -> None:
    if name in COLUMN_FIELDS:
        return
    near = near_field(name)
    raise SettingsError(
        f"{option} {shorten(name)}: " + (f"did you mean {near}?" if near else "no such field"),
        hint="fields: " + ", ".join(sorted(COLUMN_FIELDS)),
    )


def _template(given: dict[str, str]) -> dict[str, Any]:
    if "syntax" not in given:
        raise SettingsError(f"--set {TEMPLATE}.{next(iter(given))}: add --set {TEMPLATE}=dynamic")
    try:
        return read_template(given).model_dump(exclude_unset=True)
    except BadSettings as error:
        raise SettingsError(f"--set {TEMPLATE}: {error}") from None


def _field(option: str, name: str) -> str:
    """The field of that name, ours or another tool's."""
    called = field_called(name)
    field = FOREIGN.get(called, called) if called else name
    _check_field(option, field)
    return field


def _typed(name: str, text: str) -> Any:
    expectations = Expectations()
    if name == "pipeline":
        if text not in PIPELINES:
            raise SettingsError(f"--set pipeline={shorten(text)}: {expectations.pipeline(text)}")
        return text
    if name == "then":
        return _stages(text)
    if name == "scheduler":
        text = scheduler_called(text) or text
    pipeline, info = next((p, row.model_fields[name]) for p, row in ROW_TYPES.items() if name in row.model_fields)
    try:
        return _adapter(info).validate_python(text)
    except ValidationError as error:
        message = expectations.explain(pipeline, name, error.errors()[0], text)
        raise SettingsError(f"--set {name}={shorten(text)}: {message}") from None


def _stages(text: str) -> object:
    """`--set then=JSON`. Kept as it was written, so that it can stand in the job's document."""
    try:
        then = given_stages(text)
        _adapter(RowBase.model_fields["then"]).validate_python(then)
    except ValidationError as error:
        fault = StageFaults().explain({**error.errors()[0], "loc": ("then", *error.errors()[0]["loc"])}, then)
        raise SettingsError(f"--set {fault.field}={shorten(fault.value)}: {fault.message}") from None
    except ValueError as error:
        raise SettingsError(f"--set then={shorten(text)}: {error}") from None
    return then


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    annotated: Any = Annotated[info.annotation, info]
    return TypeAdapter(annotated)
