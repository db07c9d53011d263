"""Ids of imported rows: each is one that a manifest takes, and no two are alike to a reader or a disk."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from orchestrator.importing.free_ids import FreeIds, id_of_file
from orchestrator.manifests.ids import fold
from schemas.rows import RowId

ROW_ID: TypeAdapter[str] = TypeAdapter(RowId)


@given(st.text(st.characters(), max_size=200))
@example("x²")
@example("①")
@example("caf\udce9")
@example("हिन्दी")
@example("a" * 109 + " .b")
def test_a_files_name_makes_an_id_that_every_manifest_takes(stem: str) -> None:
    assert ROW_ID.validate_python(id_of_file(stem)) == id_of_file(stem)


@pytest.mark.parametrize(
    ("stem", "row_id"),
    [
        ("00012-42", "00012-42"),
        ("x²", "x"),
        ("x²y", "x_y"),
        ("①", "image"),
        ("हिन्दी", "हिन्दी"),
        ("fox (1)", "fox (1)"),
        ("what? a cat!", "what_ a cat"),
        (".._-", "image"),
    ],
)
def test_an_id_keeps_of_a_name_what_it_can_hold(stem: str, row_id: str) -> None:
    assert id_of_file(stem) == row_id


@given(st.lists(st.sampled_from(["fox", "Fox", "fo\u200dx", "fox-2", "é", "e\u0301", "É", "a" * 120]), max_size=12))
def test_no_two_ids_are_alike(wanted: list[str]) -> None:
    ids = FreeIds()
    taken = [ids.take(one) for one in wanted]
    assert len({fold(one) for one in taken}) == len(taken)
    assert all(ROW_ID.validate_python(one) for one in taken)
