"""The prompts of rows with weights: what is wrong with them, and what A1111's `<lora:...>` in them asks for."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from orchestrator.manifests.faults import Faults
from schemas.adapters import MAX_ADAPTERS, LoraUse, Weighting
from schemas.rows import Row, RowBase, StageBase, Txt2Img, stage_field
from services.prompts.a1111 import parse_a1111
from services.prompts.compel_syntax import check_compel
from services.prompts.lora_tags import take_tags
from services.prompts.weighted import Remark, warning

_TEXTS = ("prompt", "negative_prompt")
_FIELDS = (*_TEXTS, "loras")
Drawn = TypeVar("Drawn", bound=RowBase | StageBase)


class _Named(NamedTuple):
    """What the fields of a row or stage are called in messages, and why a stage reads the row's."""

    fields: Mapping[str, str]
    reason: str = ""

    def why(self, field: str) -> str:
        return self.reason if self.fields[field] == field else ""


_OWN = _Named({field: field for field in _FIELDS})


def needs_reading(row: Row) -> bool:
    """Whether `read_weighted` has anything to do with a row. Cheap: it runs once a row."""
    return row.weighting is not None or bool(row.then) or bool(row.embeddings)


def read_weighted(line: int, row: Row, faults: Faults) -> Row | None:
    """The row with the LoRAs of its prompts in `loras`, or None where it has faults, which are then added."""
    before = faults.total
    read = _read(line, row, row.weighting, faults)
    stages = tuple(_read_stage(line, read, position, faults) for position in range(len(row.then)))
    if any(stage is not own for stage, own in zip(stages, row.then, strict=True)):
        read = read.model_copy(update={"then": stages})
    _embeddings_are_named(line, read, faults)
    return read if faults.total == before else None


def _read_stage(line: int, row: Row, position: int, faults: Faults) -> StageBase:
    """A stage with its own prompts read, and with those that it takes from a row which reads them in another way."""
    stage, name = row.then[position], stage_field(position)
    own = _Named({field: f"{name}.{field}" for field in _FIELDS})
    if stage.weighting is None or stage.weighting == row.weighting:
        return _read(line, stage, row.weighting, faults, own)
    taken = {field: getattr(row, field) for field in _TEXTS if getattr(stage, field) is None}
    if stage.loras is None and stage.model in (None, row.model):
        taken["loras"] = row.loras
    whole = stage.model_copy(update=taken)
    named = _Named({**own.fields, **{field: field for field in taken}}, f", as {name} has weighting: {stage.weighting}")
    read = _read(line, whole, stage.weighting, faults, named)
    return stage if read is whole else read


def _read(line: int, drawn: Drawn, weighting: Weighting | None, faults: Faults, named: _Named = _OWN) -> Drawn:
    if weighting is None:
        return drawn
    before = faults.total
    changes: dict[str, Any] = {}
    for field in _TEXTS:
        text = getattr(drawn, field)
        if not text:
            continue
        if weighting == "compel":
            remarks = check_compel(text)
        else:
            left, loras, remarks = _untagged(field, text)
            remarks += parse_a1111(left).remarks
            if left != text:
                changes = {"prompt": left} | _with_loras(line, named, drawn, loras, faults)
        for remark in remarks:
            add = faults.add if remark.level == "fault" else faults.warn
            message, kind = remark.message + named.why(field), remark.kind + named.why(field)
            add(line, message, field=named.fields[field], value=text, kind=kind)
    sound = faults.total == before
    if sound and isinstance(drawn, Txt2Img) and not changes.get("prompt", drawn.prompt).strip():
        message = "nothing stands in it beside <lora:...>, and txt2img needs a prompt"
        faults.add(line, message, field="prompt", value=drawn.prompt)
    return cast(Drawn, drawn.model_copy(update=changes)) if changes else drawn


def _untagged(field: str, text: str) -> tuple[str, tuple[LoraUse, ...], tuple[Remark, ...]]:
    """As `take_tags`; a negative prompt keeps its tags."""
    left, loras, remarks = take_tags(text)
    if field == "prompt" or left == text:
        return left, loras, remarks
    message = "<lora:...> in a negative prompt is text, as in A1111"
    return text, (), (warning(message),)


def _with_loras(
    line: int, named: _Named, drawn: RowBase | StageBase, loras: Sequence[LoraUse], faults: Faults
) -> dict[str, Any]:
    uses: dict[str, LoraUse] = {use.name: use for use in drawn.loras or ()}
    for use in loras:
        if use.name in uses:
            faults.add(line, f"LoRA {use.name} stands in the prompt and in loras", field=named.fields["loras"])
        uses[use.name] = use
    if len(uses) > MAX_ADAPTERS:
        faults.add(
            line, f"{len(uses)} LoRAs; at most {MAX_ADAPTERS}", field=named.fields["prompt"], kind="too many LoRAs"
        )
    return {"loras": tuple(uses.values())} if loras else {}


def _embeddings_are_named(line: int, row: Row, faults: Faults) -> None:
    texts = [row.prompt, row.negative_prompt or ""]
    texts += [text for stage in row.then for text in (stage.prompt, stage.negative_prompt) if text]
    prompts = "\n".join(texts).casefold()
    for name in row.embeddings or ():
        if name.casefold() not in prompts:
            message = f"embedding {name} stands in no prompt, and so does nothing"
            faults.warn(line, message, field="embeddings", value=name, kind="an embedding that no prompt names")
