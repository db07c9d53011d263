"""A1111's infotext, written and read.

```
{prompt}
Negative prompt: {negative}
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model: ..., Version: ...
```

The grammar is that of stable-diffusion-webui, `modules/processing.py` (`create_infotext`) and
`modules/infotext_utils.py` (`quote`, `parse_generation_parameters`). It is ambiguous: a prompt with a line that
starts with `Negative prompt:` reads back as a prompt and a negative one. Where that matters, our own key is exact.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from schemas.planned import PlannedRow
from schemas.result import AdapterInfo
from schemas.samplers import sampler

NEGATIVE = "Negative prompt:"
# Fewer pairs than this and A1111 takes the last line for a part of the prompt.
MIN_PAIRS = 3
# sd-parsers rejects an image without a sampler; A1111 takes its default for a name that it does not know.
MODEL_OWN_SAMPLER = "Default"
CUT_MARK = "Prompt cut: true"

# A1111's own pattern tries every position anew, which is quadratic in a long line; here a key is matched where it
# must begin, without backtracking (possessive quantifiers).
_KEY = re.compile(r"\s*+(\w[\w \-/]++):\s*+")
_QUOTED = re.compile(r'("(?:\\.|[^\\"])++")\s*+(?:,|$)')


class Infotext(NamedTuple):
    """An infotext, taken apart. `settings` holds the pairs of the last line, unquoted; {} where it has none."""

    prompt: str
    negative_prompt: str
    settings: dict[str, str]


def infotext(
    row: PlannedRow, *, seed: int, width: int, height: int, version: str, adapters: Sequence[AdapterInfo] = ()
) -> str:
    """What A1111 would have written for one image.

    Args:
        row: the row that made the image.
        seed: of this image, not of the row's first one.
        width: of the image, in pixels.
        height: of the image, in pixels.
        version: of promptmill.
        adapters: the LoRAs and embeddings that took part.
    """
    # A1111 takes LoRAs from the prompt.
    prompt = " ".join([row.prompt, *(f"<lora:{use}>" for use in row.loras)]).strip() if row.loras else row.prompt
    negative = f"{NEGATIVE} {row.negative_prompt}" if row.negative_prompt else ""
    found = _settings(row, seed, width, height) | _hashes(adapters) | {"Version": f"promptmill {version}"}
    return "\n".join(part for part in (prompt, negative, format_settings(found)) if part)


def _hashes(adapters: Sequence[AdapterInfo]) -> dict[str, str]:
    """As A1111's `extra_networks_lora.py` and `textual_inversion.py` write them: name and the first twelve digits, of
    the tensors' hash for a LoRA and of the file's for an embedding."""
    loras = [f"{file.name}: {file.tensors_sha256[:12]}" for file in adapters if file.kind == "lora"]
    words = [f"{file.name}: {file.sha256[:12]}" for file in adapters if file.kind == "embedding"]
    return {key: ", ".join(texts) for key, texts in (("Lora hashes", loras), ("TI hashes", words)) if texts}


def _settings(row: PlannedRow, seed: int, width: int, height: int) -> dict[str, str]:
    found = {"Steps": str(row.steps)}
    if row.scheduler is None:
        found["Sampler"] = MODEL_OWN_SAMPLER
    else:
        named = sampler(row.scheduler)
        found |= {"Sampler": named.a1111, "Schedule type": named.schedule_type}
    found |= {"CFG scale": _number(row.guidance_scale), "Seed": str(seed), "Size": f"{width}x{height}"}
    found["Model"] = row.model
    if row.strength is not None:
        found["Denoising strength"] = _number(row.strength)
    if row.clip_skip:
        # diffusers counts the layers that it leaves out; A1111 counts from 1, where 1 leaves out none.
        found["Clip skip"] = str(row.clip_skip + 1)
    if row.noise_level is not None:
        found["Noise level"] = str(row.noise_level)
    if row.weighting is not None:
        found["Weighting"] = row.weighting
    return found


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def format_settings(settings: dict[str, str]) -> str:
    """The last line of an infotext. Values are quoted as A1111's `quote` does, and where a reader would unquote."""
    return ", ".join(f"{key}: {_quote(value)}" for key, value in settings.items())


def _quote(value: str) -> str:
    plain = not any(mark in value for mark in ",\n:") and value[:1] != '"' and value == value.strip()
    return value if plain else json.dumps(value, ensure_ascii=False)


def parse(text: str) -> Infotext:
    """Take an infotext apart as A1111 does, except that prompts keep the white space inside them.

    Never raises: what has no last line of settings is all prompt.
    """
    *lines, last = text.rstrip("\0\r\n ").split("\n")
    settings = parse_settings(last)
    if len(settings) < MIN_PAIRS:
        lines, settings = [*lines, last], {}
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in lines:
        if line.lstrip().startswith(NEGATIVE):
            target = negative
            line = line.lstrip().removeprefix(NEGATIVE).removeprefix(" ")
        target.append(line)
    return Infotext("\n".join(prompt), "\n".join(negative), settings)


def parse_settings(line: str) -> dict[str, str]:
    """The pairs of a line `Key: value, Key: "quoted, value"`; what is no pair is left out."""
    found: dict[str, str] = {}
    position = 0
    while position < len(line):
        key = _KEY.match(line, position)
        start = key.end() if key else position
        quoted = _QUOTED.match(line, start) if key else None
        comma = line.find(",", start)
        end = quoted.end() if quoted else (len(line) if comma < 0 else comma + 1)
        if key:
            value = quoted[1] if quoted else line[start:end].removesuffix(",").rstrip()
            found[key[1]] = _unquote(value)
        position = end
    return found


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def cut(text: str, size: int) -> str:
    """The same infotext in at most `size` bytes of UTF-16: prompts lose their end, and the last line says so."""
    if len(text.encode("utf-16-be")) <= size:
        return text
    head, _, settings = text.rpartition("\n")
    tail = f"\n{settings}, {CUT_MARK}"
    room = max(0, size - len(tail.encode("utf-16-be")))
    return head.encode("utf-16-be")[:room].decode("utf-16-be", errors="ignore") + tail
