"""Images of other tools: A1111's infotext by our own reader, ComfyUI, InvokeAI, Fooocus and NovelAI by sd-parsers.

sd-parsers gets the texts alone, never the file: its own extractors decode pixels.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orchestrator.importing.settings_of_others import ForeignRow, ForeignRowBuilder, NotTaken, from_infotext
from services.image_metadata.containers import PARAMETERS
from services.image_metadata.infotext import parse

A1111 = "A1111"
# Text chunks that every program writes, and that say nothing of how a picture was made.
_EVERYBODYS = frozenset({"software", "date:create", "date:modify", "creation time", "author", "copyright", "title"})
_MOST_DREAM = 32_000
_MOST_NODES = 2_000
_MOST_SAMPLERS = 32
_SEEDS = ("seed", "noise_seed")


class ToolRow(NamedTuple):
    """A row, and the tool that it is of."""

    tool: str
    row: ForeignRow


def read_foreign(texts: Mapping[str, str]) -> ToolRow | None:
    """The row that a file's texts tell of; None where they tell of none.

    Raises:
        NotTaken: they do, but not all that a row needs.
    """
    text = texts.get(PARAMETERS)
    if text is not None and not text.lstrip().startswith("{"):
        found = parse(text)
        if not found.settings:
            raise NotTaken("its infotext has no settings")
        return ToolRow(A1111, from_infotext(found.prompt, found.negative_prompt, found.settings))
    wanted = {name: value for name, value in texts.items() if name.lower() not in _EVERYBODYS}
    if not wanted:
        return None
    info = _parsed(dict(texts))
    if info is None:
        raise NotTaken(f"metadata of a kind that is not known: {', '.join(sorted(wanted))[:200]}")
    return ToolRow(info.generator.value, _row(info))


def _parsed(texts: dict[str, Any]) -> Any:
    """sd-parsers' PromptInfo, or None."""
    from sd_parsers.parsers import MANAGED_PARSERS  # only here: most imports meet none of these

    parsers: list[Callable[[], Any]] = list(MANAGED_PARSERS)
    texts = {name: text for name, text in texts.items() if not _is_too_much(name, text)}
    if "prompt" in texts and "workflow" not in texts:
        texts["workflow"] = _workflow(texts["prompt"])
    for parser in parsers:
        try:
            info = parser().parse(texts)
        except Exception:  # noqa: S112 - its parsers raise nearly anything at what is not theirs
            continue
        if info.samplers:
            return info
    return None


def _is_too_much(name: str, text: str) -> bool:
    """More than a picture needs, and than sd-parsers reads in a second: its regular expressions and its walk through a
    graph take the square of their input."""
    if name == "Dream":
        return len(text) > _MOST_DREAM
    return name == "prompt" and (
        text.count('"class_type"') > _MOST_NODES or text.count("sampler_name") > _MOST_SAMPLERS
    )


def _workflow(prompt: str) -> dict[str, Any]:
    """The links of a ComfyUI graph, which images made through its API have in `prompt` alone."""
    links = []
    try:
        for node_id, node in json.loads(prompt).items():
            for name, value in node["inputs"].items():
                if isinstance(value, list) and len(value) == 2:
                    links.append([0, value[0], value[1], node_id, 0, name.upper()])
    except Exception:
        return {"links": []}
    return {"links": links}


def _row(info: Any) -> ForeignRow:
    """Fields from a PromptInfo.

    Raises:
        NotTaken: several samplers, an input image, or no prompt.
    """
    sampler, others = _base_sampler(info.samplers)
    given = dict(sampler.parameters)
    rest = dict(info.metadata)
    if _made_from_an_image(given, rest):
        raise NotTaken("made from another image, which is not named by its content")
    prompts, negatives = map(_texts, (sampler.prompts, sampler.negative_prompts))
    weighting, prompts, negatives = _weighted(info.generator.value, prompts, negatives)
    builder = ForeignRowBuilder(", ".join(prompts), ", ".join(negatives))
    builder.take("weighting", weighting, "weighting")
    if info.generator.value == "NovelAI" and re.search(r"[{}\[\]]", prompts[0] if prompts else ""):
        builder.leave("weights in NovelAI's own syntax", prompts[0])
    if len(prompts) > 1 or len(negatives) > 1:
        builder.leave("how its prompts are joined", " | ".join([*prompts, *negatives]))
    builder.take_sampler(str(sampler.name), str(given.pop("scheduler", "") or ""))
    builder.take("guidance_scale", given.pop("cfg_scale", None), "cfg_scale")
    builder.take("steps", given.pop("steps", rest.pop("steps", None)), "steps")
    builder.take("seed", next((given.pop(name) for name in _SEEDS if name in given), None), "seed")
    if sampler.model is not None:
        builder.take("model", sampler.model.name or sampler.model.hash, "model")
    _take_sides(builder, rest)
    for name, value in (given | rest | others).items():
        if name != "denoise":
            builder.leave(str(name), value)
    return builder.row()


def _texts(prompts: Any) -> list[str]:
    """Different texts, in order: SDXL's graphs often give the same one twice."""
    return list(dict.fromkeys(text for prompt in prompts if (text := str(prompt.value).strip())))


def _weighted(tool: str, prompts: list[str], negatives: list[str]) -> tuple[str | None, list[str], list[str]]:
    """How a tool reads weights in prompts, as `weighting` says it, and the prompts in that syntax.

    InvokeAI reads compel's. ComfyUI and Fooocus read round brackets as A1111 does, and square ones as text.
    """
    if tool == "InvokeAI":
        return "compel", prompts, negatives
    texts = [*prompts, *negatives]
    if tool not in ("ComfyUI", "Fooocus") or not any("(" in text for text in texts):
        return None, prompts, negatives

    def escaped(text: str) -> str:
        return re.sub(r"(?<!\\)([\[\]])", r"\\\1", text)

    return "a1111", list(map(escaped, prompts)), list(map(escaped, negatives))


def _base_sampler(samplers: Any) -> tuple[Any, dict[str, Any]]:
    """The sampler that began from noise, and what the others do."""
    if len(samplers) == 1:
        return samplers[0], {}
    first = [one for one in samplers if _number(one.parameters.get("denoise", 1)) >= 1]
    if len(first) != 1:
        raise NotTaken(f"{len(samplers)} samplers, of which {len(first)} begin from noise: one is expected")
    return first[0], {"a second sampler": ", ".join(str(one.name) for one in samplers if one is not first[0])}


def _made_from_an_image(given: dict[str, Any], rest: dict[str, Any]) -> bool:
    if _number(given.get("denoise", 1)) < 1:
        return True
    mode = str(rest.get("generation_mode", "") or rest.get("request_type", "")).lower()
    return "img2img" in mode or "inpaint" in mode or any(rest.get(name) for name in ("init_image", "image", "mask"))


def _take_sides(builder: ForeignRowBuilder, rest: dict[str, Any]) -> None:
    if "resolution" in rest:  # Fooocus: "(1152, 896)"
        sides = str(rest.pop("resolution")).strip("() ").split(",")
    elif "width" in rest or "height" in rest:
        sides = [rest.pop("width", None), rest.pop("height", None)]
    else:
        latents = rest.pop("EmptyLatentImage", [])
        if len(latents) != 1:
            return
        sides = [latents[0].get("width"), latents[0].get("height")]
    builder.take_sides(*(sides if len(sides) == 2 else (None, None)))


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 1.0
