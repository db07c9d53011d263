"""What counts for a row: all pieces of all rounds, and what an earlier finalize froze."""

import pytest
from finished_job import (
    JOB,
    MemoryStore,
    add_job,
    add_piece,
    add_round,
    done,
    failed,
    planned,
)

from orchestrator.finalize import finalize
from orchestrator.outcomes import read_outcomes
from schemas import keys
from schemas.errors import ObjectMissing
from schemas.job import JobDocument
from schemas.result import ResultLine


def outcomes(store: MemoryStore, document: JobDocument) -> dict[int, ResultLine]:
    return {index: line for part in read_outcomes(store, document) for index, line in part.found.items()}


def test_the_union_of_all_pieces_done_beats_failed_then_the_highest_token() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(4)]
    document = add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0], "b"), done(store, 0, rows[1], "b"), failed(rows[2], "b")], "b")
    add_piece(store, 0, [failed(rows[0], "c"), done(store, 0, rows[1], "c"), done(store, 0, rows[2], "a")], "c")
    found = outcomes(store, document)
    assert {index: (line.status, line.token) for index, line in found.items()} == {
        0: ("done", "b"),
        1: ("done", "c"),
        2: ("done", "a"),
    }


def test_parts_come_in_order_however_many() -> None:
    store = MemoryStore()
    parts = [[planned(3 * part + row) for row in range(3)] for part in range(20)]
    document = add_job(store, parts)
    found = [(part.part, [row.index for row in part.rows]) for part in read_outcomes(store, document)]
    assert found == [(part, [3 * part, 3 * part + 1, 3 * part + 2]) for part in range(20)]


def test_a_retry_counts_where_it_is_better() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(3)]
    document = add_job(store, [rows[:2], rows[2:]])
    add_piece(store, 0, [failed(rows[0]), failed(rows[1])])
    add_piece(store, 1, [failed(rows[2])])
    add_round(store, 2, rows)
    add_piece(store, 2, [failed(rows[0], "c"), done(store, 2, rows[2], "c")], "c")
    add_piece(store, 2, [done(store, 2, rows[2], "d"), failed(rows[0], "a")], "d")
    found = outcomes(store, document)
    assert [(found[index].status, found[index].token) for index in range(3)] == [
        ("failed", "c"),
        ("failed", "b"),
        ("done", "d"),
    ]


def test_finalize_freezes_what_was_done_and_nothing_else() -> None:
    store = MemoryStore()
    rows = [planned(index, num_images=2) for index in range(3)]
    document = add_job(store, [rows])
    first = [done(store, 0, rows[0], drop=(1,)), failed(rows[1]), done(store, 0, rows[2])]
    add_piece(store, 0, first)
    finalize(store, JOB)
    add_piece(store, 0, [done(store, 0, row, "z") for row in rows], "z")
    found = outcomes(store, document)
    assert found[0] == first[0]
    assert found[2] == first[2]
    assert (found[1].status, found[1].token) == ("done", "z")


def test_a_retry_does_not_displace_what_is_frozen() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(2)]
    document = add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0]), failed(rows[1])])
    finalize(store, JOB)
    add_round(store, 1, rows)
    add_piece(store, 1, [done(store, 1, row, "z") for row in rows], "z")
    found = outcomes(store, document)
    assert (found[0].token, found[1].token) == ("b", "z")


def test_a_frozen_part_costs_no_look_at_its_pieces() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(2)]
    document = add_job(store, [[rows[0]], [rows[1]]])
    add_piece(store, 0, [done(store, 0, rows[0])])
    add_piece(store, 1, [failed(rows[1])])
    finalize(store, JOB)
    store.gets.clear()
    assert set(outcomes(store, document)) == {0, 1}
    read = [key for key in store.gets if "/results/" in key]
    assert read == [keys.piece(JOB, 1, 1, "b", 0)]


@pytest.mark.parametrize("table", [b"", b"PAR1 not really PAR1"])
def test_a_table_that_cannot_be_read_counts_as_none(table: bytes) -> None:
    store = MemoryStore()
    rows = [planned(0)]
    document = add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0])])
    store.put(keys.metadata_table(JOB), table)
    assert outcomes(store, document)[0].token == "b"


def test_a_missing_part_of_the_plan_is_an_error_not_fewer_rows() -> None:
    store = MemoryStore()
    document = add_job(store, [[planned(0)], [planned(1)]])
    del store.objects[keys.plan_part(JOB, 1)]
    with pytest.raises(ObjectMissing):
        list(read_outcomes(store, document))
