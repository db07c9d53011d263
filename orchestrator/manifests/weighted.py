"""The prompts of rows with weights: what is wrong with them, and what A1111's `<lora:...>` in them asks for."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from orchestrator.manifests.faults import Faults
from schemas.adapters import MAX_ADAPTERS, LoraUse, Weighting
from schemas.rows import Row, RowBase, StageBase, stage_field
from services.prompts.a1111 import parse_a1111
from services.prompts.compel_syntax import check_compel
from services.prompts.lora_tags import take_tags
from services.prompts.weighted import Remark, warning

Drawn = TypeVar("Drawn", bound=RowBase | StageBase)


def needs_reading(row: Row) -> bool:
    """Whether `read_weighted` has anything to do with a row. Cheap: it runs once a row."""
    return row.weighting is not None or bool(row.then) or bool(row.embeddings)


def read_weighted(line: int, row: Row, faults: Faults) -> Row | None:
    """The row with the LoRAs of its prompts in `loras`, or None where it has faults, which are then added."""
    before = faults.total
    read = _read(line, "", row, row.weighting, faults)
    stages = [
        _read(line, f"{stage_field(position)}.", stage, stage.weighting or row.weighting, faults)
        for position, stage in enumerate(row.then)
    ]
    if any(stage is not own for stage, own in zip(stages, row.then, strict=True)):
        read = read.model_copy(update={"then": tuple(stages)})
    _embeddings_are_named(line, read, faults)
    return read if faults.total == before else None


def _read(line: int, prefix: str, drawn: Drawn, weighting: Weighting | None, faults: Faults) -> Drawn:
    if weighting is None:
        return drawn
    changes: dict[str, Any] = {}
    for field in ("prompt", "negative_prompt"):
        text = getattr(drawn, field)
        if not text:
            continue
        if weighting == "compel":
            remarks = check_compel(text)
        else:
            left, loras, remarks = _untagged(field, text)
            remarks += parse_a1111(left).remarks
            if left != text:
                changes = {"prompt": left} | _with_loras(line, prefix, drawn, loras, faults)
        for remark in remarks:
            add = faults.add if remark.level == "fault" else faults.warn
            add(line, remark.message, field=prefix + field, value=text, kind=remark.kind)
    return cast(Drawn, drawn.model_copy(update=changes)) if changes else drawn


def _untagged(field: str, text: str) -> tuple[str, tuple[LoraUse, ...], tuple[Remark, ...]]:
    """As `take_tags`; a negative prompt keeps its tags."""
    left, loras, remarks = take_tags(text)
    if field == "prompt" or left == text:
        return left, loras, remarks
    message = "<lora:...> in a negative prompt is text, as in A1111"
    return text, (), (warning(message),)


def _with_loras(
    line: int, prefix: str, drawn: RowBase | StageBase, loras: Sequence[LoraUse], faults: Faults
) -> dict[str, Any]:
    uses: dict[str, LoraUse] = {use.name: use for use in drawn.loras or ()}
    for use in loras:
        if use.name in uses:
            faults.add(line, f"LoRA {use.name} stands in the prompt and in loras", field=f"{prefix}loras")
        uses[use.name] = use
    if len(uses) > MAX_ADAPTERS:
        faults.add(line, f"{len(uses)} LoRAs; at most {MAX_ADAPTERS}", field=f"{prefix}prompt", kind="too many LoRAs")
    return {"loras": tuple(uses.values())} if loras else {}


def _embeddings_are_named(line: int, row: Row, faults: Faults) -> None:
    texts = [row.prompt, row.negative_prompt or ""]
    texts += [text for stage in row.then for text in (stage.prompt, stage.negative_prompt) if text]
    prompts = "\n".join(texts).casefold()
    for name in row.embeddings or ():
        if name.casefold() not in prompts:
            message = f"embedding {name} stands in no prompt, and so does nothing"
            faults.warn(line, message, field="embeddings", value=name, kind="an embedding that no prompt names")
