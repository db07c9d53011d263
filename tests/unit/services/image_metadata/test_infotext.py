"""Infotext, against A1111's own rules, written down here a second time."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.planned import PlannedRow
from schemas.result import AdapterInfo
from schemas.samplers import SCHEDULERS
from services.image_metadata.infotext import CUT_MARK, cut, format_settings, infotext, parse, parse_settings

# stable-diffusion-webui, modules/infotext_utils.py
A1111_PARAM = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def a1111_reads(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings as A1111 reads them: every line stripped."""
    *lines, last = text.strip().split("\n")
    pairs = A1111_PARAM.findall(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], []
    texts: list[list[str]] = [[], []]
    side = 0
    for line in (line.strip() for line in lines):
        if line.startswith("Negative prompt:"):
            side, line = 1, line[16:].strip()
        texts[side].append(line)
    settings = {key: json.loads(value) if value[:1] == '"' == value[-1:] else value for key, value in pairs}
    return "\n".join(texts[0]), "\n".join(texts[1]), settings


def sd_parsers_reads(text: str) -> dict[str, str]:
    """Settings as sd-parsers 0.3 splits them: at every comma, and only pairs with one colon."""
    pairs = (item.split(":") for item in text.split("\n")[-1].split(","))
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def planned(**changes: Any) -> PlannedRow:
    values: dict[str, Any] = {
        "index": 3,
        "id": "cat",
        "pipeline": "txt2img",
        "model": "sd15",
        "prompt": "a cat, sitting: on a mat",
        "negative_prompt": "blurry",
        "width": 512,
        "height": 768,
        "steps": 20,
        "guidance_scale": 7.0,
        "seed": 42,
        "scheduler": "dpmpp_2m_karras",
    }
    return PlannedRow.model_validate(values | changes)


def text_of(row: PlannedRow) -> str:
    return infotext(row, seed=row.seed + 1, width=512, height=768, version="0.1.0")


def test_looks_as_a1111_writes_it() -> None:
    assert text_of(planned()) == (
        "a cat, sitting: on a mat\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 43, Size: 512x768, "
        "Model: sd15, Version: promptmill 0.1.0"
    )


def test_no_negative_line_without_a_negative_prompt() -> None:
    assert "Negative prompt" not in text_of(planned(negative_prompt=""))


def test_an_empty_prompt_leaves_no_empty_line() -> None:
    text = text_of(planned(prompt="", negative_prompt=""))
    assert text.startswith("Steps: 20, ")
    assert parse(text).prompt == ""


def test_names_what_a_pipeline_adds() -> None:
    row = planned(pipeline="img2img", image={"address": "s3://b/k"}, strength=0.75, clip_skip=1, guidance_scale=7.5)
    settings = parse(text_of(row)).settings
    assert settings["Denoising strength"] == "0.75"
    assert settings["Clip skip"] == "2"
    assert settings["CFG scale"] == "7.5"


def test_upscale_names_its_noise_level() -> None:
    row = planned(pipeline="upscale", image={"address": "s3://b/k"}, noise_level=20)
    assert parse(text_of(row)).settings["Noise level"] == "20"


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, None])
def test_every_scheduler_reads_back_in_a1111_and_sd_parsers(scheduler: str | None) -> None:
    text = text_of(planned(scheduler=scheduler))
    settings = a1111_reads(text)[2]
    assert settings == parse(text).settings == sd_parsers_reads(text)
    assert settings["Sampler"]
    assert len({"Sampler", "CFG scale", "Seed", "Steps"} & set(settings)) == 4


PROMPTS = [
    "夜の港、雨、ネオンサイン",
    "🐈‍⬛ and 🧶 with 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "one line\nand another\n\nafter an empty one",
    'quotes " and \\ back\\slashes, {"a": [1, 2]}',
    "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1\nis not the last line",
    "tab\tand\x0bothers\x85here\u2028there",
    "猫" * 4000,
    "a, b: c " * 500 + "end",
]


@pytest.mark.parametrize("negative", ["", "悪い, worst: quality\nsecond line"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_of_any_kind_read_back(prompt: str, negative: str) -> None:
    text = text_of(planned(prompt=prompt, negative_prompt=negative))
    found = parse(text)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    stripped = tuple("\n".join(line.strip() for line in each.split("\n")) for each in (prompt, negative))
    assert a1111_reads(text)[:2] == stripped
    assert a1111_reads(text)[2] == found.settings


def test_a_prompt_that_holds_a_negative_line_is_read_as_a1111_reads_it() -> None:
    found = parse(text_of(planned(prompt="a\nNegative prompt: b", negative_prompt="c")))
    assert (found.prompt, found.negative_prompt) == ("a", "b\nc")


def test_what_has_no_settings_is_all_prompt() -> None:
    assert parse("just a prompt, with: one pair") == ("just a prompt, with: one pair", "", {})
    assert parse("") == ("", "", {})


def test_a_foreign_text_with_quoted_values() -> None:
    found = parse('x\nSteps: 20, Sampler: Euler a, Lora hashes: "a: 1, b: \\"2\\"", TI-A/B: 1, Seed: 5')
    assert found.settings["Lora hashes"] == 'a: 1, b: "2"'
    assert found.settings["TI-A/B"] == "1"
    assert found.settings["Seed"] == "5"


KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9 \-/]*[A-Za-z0-9]", fullmatch=True)


@given(st.dictionaries(KEYS, st.text(min_size=1).filter(lambda text: text[:1] != '"'), min_size=3, max_size=6))
def test_settings_of_any_kind_read_back(settings: dict[str, str]) -> None:
    line = format_settings(settings)
    assert parse_settings(line) == settings
    assert "\n" not in line


@given(st.lists(st.sampled_from(["Steps: 20", "Key", '"', 'a: "b, c"', ",", ": ", "Size: 5x5", "\\"]), max_size=30))
def test_any_line_gives_named_texts_and_loses_no_settings_between_the_two_readers(pieces: list[str]) -> None:
    line = "".join(pieces)
    settings = parse_settings(line)
    assert all(name and isinstance(value, str) for name, value in settings.items())
    assert parse(line).settings in ({}, settings)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("unit", ["a ", "ab:", '"', 'k: "a, ', "\\", "key: \\"])
def test_long_hostile_lines_take_linear_time(unit: str) -> None:
    parse_settings(unit * 200_000)


def test_a_cut_keeps_the_settings_and_says_so() -> None:
    text = text_of(planned(prompt="猫" * 20_000, negative_prompt="🐈" * 20_000))
    short = cut(text, 65_000)
    assert len(short.encode("utf-16-be")) <= 65_000
    assert short.endswith(CUT_MARK)
    found = parse(short)
    assert found.prompt == "猫" * 20_000
    assert found.negative_prompt == "🐈" * len(found.negative_prompt)
    assert found.settings["Seed"] == "43"
    assert cut(text, 10**6) == text


def test_loras_and_embeddings_stand_where_a1111_looks_for_them() -> None:
    row = planned(
        weighting="a1111",
        loras=[{"name": "ink", "weight": 0.5}, {"name": "sharp"}],
        embeddings=["bad"],
        prompt="a (cat)",
    )
    files = [
        AdapterInfo(
            kind=kind,
            name=name,
            source="o/n",
            revision=None,
            sha256=digit * 64,
            tensors_sha256=chr(ord(digit) + 1) * 64,
        )
        for kind, name, digit in (("lora", "ink", "a"), ("lora", "sharp", "c"), ("embedding", "bad", "e"))
    ]
    text = infotext(row, seed=1, width=512, height=768, version="0.1.0", adapters=files)
    assert text.splitlines()[0] == "a (cat) <lora:ink:0.5> <lora:sharp:1>"
    settings = parse(text).settings
    assert settings["Lora hashes"] == f"ink: {'b' * 12}, sharp: {'d' * 12}"
    assert settings["TI hashes"] == f"bad: {'e' * 12}"
    assert settings["Weighting"] == "a1111"
    assert not {"Lora hashes", "TI hashes", "Weighting"} & set(parse(text_of(planned())).settings)
