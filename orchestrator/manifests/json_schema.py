"""The published JSON Schema of manifests (draft 2020-12), for editors: rows of JSON Lines, and YAML or JSON documents.

Made from the models of `schemas`. It says a little less than the readers take, so that an editor proposes the usual
form: fields by our names or another tool's in small letters, numbers as numbers. What it refuses beyond that is a
slip. What it cannot say (a column of the user's own that is nearly a field) `promptmill validate` does.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.manifests.names import SYNONYMS
from schemas.document import SCHEMA_KEY, Document, RowKeys
from schemas.rows import ROW_TYPES, STAGE_TYPES, PipelineName, RowBase
from schemas.samplers import SCHEDULERS, sampler

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_FIELD = "field."  # first part of a field's name among the definitions

_DEFAULTS = {"pipeline": "txt2img", "num_images": 1, "format": "png", "keep": "last"}
_EXAMPLES: dict[str, list[Any]] = {
    "id": ["fox"],
    "prompt": ["a fox in the snow, morning light"],
    "negative_prompt": ["blurry"],
    "model": ["sd15"],
    "width": [512],
    "height": [768],
    "steps": [25],
    "guidance_scale": [7],
    "seed": [42],
    "image": ["inputs/house.png", "s3://bucket/house.png"],
    "mask": ["inputs/house-mask.png"],
    "strength": [0.6],
    "loras": [[{"name": "our-style", "weight": 0.8}]],
    "then": [[{"pipeline": "upscale", "model": "sd-x4-upscaler"}]],
}
_PIPELINE = "what to run; default: txt2img"
_INITIAL_IMAGES = tuple(name for name, field in SYNONYMS.items() if field == "image")
# As schemas.rows.ID_PATTERN in what every dialect of regular expressions has: letters of any script are what is left.
_ID_PATTERN = r"^[^\s!-/:-@\[-`{-~][^\x00-\x1f!\"$%&'*/:-<>?\[-\^`{-~]*$"


def rows_schema() -> Schema:
    """Of one line of a JSON Lines manifest."""
    found = _row(_named(), "A row of a promptmill manifest: one line of a JSON Lines file")
    found["allOf"] = [*_by_pipeline(required=True), _without_pipeline()]
    return {"$schema": DIALECT, **found, "$defs": _definitions()}


def document_schema() -> Schema:
    """Of a YAML or JSON manifest: a document, or a bare list of rows."""
    told = Document.model_json_schema()["properties"]
    keys = RowKeys.model_json_schema()["properties"]
    row = _row(_named() | {name: _nullable(value) for name, value in keys.items()}, "A row")
    row["properties"]["space"] = {"$ref": "#/$defs/Space"}
    row["allOf"] = _by_pipeline(required=False)
    defaults = _row({name: value for name, value in _named().items() if name != "id"}, told["defaults"]["description"])
    parts = {name: _nullable(value) for name, value in told.items()} | {
        SCHEMA_KEY: {"type": "string", "description": "this schema, for editors"},
        "defaults": defaults | {"type": ["object", "null"]},
        "space": {"$ref": "#/$defs/Space"},
        "rows": {
            "description": told["rows"]["description"],
            "type": ["array", "null"],
            "items": {"$ref": "#/$defs/RowOrPrompt"},
        },
    }
    definitions = {
        "Row": row,
        "RowOrPrompt": {"anyOf": [{"$ref": "#/$defs/Row"}, {"type": "string", "description": "a prompt alone"}]},
        "Space": _space(told["space"]),
        "Document": {"type": "object", "properties": parts, "additionalProperties": False},
    }
    return {
        "$schema": DIALECT,
        "title": "A promptmill manifest: a YAML or JSON document",
        "anyOf": [{"$ref": "#/$defs/Document"}, {"type": "array", "items": {"$ref": "#/$defs/RowOrPrompt"}}],
        "$defs": definitions | _definitions() | _refined(RowKeys.model_json_schema().get("$defs", {})),
    }


def _row(properties: Schema, title: str) -> Schema:
    return {"title": title, "type": "object", "properties": properties}


def _named() -> Schema:
    """The properties of a row: fields by our names, and by those of other tools."""
    ours = {name: {"$ref": f"#/$defs/{_FIELD}{name}"} for name in _fields()}
    theirs = {name: _other(name, field, ours[field]) for name, field in SYNONYMS.items()}
    return ours | theirs


def _other(name: str, field: str, ours: Schema) -> Schema:
    """A field by another tool's name. A sampler and a list of images are looked at by the readers."""
    told = {"description": f"another tool's name for {field}"}
    if field == "scheduler":
        return told | {"type": ["string", "null"]}
    return told if name == "init_images" else ours | told


def _fields() -> Schema:
    """What every field of a row may be, whatever its pipeline."""
    found: Schema = {"id": {}, "pipeline": {}, "model": {}, "prompt": {}}
    kinds: tuple[type[RowBase], ...] = (RowBase, *ROW_TYPES.values())
    for row in kinds:
        for name, field in row.model_json_schema()["properties"].items():
            if name != "extra" and not found.get(name):
                found[name] = _field(name, field)
    found["pipeline"] = {"description": _PIPELINE, "enum": [*ROW_TYPES, None], "default": "txt2img"}
    text = {"type": "string", "minLength": 1, "maxLength": 120, "pattern": _ID_PATTERN}
    kept = {name: found["id"][name] for name in ("description", "examples")}
    return found | {"id": kept | {"anyOf": [text, {"type": ["integer", "null"]}]}}


def _field(name: str, field: Schema) -> Schema:
    made = _nullable(field)
    if name in _DEFAULTS:
        made["default"] = _DEFAULTS[name]
    if name in _EXAMPLES:
        made["examples"] = _EXAMPLES[name]
    if name == "scheduler":
        made = _scheduler(made)
    elif name == "seed":
        made["minimum"] = -1  # of other tools: none given
    elif name in ("loras", "embeddings", "then"):
        made = _list_or_text(made)
    return made


def _scheduler(field: Schema) -> Schema:
    """Our names, and A1111's, which people paste."""
    theirs = (f"{one.a1111} {_schedule(one.schedule_type)}".strip() for one in map(sampler, SCHEDULERS))
    kept = {name: value for name, value in field.items() if name not in ("enum", "type")}
    return kept | {"anyOf": [{"enum": [*SCHEDULERS, None]}, {"enum": list(dict.fromkeys(theirs))}]}


def _schedule(name: str) -> str:
    return "" if name == "Automatic" else name


def _list_or_text(field: Schema) -> Schema:
    """Lists that may also stand as text: `name:0.8, other`, or JSON in a cell."""
    kept = {name: field[name] for name in ("description", "examples") if name in field}
    items = {name: value for name, value in field.items() if name not in (*kept, "type")}
    if "$ref" in items.get("items", {}):
        items["items"] = {"anyOf": [items["items"], {"type": "string"}]}
    return kept | {"anyOf": [{"type": "array", **items}, {"type": ["string", "null"]}]}


def _by_pipeline(*, required: bool) -> list[Schema]:
    """What each pipeline needs, where the row itself says which it is, and what it does not take."""
    return [
        {
            "if": {"properties": {"pipeline": {"const": pipeline}}, "required": ["pipeline"]},
            "then": _rules(pipeline, required=required),
        }
        for pipeline in ROW_TYPES
    ]


def _rules(pipeline: PipelineName, *, required: bool) -> Schema:
    row = ROW_TYPES[pipeline]
    known = {name for kind in ROW_TYPES.values() for name in kind.model_fields}
    strange = [
        *(known - row.model_fields.keys()),
        *(n for n, field in SYNONYMS.items() if field not in row.model_fields),
    ]
    rules: Schema = {"properties": dict.fromkeys(sorted(strange), False)}
    if required:
        needed = [name for name, field in row.model_fields.items() if field.is_required() and name != "pipeline"]
        rules["allOf"] = [_any_of([name, *_called(name)]) for name in needed]
        if "prompt" in needed:
            rules["properties"]["prompt"] = {"type": "string", "pattern": r"\S"}
    return rules


def _without_pipeline() -> Schema:
    """A row that names no pipeline is txt2img, unless it has an initial image by another tool's name."""
    named = _any_of(["pipeline", *_INITIAL_IMAGES])
    return {"if": {"not": named}, "then": _rules("txt2img", required=True)}


def _any_of(names: Iterable[str]) -> Schema:
    found = [{"required": [name]} for name in names]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _called(field: str) -> list[str]:
    return [name for name, known in SYNONYMS.items() if known == field]


def _space(told: Schema) -> Schema:
    """Fields, each with a list of its values, a range, or one value; columns of the user's own with anything."""
    text = {"type": "string", "examples": ["1-10", "0.5-1.0:0.1"], "description": "a range of numbers, inclusive"}
    names: Schema = {}
    numbers = {name for name, field in _fields().items() if _is_number(field)}
    for name, one in _named().items():
        is_number = SYNONYMS.get(name, name) in numbers
        values = {"type": "array", "items": {"anyOf": [one, text]} if is_number else one}
        names[name] = {"anyOf": [values, text, one] if is_number else [values, one]}
    return {
        "description": told["description"],
        "type": ["object", "null"],
        "properties": names,
        "additionalProperties": told["additionalProperties"],
    }


def _is_number(field: Mapping[str, Any]) -> bool:
    kind = field.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return bool({"integer", "number"} & set(kinds))


def _definitions() -> Schema:
    """Fields of a row; stages and LoRAs, by the names that pydantic gives them."""
    found = _refined(RowBase.model_json_schema()["$defs"])
    for stage in STAGE_TYPES.values():
        properties = found[stage.__name__]["properties"]
        for name, field in SYNONYMS.items():
            if field in stage.model_fields:
                same = {key: value for key, value in properties[field].items() if key != "default"}
                properties[name] = _other(name, field, same)
        properties["scheduler"] = _scheduler(properties["scheduler"])
        for name in ("loras", "embeddings"):
            properties[name] = _list_or_text(properties[name])
    return {f"{_FIELD}{name}": field for name, field in _fields().items()} | found


def _refined(definitions: Schema) -> Schema:
    return {
        name: made | {"properties": {key: _nullable(value) for key, value in made["properties"].items()}}
        for name, made in definitions.items()
    }


def _nullable(field: Schema) -> Schema:
    """A field as editors show it best: no title, no default of null, `X or null` as one schema."""
    kept = {name: value for name, value in field.items() if name not in ("title", "anyOf", "discriminator")}
    if kept.get("default", ...) in (None, "", []):
        del kept["default"]
    if isinstance(kept.get("items"), dict):
        kept["items"] = {name: value for name, value in kept["items"].items() if name != "discriminator"}
    choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1 and "$ref" not in choices[0]:
        kept = choices[0] | kept
        kept["type"] = [kept["type"], "null"] if isinstance(kept.get("type"), str) else kept.get("type")
        if "enum" in kept:
            kept["enum"] = [*kept["enum"], None]
    elif "anyOf" in field:
        kept["anyOf"] = field["anyOf"]
    elif "type" in kept and "const" not in kept and field.get("default", ...) is not ...:
        kept["type"] = [kept["type"], "null"]
    return kept
