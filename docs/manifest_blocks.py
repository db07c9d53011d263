"""The parts of `docs/manifest.md` that are made from the schemas: what stands between `<!-- made: NAME -->` lines."""

import re
from collections.abc import Callable, Iterator

from orchestrator.manifests.expectations import Expectations, in_words
from orchestrator.manifests.names import SYNONYMS
from schemas.document import Template
from schemas.rows import ROW_TYPES, STAGE_TYPES, PipelineName, RowBase, StageBase
from schemas.samplers import SCHEDULERS, sampler

_BLOCK = re.compile(r"(<!-- made: ([\w-]+) -->\n)(.*?)(<!-- /made -->\n)", re.DOTALL)
_LINKED = {"scheduler": "[a scheduler](#schedulers)"}
_PIPELINE = "[what to run](#pipelines); default: txt2img"
_UNNAMED = {"extra"}  # fields of the schema that no manifest names


def with_made_blocks(page: str) -> str:
    """The page with every made block as the code has it now.

    Raises:
        KeyError: the page names a block that nobody makes.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}{_BLOCKS[block[2]]()}{block[4]}", page)


def fields() -> str:
    """A line for each field that a row can have."""
    lines = ["| field | of | value | meaning |", "|---|---|---|---|"]
    for name in _field_names():
        takers = [pipeline for pipeline, row in ROW_TYPES.items() if name in row.model_fields]
        told = ROW_TYPES[takers[0]].model_fields[name].description or _PIPELINE
        cells = (f"`{name}`", _takers(takers), _value(takers[0], name), _cell(told))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def pipelines() -> str:
    """A line for each pipeline: what it does, what it needs."""
    lines = ["| pipeline | needs | takes beside the fields of all | what it does |", "|---|---|---|---|"]
    for pipeline, row in ROW_TYPES.items():
        needed = [name for name, field in row.model_fields.items() if field.is_required() and name != "pipeline"]
        own = [name for name in row.model_fields if name not in RowBase.model_fields and name not in needed]
        told = " ".join((row.__doc__ or "").split())
        cells = (f"`{pipeline}`", _names(needed), _names([name for name in own if name != "pipeline"]), told)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def stages() -> str:
    """A line for each pipeline that a stage of `then` can have."""
    lines = ["| pipeline | needs | takes beside the fields of all | what it does |", "|---|---|---|---|"]
    for pipeline, stage in STAGE_TYPES.items():
        needed = [name for name, field in stage.model_fields.items() if field.is_required() and name != "pipeline"]
        own = [name for name in stage.model_fields if name not in (*StageBase.model_fields, *needed, "pipeline")]
        cells = (f"`{pipeline}`", _names(needed), _names(own), " ".join((stage.__doc__ or "").split()))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nAll take {_names(list(StageBase.model_fields))}.\n"


def schedulers() -> str:
    """A line for each scheduler."""
    lines = ["| scheduler | in diffusers | in A1111 |", "|---|---|---|"]
    for name in SCHEDULERS:
        found = sampler(name)
        config = ", ".join(f"{key}={value!r}" for key, value in found.config.items())
        schedule = "" if found.schedule_type == "Automatic" else f" {found.schedule_type}"
        lines.append(
            f"| `{name}` | `{found.class_name}`{f' with `{config}`' if config else ''} | {found.a1111}{schedule} |"
        )
    return "\n".join(lines) + "\n"


def names() -> str:
    """A line for each field that other tools call otherwise."""
    lines = ["| field | other tools call it |", "|---|---|"]
    by_field: dict[str, list[str]] = {}
    for name, field in SYNONYMS.items():
        by_field.setdefault(field, []).append(name)
    lines += [f"| `{field}` | {_names(others)} |" for field, others in sorted(by_field.items())]
    return "\n".join(lines) + "\n"


def template() -> str:
    """A line for each setting of a template."""
    lines = ["| setting | value | meaning |", "|---|---|---|"]
    for name, node in Template.model_json_schema()["properties"].items():
        told = Template.model_fields[name].description or ""
        lines.append(f"| `{name}` | {_cell(in_words(node))} | {_cell(told)} |")
    return "\n".join(lines) + "\n"


def _field_names() -> Iterator[str]:
    """In the order of the schemas: what all rows have, then what some add."""
    seen: dict[str, None] = {"id": None, "pipeline": None, "model": None}
    for row in (RowBase, *ROW_TYPES.values()):
        seen |= dict.fromkeys(row.model_fields)
    return (name for name in seen if name not in _UNNAMED)


def _takers(takers: list[PipelineName]) -> str:
    if len(takers) == len(ROW_TYPES):
        return "all"
    missing = [pipeline for pipeline in ROW_TYPES if pipeline not in takers]
    return f"all but {missing[0]}" if len(missing) == 1 else ", ".join(takers)


def _value(pipeline: PipelineName, name: str) -> str:
    if name == "pipeline":
        return ", ".join(f"`{choice}`" for choice in ROW_TYPES)
    return _LINKED.get(name) or _cell(Expectations().expected(pipeline, name))


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


_BLOCKS: dict[str, Callable[[], str]] = {
    "fields": fields,
    "pipelines": pipelines,
    "stages": stages,
    "schedulers": schedulers,
    "names": names,
    "template": template,
}
