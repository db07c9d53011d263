"""Prompts-from-file of stable-diffusion-webui (A1111): one job a line.

The grammar is that of its `scripts/prompts_from_file.py`: a line without `--` is a prompt; any other is split as a
shell would, into `--key value`, where `--prompt` and `--negative_prompt` take words until the next `--`. A1111 renders
a line that it cannot read as a prompt; here that is a fault, and so is a key given twice or without a value.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.manifests.columns import Columns
from orchestrator.manifests.delimited import decoded
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.names import BATCH_SIZE, ITERATIONS, near_name
from orchestrator.manifests.source import Line, Record

# A1111's keys -> our fields.
USED = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "sd_model": "model",
    "seed": "seed",
    "sampler_name": "scheduler",
    "n_iter": ITERATIONS,
    "batch_size": BATCH_SIZE,
    "steps": "steps",
    "cfg_scale": "guidance_scale",
    "width": "width",
    "height": "height",
}
# Keys that change nothing about the picture -> why they are passed over.
IGNORED = {
    "outpath_samples": "promptmill names its files itself",
    "outpath_grids": "promptmill makes no grids",
    "prompt_for_display": "the prompt itself is kept",
    "do_not_save_samples": "every image is kept",
    "do_not_save_grid": "promptmill makes no grids",
}
# Keys that change the picture in a way that has no counterpart -> the values that change nothing, and a remedy.
REFUSED: dict[str, tuple[frozenset[float | str], str]] = {
    "styles": (frozenset({"", "None"}), "A1111 keeps styles in a file of its own: write their text into the prompt"),
    "sampler_index": (frozenset(), "a number in A1111's own list, which differs by version: give --sampler_name"),
    "subseed": (frozenset({-1.0}), "variation seeds have no counterpart: leave it out"),
    "subseed_strength": (frozenset({0.0}), "variation seeds have no counterpart: leave it out"),
    "seed_resize_from_h": (frozenset({0.0, -1.0}), "it has no counterpart: leave it out"),
    "seed_resize_from_w": (frozenset({0.0, -1.0}), "it has no counterpart: leave it out"),
}
# Refused where they are true; in A1111 every other value is false.
SWITCHES = {
    "restore_faces": "it has no counterpart: leave it out",
    "tiling": "it has no counterpart: leave it out",
}
KEYS = (*USED, *IGNORED, *REFUSED, *SWITCHES)
WRITTEN = {field: f"--{key}" for key, field in USED.items()} | {
    f"{ITERATIONS} x {BATCH_SIZE}": f"--{ITERATIONS} x --{BATCH_SIZE}"
}
"""Our fields -> how their faults name them."""
_WORDS = ("prompt", "negative_prompt")
# "name.safetensors [6ce0161689]", as A1111's menu shows a checkpoint.
_CHECKPOINT = re.compile(r"(?:\.(?:safetensors|ckpt))?(?:\s+\[[0-9a-f]+\])?$")


class _Unreadable(ValueError):
    """A line that is no job; says why."""


def a1111_records(lines: Iterable[Line], columns: Columns, faults: Faults) -> Iterator[Record]:
    """One record a line; empty lines are skipped."""
    columns.finish(faults)
    for line, text in decoded(lines, faults):
        job = text.strip()
        if not job:
            continue
        if "--" not in job:
            yield line, {"prompt": job}, None
            continue
        try:
            given = _arguments(job)
        except _Unreadable as error:
            faults.add(line, str(error), value=job, kind="unreadable line")
            continue
        values = _values(line, given, faults)
        if values is not None:
            yield line, values, None


def _arguments(job: str) -> dict[str, str]:
    """`--key value` pairs.

    Raises:
        _Unreadable: the line is none of them.
    """
    try:
        words = shlex.split(job)
    except ValueError as error:
        reason = "a quote or an apostrophe is never closed" if "quotation" in str(error) else "it ends with a backslash"
        raise _Unreadable(f'{reason}: a text with one in it stands in double quotes, as in --prompt "it\'s"') from None
    if not words or not words[0].startswith("--"):
        remedy = 'a prompt with -- in it is given as --prompt "..."'
        raise _Unreadable(f"a line with -- in it begins with a key such as --prompt; {remedy}")
    found: dict[str, str] = {}
    at = 0
    while at < len(words):
        key = words[at].removeprefix("--")
        if not words[at].startswith("--"):
            raise _Unreadable(f"{words[at - 2]} takes one value, and {words[at]} follows it: quote values with blanks")
        _check_key(key, found)
        end = at + 2
        if key in _WORDS:
            while end < len(words) and not words[end].startswith("--"):
                end += 1
        value = words[at + 1 : end]
        if not value or (value[0].startswith("--") and value[0].removeprefix("--") in KEYS):
            raise _Unreadable(f"--{key} has no value")
        found[key] = " ".join(value)
        at = end
    return found


def _check_key(key: str, found: dict[str, str]) -> None:
    if key in found:
        raise _Unreadable(f"--{key} stands twice")
    if key not in KEYS:
        near = near_name(key, list(KEYS))
        among = f"did you mean --{near}?" if near else "its keys are " + ", ".join(sorted(KEYS))
        raise _Unreadable(f"--{key} is no key of A1111's prompts file: {among}")


def _values(line: int, given: dict[str, str], faults: Faults) -> dict[str, Any] | None:
    sound = True
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in IGNORED:
            faults.warn(line, f"ignored: {IGNORED[key]}", field=f"--{key}")
        elif (remedy := _refusal(key, value)) is not None:
            faults.add(line, remedy, field=f"--{key}", value=value)
            sound = False
        elif key in USED:
            values[USED[key]] = _CHECKPOINT.sub("", value) if key == "sd_model" else value
    return values if sound else None


def _refusal(key: str, value: str) -> str | None:
    """Why a key cannot have a value; None: it can, or the value changes nothing."""
    if key in SWITCHES:
        return SWITCHES[key] if value.strip().casefold() == "true" else None
    harmless, remedy = REFUSED.get(key, (None, ""))
    return None if harmless is None or _number_or_text(value) in harmless else remedy


def _number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
