"""`then` in a manifest: stages as lists and as JSON cells, and faults that name the stage."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_files import Reader

from orchestrator.manifests import parse_set
from orchestrator.manifests.inputs import input_addresses
from schemas.errors import SettingsError
from schemas.rows import InpaintStage, PipelineName, UpscaleStage

CHAIN: list[dict[str, Any]] = [
    {"pipeline": "upscale", "model": "big", "noise_level": 3},
    {"pipeline": "inpaint", "mask": "masks/m.png", "strength": 0.5},
]


def line(*then: Any, **values: Any) -> str:
    return json.dumps({"prompt": "a", "then": then} | values) + "\n"


def parquet(column: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["a"], "then": column}), buffer)
    return buffer.getvalue()


TEXT = json.dumps(CHAIN)
QUOTED = TEXT.replace('"', '""')


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", line(*CHAIN)),
        ("a.jsonl", json.dumps({"prompt": "a", "then": TEXT})),
        ("a.csv", f'prompt,then\na,"{QUOTED}"\n'),
        ("a.tsv", f"prompt\tthen\na\t{TEXT}\n"),
        ("a.parquet", parquet(pa.array([TEXT]))),
        ("a.parquet", parquet(pa.array([CHAIN]))),
    ],
    ids=["jsonl", "jsonl-text", "csv", "tsv", "parquet-text", "parquet-list"],
)
def test_every_format_carries_the_same_stages(manifest: Reader, name: str, content: str | bytes) -> None:
    found = manifest(name, content)
    assert found.texts == []
    upscale, inpaint = found.rows[0].row.then
    assert upscale == UpscaleStage.model_validate(CHAIN[0])
    assert inpaint == InpaintStage.model_validate(CHAIN[1])


def test_the_job_can_give_stages_to_all_rows_and_a_row_wins(manifest: Reader) -> None:
    defaults = {"model": "tiny"} | parse_set([f"then={TEXT}", "keep=all"])
    assert defaults["then"] == CHAIN
    found = manifest("a.jsonl", '{"prompt": "a"}\n' + line(CHAIN[0]) + line(), defaults=defaults)
    assert [len(authored.row.then) for authored in found.rows] == [2, 1, 0]
    assert {authored.row.keep for authored in found.rows} == {"all"}


def test_other_tools_names_are_taken_as_in_rows(manifest: Reader) -> None:
    stage = {"pipeline": "img2img", "cfg_scale": 3, "Denoising strength": 0.4, "sampler_name": "DPM++ 2M Karras"}
    (authored,) = manifest("a.jsonl", line(stage | {"seed": -1})).rows
    (found,) = authored.row.then
    assert found.model_dump(exclude_none=True) == {
        "pipeline": "img2img",
        "guidance_scale": 3,
        "strength": 0.4,
        "scheduler": "dpmpp_2m_karras",
    }


def test_stages_stand_in_documents_too_and_in_their_defaults(manifest: Reader) -> None:
    document = """
    defaults:
      then:
        - {pipeline: upscale, cfg: 3, model: null}
    rows:
      - {prompt: a, space: {seed: 1-3}}
      - prompt: b
        then:
          - {pipeline: img2img, denoising_strength: 0.5}
          - {pipeline: upscale}
    """
    found = manifest("a.yaml", document)
    assert found.texts == []
    assert [[stage.pipeline for stage in authored.row.then] for authored in found.rows] == [
        ["upscale"],
        ["upscale"],
        ["upscale"],
        ["img2img", "upscale"],
    ]
    assert found.rows[0].row.then[0].guidance_scale == 3


def test_masks_of_stages_are_inputs_of_the_row(manifest: Reader) -> None:
    (authored,) = manifest("a.jsonl", line(*CHAIN)).rows
    assert input_addresses(authored.row) == {"then[1].mask": "masks/m.png"}


UPSCALE = {"pipeline": "upscale"}


@pytest.mark.parametrize(
    ("then", "fault"),
    [
        ([UPSCALE | {"strength": 1}], "then[0].strength = 1: strength does not apply to upscale: it is for img2img,"),
        ([UPSCALE, {"pipeline": "img2img", "strength": 2}], "then[1].strength = 2: expected a number above 0 to 1"),
        ([{"pipeline": "img2img", "width": 100}], "then[0].width = 100: must be a multiple of 8: 96 or 104"),
        ([{"pipeline": "inpaint"}], "then[0].mask: inpaint needs a mask"),
        ([{"pipeline": "inpaint", "mask": "http://a/b"}], "then[0].mask = http://a/b: of the web only https://"),
        ([UPSCALE | {"scheduler": "eulr"}], "then[0].scheduler = eulr: did you mean euler?"),
        ([UPSCALE | {"image": "a"}], "then[0].image = a: a stage takes the image of the stage before it"),
        ([UPSCALE | {"num_images": 2}], "then[0].num_images = 2: num_images belongs to the row"),
        ([UPSCALE | {"cfg_scale": 2, "guidance_scale": 1}], "then[0].cfg_scale = 2: did you mean guidance_scale?"),
        ([UPSCALE | {"wdth": 2}], "then[0].wdth = 2: no such field; it takes prompt, negative_prompt, model, "),
        ([UPSCALE | {"steps": True}], "then[0].steps = true: expected a whole number from 1 to 1,000"),
        ([UPSCALE | {"prompt": "a\0"}], "then[0].prompt: a NUL character"),
        ([{"pipeline": "txt2img"}], "then[0].pipeline = txt2img: expected one of img2img, inpaint, upscale, depth2img"),
        ([{"model": "tiny"}], "then[0].pipeline: a stage must say which: img2img, inpaint, upscale, depth2img"),
        (["upscale"], 'then[0] = upscale: expected a stage, such as {"pipeline": "upscale"'),
        ([None], 'then[0]: expected a stage, such as {"pipeline": "upscale"'),
        (UPSCALE, 'then = an object: expected a list of stages, such as [{"pipeline": "upscale"'),
        (7, "then = 7: expected a list of stages"),
        ([UPSCALE] * 9, "then: expected at most 8 stages, found 9"),
        ("[", "then = [: expected a list of stages as JSON, such as"),
        ('[{"pipeline": "upscale", "steps": 1, "steps": 2}]', "a key stands twice in it"),
        ("[" * 50_000, "it is not JSON"),
    ],
)
def test_a_fault_names_the_stage_and_the_remedy(manifest: Reader, then: Any, fault: str) -> None:
    found = manifest("a.jsonl", json.dumps({"prompt": "a", "then": then}) + "\n")
    assert len(found.texts) == 1, found.texts
    assert fault in found.texts[0]
    assert found.texts[0].startswith("line 1, then")
    assert not found.rows


def test_all_faults_of_all_stages_are_told(manifest: Reader) -> None:
    found = manifest("a.jsonl", line(UPSCALE | {"steps": 0}, UPSCALE | {"noise_level": 400}, steps=0))
    assert [text.split(" = ")[0] for text in found.texts] == [
        "line 1, steps",
        "line 1, then[0].steps",
        "line 1, then[1].noise_level",
    ]


def test_a_stage_without_a_model_takes_the_rows_if_it_can(manifest: Reader) -> None:
    def check(alias: str, pipeline: PipelineName) -> str | None:
        return f"{alias} has no {pipeline}" if (alias, pipeline) == ("plain", "upscale") else None

    rows = line(UPSCALE, model="plain") + line(UPSCALE, model="able") + line(UPSCALE | {"model": "able"}, model="plain")
    found = manifest("a.jsonl", rows, check_model=check)
    assert found.texts == ["line 1, then[0].model = plain: plain has no upscale"]
    assert found.lines == [2, 3]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("then=[", "--set then=[: expected a list of stages as JSON"),
        ('then=[{"pipeline": "upscale", "steps": 0}]', "--set then[0].steps=0: expected a whole number"),
        ("then=7", "--set then=7: expected a list of stages"),
        ("keep=some", "--set keep=some: expected one of all, last"),
    ],
)
def test_a_default_that_is_wrong_is_told_at_once(text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as told:
        parse_set([text])
    assert fault in told.value.message
