"""YAML and JSON documents: rows, defaults, spaces, coordinates and ids."""

import json
from typing import Any

import pytest
from manifest_files import Found, Reader

from orchestrator.manifests import ManifestOptions, detect_format
from schemas.document import Document, RowKeys


def table(found: Found, *names: str) -> list[tuple[Any, ...]]:
    assert not found.texts
    return [tuple(getattr(row.row, name) for name in names) for row in found.rows]


def test_rows_stand_in_a_list_and_a_text_is_a_prompt(manifest: Reader) -> None:
    found = manifest(
        "a.yaml", "rows:\n- a fox\n- prompt: 夜の港\n  steps: 3\n  note: [1, {a: b}]\n- |\n  two\n  lines\n"
    )
    assert table(found, "prompt", "steps") == [("a fox", None), ("夜の港", 3), ("two\nlines\n", None)]
    assert found.lines == [2, 3, 6]
    assert found.rows[1].row.extra == {"note": [1, {"a": "b"}]}
    assert [row.coordinates for row in found.rows] == [None] * 3


@pytest.mark.parametrize(("name", "content"), [("a.json", '["x", {"prompt": "y"}]'), ("a.yml", "- x\n- prompt: y\n")])
def test_a_bare_list_of_rows_is_a_document(manifest: Reader, name: str, content: str) -> None:
    assert manifest(name, content).prompts == ["x", "y"]


def test_yaml_and_json_say_the_same(manifest: Reader) -> None:
    content = {
        "defaults": {"steps": 3, "set": "s"},
        "space": {"seed": "1-2"},
        "rows": ["a", {"prompt": "b", "id": "x", "space": {"scheduler": ["euler", "ddim"]}}],
    }
    as_json = manifest("a.json", json.dumps(content, indent=1))
    assert as_json.rows[2][2:4] == manifest("a.yaml", json.dumps(content)).rows[2][2:4]
    assert [row.row.id for row in as_json.rows] == [None, None, "x-0-0", "x-0-1", "x-1-0", "x-1-1"]
    assert {row.row.extra["set"] for row in as_json.rows} == {"s"}


def test_a_rows_value_wins_over_the_space_that_over_the_defaults_those_over_set(manifest: Reader) -> None:
    content = (
        "defaults: {steps: 2, guidance_scale: 2, scheduler: ddim}\n"
        "space: {steps: [3, 4], seed: 1-2}\n"
        "rows: [a, {prompt: b, steps: 5}, {prompt: c, seed: null}]\n"
    )
    found = manifest("a.yaml", content, defaults={"model": "tiny", "steps": 1, "guidance_scale": 1, "clip_skip": 1})
    assert table(found, "prompt", "steps", "seed", "guidance_scale", "clip_skip", "scheduler") == [
        *[("a", steps, seed, 2, 1, "ddim") for steps in (3, 4) for seed in (1, 2)],
        *[("b", 5, seed, 2, 1, "ddim") for seed in (1, 2)],
        *[("c", steps, seed, 2, 1, "ddim") for steps in (3, 4) for seed in (1, 2)],
    ]
    assert found.rows[4].coordinates == {"seed": 1}


def test_a_default_of_the_command_line_that_the_document_has_as_well_is_a_warning(manifest: Reader) -> None:
    found = manifest("a.yaml", "defaults:\n  steps: 2\nrows: [a]\n", defaults={"model": "tiny", "steps": 1})
    assert [str(warning) for warning in found.faults.warnings.kept] == [
        "line 2, steps = 2: the document gives this default itself, so that --set steps is not used"
    ]


def test_a_space_in_json_lines_is_a_warning(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt": "a", "space": {"seed": "1-3"}}\n{"prompt": "a", "space": "wide"}\n')
    assert [warning.line for warning in found.faults.warnings.kept] == [1]
    assert found.rows[1].row.extra == {"space": "wide"}


def test_a_default_counts_where_the_pipeline_takes_it(manifest: Reader) -> None:
    content = "defaults: {strength: 0.5}\nrows: [a, {pipeline: img2img, image: a.png}]\n"
    found = manifest("a.yaml", content)
    assert not found.texts
    assert getattr(found.rows[1].row, "strength") == 0.5  # noqa: B009 - a field of one pipeline


def test_defaults_in_other_tools_words_count(manifest: Reader) -> None:
    found = manifest("a.yaml", "defaults: {sampler: DPM++ 2M Karras, cfg: 3, seed: -1, sd_model: tiny-2}\nrows: [a]\n")
    assert table(found, "scheduler", "guidance_scale", "seed", "model") == [("dpmpp_2m_karras", 3, None, "tiny-2")]


def test_a_grid_of_samplers_guidance_scales_and_seeds_needs_no_rows(manifest: Reader) -> None:
    content = "defaults: {prompt: a fox}\nspace:\n  sampler: [euler, Euler a, ddim]\n  cfg: 3-9:2\n  seed: 1-5\n"
    found = manifest("a.yaml", content)
    assert table(found, "scheduler", "guidance_scale", "seed") == [
        (scheduler, scale, seed)
        for scheduler in ("euler", "euler_a", "ddim")
        for scale in (3, 5, 7, 9)
        for seed in range(1, 6)
    ]
    assert found.rows[21].coordinates == {"scheduler": "euler_a", "guidance_scale": 3, "seed": 2}
    assert [row.position for row in found.rows] == list(range(60))


def test_every_field_can_be_swept_prompts_and_images_too(manifest: Reader) -> None:
    content = "space:\n  prompt: [a, b]\n  init_image: [x.png, y.png]\n  strength: 0.1-0.3:0.1\nrows: [{id: i}]\n"
    found = manifest("a.yaml", content)
    assert len(table(found, "prompt", "image", "strength")) == 12
    assert found.rows[-1].row.id == "i-1-1-2"
    assert found.rows[-1].coordinates == {"prompt": "b", "init_image": "y.png", "strength": 0.3}


def test_a_null_in_a_space_is_the_value_not_given(manifest: Reader) -> None:
    found = manifest("a.yaml", "space: {negative_prompt: [null, blurry]}\nrows: [a]\n")
    assert table(found, "negative_prompt") == [(None,), ("blurry",)]


def test_ranges_stand_for_a_list_and_in_lists_of_numbers(manifest: Reader) -> None:
    found = manifest("a.yaml", "space: {seed: [1-3, 9, '5'], note: [1-3]}\nrows: [a]\n")
    assert [row.coordinates for row in found.rows] == [{"seed": seed, "note": "1-3"} for seed in (1, 2, 3, 9, "5")]
    assert table(found, "seed") == [(1,), (2,), (3,), (9,), (5,)]


def test_combine_goes_through_names_together(manifest: Reader) -> None:
    content = (
        "space:\n  width: [64, 128]\n  height: [128, 64]\n  seed: 1-2\n  label: [tall, wide]\n"
        "combine: seed * (width, height, label)\nrows: [{prompt: a, id: i}]\n"
    )
    found = manifest("a.yaml", content)
    assert table(found, "id", "seed", "width", "height") == [
        ("i-0-0", 1, 64, 128),
        ("i-0-1", 1, 128, 64),
        ("i-1-0", 2, 64, 128),
        ("i-1-1", 2, 128, 64),
    ]
    assert found.rows[0].row.extra == {"label": "tall"}
    assert found.rows[0].coordinates == {"seed": 1, "width": 64, "height": 128, "label": "tall"}


def test_a_rows_space_adds_names_and_replaces_values(manifest: Reader) -> None:
    content = (
        "space: {scheduler: [euler, ddim], seed: 1-2}\ncombine: (scheduler, seed)\n"
        "rows:\n- {prompt: a, space: {steps: [3, 4]}}\n- {prompt: b, space: {seed: 7-8}}\n"
        "- {prompt: c, seed: 5}\n- {prompt: d, space: {steps: 3}, combine: steps * seed * scheduler}\n"
    )
    assert table(manifest("a.yaml", content), "prompt", "scheduler", "seed", "steps") == [
        *[("a", scheduler, seed, steps) for scheduler, seed in (("euler", 1), ("ddim", 2)) for steps in (3, 4)],
        ("b", "euler", 7, None),
        ("b", "ddim", 8, None),
        ("c", "euler", 5, None),
        ("c", "ddim", 5, None),
        *[("d", scheduler, seed, 3) for seed in (1, 2) for scheduler in ("euler", "ddim")],
    ]


def test_ids_are_padded_to_sort_in_the_order_of_the_sweep(manifest: Reader) -> None:
    found = manifest("a.yaml", "space: {seed: 0-10, steps: [1, 2]}\nrows: [{prompt: a, id: fox}]\n")
    ids = [row.row.id for row in found.rows]
    assert ids[:3] == ["fox-00-0", "fox-00-1", "fox-01-0"]
    assert ids == sorted(ids, key=str)


def test_ids_can_be_swept_together_with_prompts(manifest: Reader) -> None:
    content = "space: {id: [fox, cat], prompt: [a, b], seed: 1-2}\ncombine: (id, prompt) * seed\n"
    found = manifest("a.yaml", content)
    assert [row.row.id for row in found.rows] == ["fox-0", "fox-1", "cat-0", "cat-1"]
    assert found.rows[0].coordinates == {"prompt": "a", "seed": 1}


def test_ids_that_come_twice_are_told_over_sweeps(manifest: Reader) -> None:
    content = "rows:\n- {prompt: a, id: x, space: {seed: 1-2}}\n- {prompt: b, id: x-1}\n- {prompt: c, id: y}\n"
    found = manifest("a.yaml", content)
    assert found.texts == ["line 3, id = x-1: line 2 has this id as well"]


def test_yaml_says_what_yaml_12_says(manifest: Reader) -> None:
    content = (
        "rows:\n- {prompt: a, n: [no, on, ~, true, 0x10, 0o17, 1e3, .5, 12:30, 2024-01-01, 007, '5', .inf, 1_000]}\n"
        "- {prompt: 'b', id: 007, note: !!str 5}\n"
    )
    found = manifest("a.yaml", content)
    expected = ["no", "on", None, True, 16, 15, 1000.0, 0.5, "12:30", "2024-01-01", "007", "5", ".inf", "1_000"]
    assert found.rows[0].row.extra["n"] == expected
    assert (found.rows[1].row.id, found.rows[1].row.extra) == ("007", {"note": "5"})


def test_anchors_and_merge_keys_work(manifest: Reader) -> None:
    content = (
        "defaults: &d {steps: 3}\n"
        "rows:\n- {<<: *d, prompt: a}\n- {<<: [*d, {seed: 1, steps: 9}], prompt: b}\n- {<<: *d, steps: 4, prompt: c}\n"
    )
    assert table(manifest("a.yaml", content), "prompt", "steps", "seed") == [
        ("a", 3, None),
        ("b", 3, 1),
        ("c", 4, None),
    ]


def test_columns_are_mapped_and_kept_as_in_other_formats(manifest: Reader) -> None:
    content = "rows: [{P: a, cfg: 3}]\n"
    options = {"column_map": {"prompt": "P"}, "extra_columns": frozenset({"cfg"})}
    found = manifest("a.yaml", content, **options)
    assert (found.prompts, found.rows[0].row.extra) == (["a"], {"cfg": 3})
    assert "no such column" in manifest("a.yaml", "rows: [{prompt: a}]\n", column_map={"seed": "S"}).texts[0]


def test_byte_order_marks_and_crlf_do_no_harm(manifest: Reader) -> None:
    assert manifest("a.yaml", "\ufeffrows:\r\n- a\r\n- b\r\n").lines == [2, 3]
    assert manifest("a.json", '\ufeff[\r\n"a",\r\n"b"]\r\n').lines == [2, 3]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("rows:\n- a\n", "yaml"),
        ("# a comment\n\ndefaults: {steps: 3}\n", "yaml"),
        ("---\nrows: [a]\n", "yaml"),
        ("- prompt: a\n  steps: 3\n", "yaml"),
        ('[{"prompt": "a"}]', "json"),
        ('{\n "rows": []\n}', "json"),
        ('{"prompt": "a"}\n{"prompt": "b"}\n', "jsonl"),
        ("- a list in a prompt\n", "text"),
        ("a fox: in the snow\n", "text"),
        ("# 1 fox\na cat\n", "text"),
    ],
)
def test_standard_input_is_told_by_its_beginning(tmp_path: Any, content: str, expected: str) -> None:
    path = tmp_path / "stdin"
    path.write_text(content)
    assert detect_format(path, ManifestOptions()) == expected


def test_the_published_shapes_have_the_keys_that_the_reader_knows(manifest: Reader) -> None:
    rows = [{"prompt": "a"} | dict.fromkeys(RowKeys.model_fields)]
    content = dict.fromkeys(Document.model_fields) | {"rows": rows}
    found = manifest("a.json", json.dumps(content))
    assert not found.texts
    assert found.rows[0].row.extra == {}
