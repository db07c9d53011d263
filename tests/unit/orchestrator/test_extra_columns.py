"""Columns of the user's own beside ours."""

import json
from typing import Any

import pyarrow as pa
import pytest

from orchestrator.extra_columns import MAX_COLUMNS, ExtraColumns, flattened


def test_names_of_ours_are_not_covered_in_any_case() -> None:
    extra = {"Status": 1, "extra_Status": 2, "note": 3, "": 4, "extra_": 5}
    assert flattened(extra, ["status"]) == {
        "extra_Status": 1,
        "extra_extra_Status": 2,
        "note": 3,
        "extra_": 4,
        "extra_extra_": 5,
    }


def test_names_that_differ_in_case_alone_stay_apart() -> None:
    assert flattened({"note": 1, "Note": 2, "NOTE": 3}, []) == {"note": 1, "extra_Note": 2, "extra_NOTE_2": 3}


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ([1, None, 2], [1, None, 2], pa.int64()),
        ([1, 2.5, None], [1.0, 2.5, None], pa.float64()),
        ([True, False], [True, False], pa.bool_()),
        ([True, 1], ["true", "1"], pa.string()),
        (["a", 1, [2]], ["a", "1", "[2]"], pa.string()),
        ([{"é": 1}], ['{"é": 1}'], pa.string()),
        ([2**63], [str(2**63)], pa.string()),
        ([None, None], [None, None], pa.string()),
    ],
)
def test_values_keep_their_type_where_they_share_one(values: list[Any], expected: list[Any], kind: pa.DataType) -> None:
    columns = ExtraColumns()
    rows = [{"x": value} for value in values]
    for row in rows:
        columns.learn(row)
    table = pa.table({"extra": [json.dumps(row) for row in rows]})
    column = columns.added_to(table, ["extra"]).column("x")
    assert column.type == kind
    assert column.to_pylist() == expected


def test_names_without_end_stay_in_extra_alone() -> None:
    columns = ExtraColumns()
    for number in range(MAX_COLUMNS + 50):
        columns.learn({f"name-{number}": number})
    table = columns.added_to(pa.table({"extra": [None, "{}"]}, schema=pa.schema([("extra", pa.string())])), ["extra"])
    assert table.num_columns == MAX_COLUMNS + 1
