"""Ids that come twice, at any size."""

import random

import pytest
from manifest_files import Reader

from orchestrator.manifests.ids import IdIndex
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


def test_equal_hashes_alone_are_no_fault(manifest: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdIndex, "candidates", lambda self: [0, 1, 2])
    found = manifest("a.csv", "id,prompt\nx,a\ny,b\nz,c\n")
    assert not found.texts


def test_so_many_repeated_ids_are_told_without_naming_each(manifest: Reader) -> None:
    found = manifest("a.csv", "id,prompt\n" + "x,a\n" * 12_000)
    assert found.faults.total == 10_000
    assert "only the first 10,000 rows were compared" in found.texts[0]


@pytest.mark.parametrize("chunk_rows", [7, 64, 1 << 20])
def test_candidates_are_all_rows_whose_id_comes_again_in_memory_and_on_disk(chunk_rows: int) -> None:
    ids = [f"row-{number}" for number in range(500)]
    for position, again in [(13, 450), (14, 15), (499, 0)]:
        ids[position] = ids[again]
    with IdIndex(chunk_rows=chunk_rows) as index:
        for row_id in ids:
            index.add(row_id)
        assert index.candidates() == [0, 13, 14, 15, 450, 499]
        assert len(index) == 500


def test_the_numbers_of_rows_before_the_first_given_id_count(manifest: Reader) -> None:
    with IdIndex(chunk_rows=3) as index:
        for _ in range(10):
            index.add(None)
        assert index.candidates() == []
        index.add(default_row_id(4))
        assert index.candidates() == [4, 10]


def test_random_ids_give_the_same_candidates_as_counting_them() -> None:
    seeded = random.Random(7)
    for _ in range(20):
        ids = [str(seeded.randrange(200)) for _ in range(seeded.randrange(1, 150))]
        with IdIndex(chunk_rows=16) as index:
            for row_id in ids:
                index.add(row_id)
            assert index.candidates() == [at for at, row_id in enumerate(ids) if ids.count(row_id) > 1]
