"""Ids that come twice, at any size."""

import json
import random

import pytest
from manifest_files import Reader

from orchestrator.manifests import Faults
from orchestrator.manifests.hashes import HashIndex, Repeats
from orchestrator.manifests.ids import ID_TWICE, ONE_FILE, IdIndex, report_repeated
from schemas.rows import default_row_id


def test_an_id_given_twice_is_a_fault_that_names_both_lines(manifest: Reader) -> None:
    found = manifest("a.csv", "id,prompt\nx,a\ny,b\nx,c\nx,d\n")
    assert found.texts == ["line 4, id = x: line 2 has this id as well", "line 5, id = x: line 2 has this id as well"]


def test_a_number_and_a_text_are_one_id(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"id":7,"prompt":"a"}\n{"id":"7","prompt":"b"}')
    assert found.texts == ["line 2, id = 7: line 1 has this id as well"]


@pytest.mark.parametrize("given_first", [True, False])
def test_a_given_id_must_not_be_the_number_of_a_row_without_one(manifest: Reader, given_first: bool) -> None:
    rows = [f'{{"id":"{default_row_id(int(given_first))}","prompt":"a"}}', '{"prompt":"b"}']
    found = manifest("a.jsonl", "\n".join(rows if given_first else rows[::-1]))
    number = default_row_id(int(given_first))
    assert found.texts == [
        f"line 2, id = {number}: line 1 has this id as well; a row without one is named by its number, from 0"
    ]


def test_the_number_of_a_row_that_has_an_id_is_free_for_another(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"id":"x","prompt":"a"}\n{"id":"000000","prompt":"b"}\n{"id":"000001","prompt":"c"}')
    assert not found.texts


def test_an_id_is_compared_although_its_row_has_another_fault(manifest: Reader) -> None:
    found = manifest("a.jsonl", '{"id":"x","prompt":"a"}\n{"id":"x","prompt":"b","steps":0}')
    assert [fault.field for fault in found.faults.kept] == ["steps", "id"]


def test_ids_in_a_mapped_parquet_or_compressed_column_are_compared_as_well(manifest: Reader) -> None:
    import gzip

    data = gzip.compress(b"Key,prompt\nx,a\nx,b\n")
    found = manifest("a.csv.gz", data, column_map={"id": "Key"})
    assert found.texts == ["line 3, id = x: line 2 has this id as well"]


def test_so_many_repeated_ids_are_told_each(manifest: Reader) -> None:
    found = manifest("a.csv", "id,prompt\n" + "x,a\n" * 12_000 + "y,b\n" * 11_000)
    assert found.faults.total == 11_999 + 10_999
    assert found.faults.kinds == {("id", ID_TWICE): 22_998}


@pytest.mark.parametrize(
    "twin", ["cafe\u0301", "CAFÉ", "ca\u200dfé", "caf\ufe0fé", "c\u034fafé", "ca\u3164fé", "CAFE\u0301"]
)
def test_ids_that_look_alike_are_a_warning(manifest: Reader, twin: str) -> None:
    found = manifest("a.csv", f"id,prompt\ncafé,a\nother,c\n{twin},b\n")
    assert not found.texts
    assert found.faults.warnings.kinds == {("id", ONE_FILE): 1}


@pytest.mark.parametrize("other", ["cafe", "cafè", "сafé", "café-", "café1"])
def test_ids_that_differ_in_letters_are_two(manifest: Reader, other: str) -> None:
    found = manifest("a.csv", f"id,prompt\ncafé,a\n{other},b\n")
    assert not found.texts
    assert not found.faults.warnings.total


@pytest.mark.parametrize(
    "bad",
    ["a\u202egnp", "\u200ba", "a\u200b", "a\u2066b", "../a", "a/b", "a\\b", "..", ".", "", " ", "a\x1b[2J", "a\tb",
     "\ufeffa", "a\x85b", "CON:", "a*", "a?", "|", "~", "a\u2028b", "x" * 10_000],
)  # fmt: skip
def test_an_id_that_is_a_path_or_holds_controls_is_a_fault(manifest: Reader, bad: str) -> None:
    found = manifest("a.jsonl", json.dumps({"id": bad, "prompt": "a"}))
    assert [fault.field for fault in found.faults.kept] == ["id"]


@pytest.mark.parametrize("rows", ["fox,a\nFox,b\n", "Fox,a\nfox,b\n", "ÉTÉ,a\nété,b\n", "a,a\nb,b\nB,c\n"])
def test_ids_that_differ_in_case_alone_are_a_warning(manifest: Reader, rows: str) -> None:
    found = manifest("a.csv", "id,prompt\n" + rows)
    assert not found.texts
    assert found.faults.warnings.kinds == {("id", ONE_FILE): 1}


def test_an_id_given_twice_is_found_behind_one_in_another_case(manifest: Reader) -> None:
    found = manifest("a.csv", "id,prompt\nFox,a\nfox,b\nfox,c\n")
    assert found.texts == ["line 4, id = fox: line 3 has this id as well"]
    assert [str(warning) for warning in found.faults.warnings.kept] == [
        "line 3, id = fox: line 2 has this id in another spelling"
    ]


@pytest.mark.parametrize("chunk", [3, 64, 1 << 20])
def test_what_comes_again_is_found_in_memory_and_on_disk(chunk: int) -> None:
    ids = [f"row-{number}" for number in range(500)]
    for position, again in [(13, 450), (14, 15), (499, 0)]:
        ids[position] = ids[again]
    with IdIndex(chunk=chunk) as index:
        for row_id in ids:
            index.add(row_id)
        assert len(index) == 500
        repeats = index.repeats()
    assert repeats is not None
    found = {line: repeats[0].first(row_id, line) for line, row_id in enumerate(ids, 1)}
    assert {line: first for line, first in found.items() if first} == {16: 15, 451: 14, 500: 1}


def test_the_numbers_of_rows_before_the_first_given_id_count() -> None:
    with IdIndex(chunk=3) as index:
        for _ in range(10):
            index.add(None)
        assert index.repeats() is None
        index.add(default_row_id(4))
        repeats = index.repeats()
    assert repeats is not None
    assert [repeats[0].first(default_row_id(number), 1 + number) for number in (3, 4, 4)] == [None, None, 5]


@pytest.mark.parametrize("chunk", [16, 1000])
def test_random_ids_give_the_same_as_comparing_them(chunk: int) -> None:
    seeded = random.Random(7)
    for _ in range(20):
        ids = [seeded.choice("aAbB") + str(seeded.randrange(100)) for _ in range(seeded.randrange(1, 150))]
        faults, records = Faults(), [(line, {"id": row_id}, None) for line, row_id in enumerate(ids, 1)]
        with IdIndex(chunk=chunk) as index:
            for row_id in ids:
                index.add(row_id)
            report_repeated(index, lambda: records, faults)  # noqa: B023
        again = [line for line, row_id in enumerate(ids, 1) if row_id in ids[: line - 1]]
        folded = [
            line
            for line, row_id in enumerate(ids, 1)
            if row_id not in ids[: line - 1] and row_id.lower() in [earlier.lower() for earlier in ids[: line - 1]]
        ]
        assert [fault.line for fault in faults.kept] == again
        assert [warning.line for warning in faults.warnings.kept] == folded


def test_equal_hashes_alone_are_no_repeat() -> None:
    # In CPython the hash of -1 is that of -2.
    with HashIndex() as index:
        for value in (-1, -2):
            index.add(hash(value))
        repeats = Repeats(index.repeated())
    assert len(repeats) == 1
    assert [repeats.first(value, line) for line, value in enumerate([-1, -2, -1], 1)] == [None, None, 1]
