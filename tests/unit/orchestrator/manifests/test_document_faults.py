"""Faults of documents: their line, each once, and nothing that a hostile file could do."""

import gzip
import json
import time

import pytest
from manifest_files import Reader

from orchestrator.manifests import ReadLimits


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("rows:\n- a\n- prompt: b\n  steps: 0\n", ["line 4, steps = 0: expected a whole number from 1 to 1,000"]),
        ("defaults:\n  steps: 0\nrows: [a, b]\n", ["line 2, steps = 0: expected a whole number from 1 to 1,000"]),
        (
            "space:\n  steps:\n  - 3\n  - 0\n  seed: 1-1000\nrows: [a, b]\n",
            ["line 4, steps = 0: expected a whole number from 1 to 1,000"],
        ),
        (
            "rows: [{prompt: a, space: {width: 512-514}}]\n",
            [
                "line 1, width = 513: must be a multiple of 8: 512 or 520",
                "line 1, width = 514: must be a multiple of 8: 512 or 520",
            ],
        ),
        ("rows: [a]\nrow: [b]\n", ["line 2, row: did you mean rows?"]),
        (
            "prompt: a\nrows: [b]\n",
            ["line 1, prompt: a field stands in a row, under rows, or for all rows under defaults"],
        ),
        (
            "rows: [a]\nzzzz: 1\n",
            ["line 2, zzzz: no part of a document; its parts are defaults, space, combine, template, rows"],
        ),
        (
            "defaults: {promt: a}\nspace: {seed: 1-2}\n",
            [
                "line 1, promt: did you mean prompt? --map prompt=promt uses it, --extra promt keeps it as your own",
            ],
        ),
        ("defaults: {id: a}\nrows: [b]\n", ["line 1, id: an id names one row; give it in the row"]),
        ("defaults: [a]\nrows: [b]\n", ["line 1, defaults: expected fields and their values, such as model: sd15"]),
        ("defaults: {steps: 3}\n", ["line 1, rows: no rows: list them under rows, or give a space"]),
        ("rows: {a: b}\n", ["line 1, rows: expected a list of rows"]),
        ("rows: []\n", ["manifest: no rows"]),
        ("rows:\n- [a]\n", ["line 2: expected a row, such as {prompt: a cat}, or its prompt alone"]),
        (
            "rows: [{prompt: a, cfg: 3, cfg_scale: 4}]\n",
            ["line 1, cfg_scale: 'cfg' and 'cfg_scale' both give guidance_scale"],
        ),
        ("space: {steps: []}\nrows: [a]\n", ["line 1, steps: no values: the space would have no rows"]),
        ("space: {steps: }\nrows: [a]\n", ["line 1, steps: expected a list of values, or a range such as 1-10"]),
        (
            "space: {steps: {a: b}}\nrows: [a]\n",
            [
                "line 1, steps = an object: expected a list of values, or a range such as 1-10",
            ],
        ),
        (
            "space: {steps: 5-1}\nrows: [a]\n",
            ["line 1, steps = 5-1: it runs backwards: 1-5, or with a step below 0: 5-1:-1"],
        ),
        (
            "space: {note: x}\nrows: [a]\n",
            [
                "line 1, note = x: expected a range such as 1-10, 0-100:25 or 0.5-1.0:0.1, or a list of values",
            ],
        ),
        ("space: [a]\nrows: [b]\n", ["line 1, space: expected names and their values, such as seed: 1-5"]),
        (
            "space: {steps: [1, 2], seed: 1-3}\ncombine: (steps, seed)\nrows: [a, b]\n",
            [
                "line 2, combine: what goes together must have equally many values: steps 2, seed 3",
            ],
        ),
        (
            "space: {steps: [1, 2], seed: 1-3}\ncombine: steps\nrows: [a]\n",
            [
                "line 2, combine: seed is not in the expression: add * seed, or (..., seed)",
            ],
        ),
        (
            "space: {steps: 9-1, seed: 1-3}\ncombine: (steps, seed)\nrows: [a, b]\n",
            ["line 1, steps = 9-1: it runs backwards: 1-9, or with a step below 0: 9-1:-1"],
        ),
        (
            (
                "space: {steps: 9-1, seed: 1-3}\n"
                "rows:\n- prompt: a\n  space: {width: [64, 72]}\n  combine: (steps, width) * seed\n"
            ),
            ["line 1, steps = 9-1: it runs backwards: 1-9, or with a step below 0: 9-1:-1"],
        ),
        (
            "rows: [{prompt: a, space: {steps: 9-1}, combine: steps}]\n",
            ["line 1, steps = 9-1: it runs backwards: 1-9, or with a step below 0: 9-1:-1"],
        ),
        (
            "space: {steps: [1, 2]}\ncombine: steps * sede\nrows: [a]\n",
            [
                "line 2, combine: sede has no values in the space; the names to combine are: steps",
            ],
        ),
        (
            "space: {steps: [1, 2]}\ncombine: 5\nrows: [a]\n",
            [
                "line 2, combine: expected an expression such as a * b, or (a, b) * c",
            ],
        ),
        (
            "rows:\n- {prompt: a, combine: b}\n",
            [
                "line 2, combine: b has no values in the space; the names to combine are: none",
            ],
        ),
        (
            "rows: [{prompt: a, steps: 3, space: {steps: [1]}}]\n",
            ["line 1, steps: the row gives it a value, and its space others"],
        ),
        (
            "space: {seed: 1-10000000, steps: 1-1000}\nrows: [x]\n",
            [
                (
                    "line 2: more than 100,000,000 rows, 10,000,000,000 up to here: "
                    "split the manifest (or manifest.max_rows)"
                ),
            ],
        ),
        (
            "space: {pipeline: [img2img, txt2img], strength: [0.5]}\nrows:\n- {prompt: x, init_image: a}\n",
            [
                "line 1, strength = 0.5: strength does not apply to txt2img: it is for img2img, inpaint, depth2img",
                "line 3, image = a: image does not apply to txt2img: it is for img2img, inpaint, upscale, depth2img",
            ],
        ),
        ("rows: [{prompt: a, '': 3}]\n", ["line 1: a key without a name"]),
        ("- a\n- prompt: b\n  prompt: c\n", ["line 3, prompt: the key stands twice in the mapping"]),
        ("rows: [a]\n---\nrows: [b]\n", ["line 2: a second document begins here (---): a manifest is one"]),
        ("5", ["line 1: expected a list of rows, or a document with defaults, space, combine, template, rows"]),
        ("", ["manifest: no rows"]),
        ("# nothing\n", ["manifest: no rows"]),
    ],
)
def test_a_fault_stands_on_the_line_of_its_value_and_once(manifest: Reader, content: str, texts: list[str]) -> None:
    assert manifest("a.yaml", content).texts == texts


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            "rows:\n- prompt: a: b\n",
            "line 2: not valid YAML: mapping values are not allowed in this context, at character 12; a text",
        ),
        ("rows:\n- @a\n", "line 2: not valid YAML: found character that cannot start any token"),
        ("rows:\n- 'a\n- b\n", "not valid YAML: found unexpected end of stream"),
        ("rows: [\x01]\n", "line 1: not valid YAML: control characters are not allowed"),
        (
            "rows: [a]\nb: !!python/object/apply:os.system [ls]\n",
            "line 2: the tag !!python/object/apply:os.system is not accepted",
        ),
        ("rows:\n- !!binary aGk=\n", "line 2: the tag !!binary is not accepted: only plain values are"),
        ("rows:\n- !x a\n", "line 2: the tag !x is not accepted"),
        ("? [a]\n: b\n", "line 1: a key must be text"),
        ("rows: [*x]\n", "line 1: *x: no such anchor is complete above this line"),
        ("rows: &x [*x]\n", "line 1: *x: no such anchor is complete above this line"),
        ("rows:\n- {<<: a, prompt: b}\n", "line 2: << takes a mapping, or a list of them"),
        ("rows:\n" + "".join(" " * level + "- \n" for level in range(1, 100)), "nested more than 64 levels deep"),
        ("[" * 10_000, "nest"),
        ("{a: " * 10_000, "nest"),
    ],
)
def test_what_is_no_yaml_or_means_harm_is_one_fault(manifest: Reader, content: str, text: str) -> None:
    found = manifest("a.yaml", content)
    assert found.faults.total == 1
    assert text in found.texts[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            '[{"prompt": "a"},\n {"prompt": "a",\n  "steps": 0}]',
            "line 3, steps = 0: expected a whole number from 1 to 1,000",
        ),
        ('[{"prompt": "a",\n "prompt": "b"}]', "line 2, prompt: the key stands twice in the object"),
        ('{"rows": ["a"],\n "rows": ["b"]}', "line 2, rows: the key stands twice in the object"),
        ('[\n{"prompt": "a",}]', "line 2: not valid JSON: a comma before }, at character 16"),
        ('["a",]', "line 1: not valid JSON: a comma before ], at character 6"),
        ('["a" "b"]', "line 1: not valid JSON: a comma or ] was expected, at character 6"),
        ('[{"a" 1}]', "line 1: not valid JSON: a colon was expected after the key, at character 7"),
        ("[{a: 1}]", "line 1: not valid JSON: a key in double quotes was expected, at character 3"),
        ('["a", NaN]', "line 1: not valid JSON: NaN is no JSON, at character 7"),
        ('["a", -Infinity]', "-Infinity is no JSON"),
        ('["a", 1e999]', "a number that is too large"),
        (f'["a", {"9" * 5000}]', "a number of too many digits"),
        ('["\\ud800"]', "half of a surrogate pair: a character that is none"),
        ('["a\nb"]', "line 1: not valid JSON: invalid control character"),
        ('["a', "line 1: not valid JSON: unterminated string starting"),
        ("[", "not valid JSON: a value was expected, at character 2"),
        ('{"rows": [tru]}', "not valid JSON: expecting value"),
        (
            '{"prompt": "a"}\n{"prompt": "b"}\n',
            "line 2: not valid JSON: one JSON value was expected, and more follows: an object a line is JSON Lines",
        ),
        ("", "line 1: not valid JSON: a value was expected, at character 1"),
        ("[" * 10_000, "nested more than 64 levels deep"),
        ('[{"a": ' * 10_000, "nested more than 64 levels deep"),
        ("null", "line 1: expected a list of rows, or a document"),
    ],
)
def test_what_is_no_json_is_a_fault_with_its_place(manifest: Reader, content: str, text: str) -> None:
    found = manifest("a.json", content)
    assert found.faults.total == 1
    assert text in found.texts[0]


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'["a",\n"\xff"]', "line 2: not UTF-8: byte 0xff"),
        (b'["a",\n"\0"]', "line 2: a NUL character"),
        ('["a"]'.encode("utf-16"), "this is UTF-16: save it as UTF-8"),
        (gzip.compress(b'["a"]', mtime=0)[:-9], "the gzip stream is damaged or cut off here"),
        (b'["' + b"a" * 100_000 + b'"]', "bytes so far"),
        (gzip.compress(b" " * 200_000), "bytes so far"),
    ],
)
def test_a_file_that_is_no_text_or_too_large_is_one_fault(
    manifest: Reader, name: str, content: bytes, text: str
) -> None:
    found = manifest(name, content, limits=ReadLimits(document_bytes=90_000))
    assert found.faults.total == 1
    assert text in found.texts[0]


def bomb(levels: int) -> str:
    lines = ["rows:", "- &a0 {prompt: a}"]
    for level in range(1, levels):
        lines.append(f"- &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize("content", [bomb(30), bomb(8), "a: &a {b: c}\n" + "x: {<<: [" + "*a, " * 50_000 + "*a]}\n"])
def test_an_alias_bomb_is_refused_at_once(manifest: Reader, content: str) -> None:
    began = time.process_time()
    found = manifest("a.yaml", content, limits=ReadLimits(document_values=100_000))
    assert "more than 100,000 values, those behind aliases counted each time" in found.texts[0]
    assert time.process_time() - began < 10


def test_a_list_of_rows_may_hold_more_values_than_a_document_as_it_is_read_row_by_row(manifest: Reader) -> None:
    content = json.dumps([{"prompt": "a", "n": number} for number in range(200)])
    limits = ReadLimits(document_values=100)
    assert len(manifest("a.json", content, limits=limits).rows) == 200
    assert "more than 100 values" in manifest("a.json", f'{{"rows": {content}}}', limits=limits).texts[0]
    assert (
        "more than 100 values"
        in manifest("a.json", json.dumps([{"prompt": "a", "n": [1] * 100}]), limits=limits).texts[0]
    )


def test_a_value_that_a_million_rows_share_is_one_fault_at_once(manifest: Reader) -> None:
    began = time.process_time()
    found = manifest("a.yaml", "space:\n  seed: 1-1000\n  steps: 1-1000\n  scheduler: [euler, eulr]\nrows: [a]\n")
    assert found.texts == ["line 4, scheduler = eulr: did you mean euler?"]
    assert time.process_time() - began < 10
