"""JSON Lines."""

import json

import pytest
from manifest_files import Reader


def test_each_line_is_a_row_with_its_line_number_and_blank_lines_are_skipped(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a"}\n\n  \n{"prompt":"b"}')
    assert [(row.position, row.line, row.row.prompt) for row in found.rows] == [(0, 1, "a"), (1, 4, "b")]
    assert not found.texts


def test_prompts_in_any_script_arrive_unchanged(manifest: Reader) -> None:
    prompts = ["川に浮かぶ灯籠 🏮", " leading and trailing ", "a\u2028b\x0bc", "\u200dم‮", "x" * 4000]
    found = manifest("a.jsonl", "\n".join(f'{{"prompt":"{prompt}"}}' for prompt in prompts).replace("\x0b", "\\u000b"))
    assert found.prompts == prompts


def test_columns_that_are_not_ours_are_kept_with_nested_values(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","Category":"x","meta":{"a":[1,{"b":null}]},"score":1.5,"big":true}')
    assert found.rows[0].row.extra == {"Category": "x", "meta": {"a": [1, {"b": None}]}, "score": 1.5, "big": True}


def test_an_extra_object_of_our_own_results_is_taken_apart_again(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","extra":{"Category":"x"},"Note":"n"}')
    assert found.rows[0].row.extra == {"Note": "n", "Category": "x"}


def test_null_is_not_given(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","steps":null,"strength":null}', defaults={"model": "m", "steps": 9})
    assert found.rows[0].row.steps == 9


def test_a_number_names_a_row(manifest: Reader) -> None:
    assert manifest("a.jsonl", '{"prompt":"a","id":42}').rows[0].row.id == "42"


@pytest.mark.parametrize(
    "number", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 123456789012345678901234567890, 10**300, 1e300, 1.5e19]
)
def test_numbers_of_a_users_own_keep_every_digit(manifest: Reader, number: float) -> None:
    row = {"prompt": "a", "key": number, "nested": {"keys": [number, "x"]}, "list": [[number]]}
    for columns in (("key",), ("nested",), ("list",), ("key", "list")):
        text = json.dumps({name: row[name] for name in ("prompt", *columns)})
        extra = manifest("a.jsonl", text).rows[0].row.extra
        assert extra == {name: row[name] for name in columns}
        assert json.dumps(extra) == json.dumps({name: row[name] for name in columns})


def test_a_long_number_names_a_row_by_all_of_its_digits(manifest: Reader) -> None:
    number = 123456789012345678901234567890
    assert manifest("a.jsonl", f'{{"prompt":"a","id":{number}}}').rows[0].row.id == str(number)
    mapped = manifest("a.jsonl", f'{{"prompt":"a","N":{number}}}', column_map={"id": "N"})
    assert mapped.rows[0].row.id == str(number)


def test_numbers_written_as_text_are_numbers_but_true_is_none(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","steps":"30","guidance_scale":7}\n{"prompt":"a","steps":true}')
    assert (found.rows[0].row.steps, found.rows[0].row.guidance_scale) == (30, 7.0)
    assert found.texts == ["line 2, steps = true: expected a whole number from 1 to 1,000"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{bad", "line 2: not valid JSON: unexpected character, expected a string key at character 2"),
        ('{"prompt":"a"} x', "line 2: not valid JSON"),
        ("{", "line 2: not one JSON object a line"),
        ("[", "line 2: not one JSON object a line"),
        ("[1]", 'line 2: expected an object such as {"prompt": "a cat"}, found a list'),
        ('"a cat"', "found a text"),
        ("7", "found a number"),
        ("null", "found null"),
        ('{"prompt":"a","prompt":"b"}', "line 2, prompt: the key stands twice in the object"),
        ('{"prompt":"a","x":{"y":1,"y":2}}', "line 2, y: the key stands twice in the object"),
        ('{"prompt":"a","":1}', "line 2 = 1: a key without a name"),
        ('{"prompt":"\\ud800"}', "line 2: not valid JSON"),
        ('{"prompt":"a\\u0000b"}', "line 2, prompt: a NUL character"),
        ('{"prompt":"a","seed":NaN}', "line 2: not valid JSON"),
        ('{"prompt":"a","seed":1e400}', "line 2"),
        ('{"prompt":"a","seed":99999999999999999999}', "line 2, seed"),
    ],
)
def test_a_line_that_is_no_row_is_a_fault_and_the_others_are_read(manifest: Reader, line: str, message: str) -> None:
    found = manifest("a.jsonl", f'{{"prompt":"before"}}\n{line}\n{{"prompt":"after"}}\n')
    assert message in found.texts[0]
    assert found.faults.total == 1
    assert {"before", "after"} <= set(found.prompts)


def test_a_prompt_that_looks_like_json_is_no_key_given_twice(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"say \\"steps\\": 3, \\"prompt\\": 4", "steps" : 3, "x": {"steps": 1}}')
    assert found.prompts == ['say "steps": 3, "prompt": 4']


@pytest.mark.parametrize("depth", [100, 10_000])
def test_json_nested_too_deep_is_a_fault(manifest: Reader, depth: int) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","x":' + "[" * depth + "]" * depth + "}")
    assert found.faults.total == 1
    assert "deep" in found.texts[0] or "depth" in found.texts[0]


def test_a_misspelt_field_is_a_fault_on_every_line_but_one_kind(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a","cfg_sacle":7}\n' * 500)
    assert found.texts[0] == (
        "line 1, cfg_sacle: did you mean guidance_scale? "
        "--map guidance_scale=cfg_sacle uses it, --extra cfg_sacle keeps it as your own"
    )
    assert found.faults.total == 500
    assert list(found.faults.kinds.values()) == [500]


def test_a_column_of_map_that_no_row_has_is_a_fault(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"prompt":"a"}', column_map={"seed": "Seed_2"})
    assert found.texts == ["manifest, Seed_2: --map seed=Seed_2: no such column in any row"]


def test_a_mapped_column_may_be_absent_in_some_rows(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"P":"a","S":1}\n{"P":"b"}', column_map={"prompt": "P", "seed": "S"})
    assert [row.row.seed for row in found.rows] == [1, None]
    assert not found.texts
