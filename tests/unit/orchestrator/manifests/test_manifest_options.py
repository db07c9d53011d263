"""`--map`, `--set`, `--extra`."""

from typing import Any

import pytest

from orchestrator.manifests import ManifestOptions, parse_map, parse_set
from schemas.errors import SettingsError


def test_set_gives_typed_values() -> None:
    texts = ["steps=30", "guidance_scale=7.5", "prompt=a = b", "pipeline=img2img", "strength=0.5", "scheduler=euler"]
    assert parse_set(texts) == {
        "steps": 30,
        "guidance_scale": 7.5,
        "prompt": "a = b",
        "pipeline": "img2img",
        "strength": 0.5,
        "scheduler": "euler",
    }


def test_set_takes_the_names_of_other_tools() -> None:
    texts = ["cfg_scale=7", "sampler_name=DPM++ 2M Karras", "Steps=3", "sd_model=tiny"]
    expected = {"guidance_scale": 7, "scheduler": "dpmpp_2m_karras", "steps": 3, "model": "tiny"}
    assert parse_set(texts) == expected
    with pytest.raises(SettingsError, match="guidance_scale is set already"):
        parse_set(["cfg=7", "guidance_scale=8"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=x", "--set steps=x: expected a whole number from 1 to 1,000"),
        ("steps=30.5", "--set steps=30.5: expected a whole number from 1 to 1,000"),
        ("width=513", "--set width=513: must be a multiple of 8: 512 or 520"),
        ("strength=0", "--set strength=0: expected a number above 0 to 1"),
        ("noise_level=351", "--set noise_level=351: expected a whole number from 0 to 350"),
        ("scheduler=Eulr a", "--set scheduler=Eulr a: did you mean euler_a?"),
        ("scheduler=DPM fast", "--set scheduler=DPM fast: DPM fast has no counterpart in diffusers"),
        ("pipeline=imgtoimg", "did you mean img2img?"),
        ("format=gif", "expected one of png, jpeg, webp"),
        ("model=../x", "--set model=../x: expected an alias from the catalogue"),
        ("cfg_sacle=7", "--set cfg_sacle: did you mean guidance_scale?"),
        ("zzz=7", "--set zzz: no such field"),
        ("extra=7", "--set extra: no such field"),
        ("steps", "--set steps: expected NAME=VALUE, such as --set steps=30"),
        ("=3", "expected NAME=VALUE"),
        ("steps=", "expected NAME=VALUE"),
    ],
)
def test_set_refuses_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_set([text])
    assert message in caught.value.message


def test_nothing_is_set_or_mapped_twice() -> None:
    with pytest.raises(SettingsError, match="steps is set already"):
        parse_set(["steps=3", "steps=4"])
    with pytest.raises(SettingsError, match="prompt is mapped to 'A' already"):
        parse_map(["prompt=A", "prompt=B"])


def test_map_reads_our_field_and_the_manifests_column() -> None:
    assert parse_map(["prompt=The Prompt", "seed=x=y"]) == {"prompt": "The Prompt", "seed": "x=y"}
    with pytest.raises(SettingsError, match=r"--map promt: did you mean prompt\?"):
        parse_map(["promt=Prompt"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column_map": {"image": "File", "mask": "File"}}, "column 'File' is mapped to two fields"),
        ({"column_map": {"prompt": "P"}, "extra_columns": frozenset({"P"})}, "in both --map and --extra"),
        ({"column_map": {"nope": "P"}}, "--map nope: no such field"),
        ({"defaults": {"stepz": 3}}, "--set stepz: did you mean steps?"),
        ({"defaults": {"id": "x"}}, "an id names one row"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ManifestOptions(**options)
    assert message in caught.value.message
