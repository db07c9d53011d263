"""Parquet."""

import datetime
import decimal
import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_files import Reader


def parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, sink)
    return sink.getvalue()


def test_nulls_and_the_nan_that_pandas_makes_of_them_are_not_given(manifest: Reader) -> None:
    sink = io.BytesIO()
    frame = pd.DataFrame({"prompt": ["a", "b"], "steps": [30, None], "seed": [1, 2], "score": [None, 0.5]})
    frame.to_parquet(sink)
    found = manifest("a.parquet", sink.getvalue(), defaults={"model": "m", "steps": 9})
    assert [(row.row.steps, row.row.seed, row.row.extra) for row in found.rows] == [
        (30, 1, {"score": None}),
        (9, 2, {"score": 0.5}),
    ]


def test_a_row_has_its_number_as_line_across_batches(manifest: Reader) -> None:
    steps = pa.array([30] * 5000 + [0] + [30] * 4999)
    found = manifest("a.parquet", parquet({"prompt": [f"p{number}" for number in range(10_000)], "steps": steps}))
    assert found.texts == ["line 5001, steps = 0: expected a whole number from 1 to 1,000"]
    assert found.rows[-1][:2] == (9999, 10_000)
    assert found.prompts[-1] == "p9999"


def test_values_that_json_has_none_of_become_text(manifest: Reader) -> None:
    when = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
    table = pa.table(
        {
            "prompt": ["a"],
            "day": [datetime.date(2024, 5, 6)],
            "at": pa.array([when], pa.timestamp("ns")),
            "price": [decimal.Decimal("1.50")],
            "nested": [{"at": when, "list": [decimal.Decimal("2.5")]}],
            "tags": [["x", "y"]],
            "kind": pa.array(["x"]).dictionary_encode(),
            "taken": pa.array([datetime.timedelta(seconds=3)]),
        }
    )
    extra = manifest("a.parquet", parquet(table)).rows[0].row.extra
    assert extra["day"] == "2024-05-06"
    assert extra["at"].startswith("2024-05-06 07:08:09.123456")
    assert extra["price"] == "1.50"
    assert extra["nested"] == {"at": "2024-05-06T07:08:09.123456", "list": ["2.5"]}
    assert (extra["tags"], extra["kind"]) == (["x", "y"], "x")
    assert isinstance(extra["taken"], str)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": ["a"], "thumb": [b"\x89PNG"]}, "line 1, thumb: a column of bytes cannot be kept"),
        ({"prompt": ["a"], "picture": [{"bytes": b"x", "path": "p"}]}, "line 1, picture: a column of bytes"),
        ({"prompt": [["a"]]}, "line 1, prompt = a list: expected text, 20,000 characters at most"),
        ({"prompt": ["a"], "steps": [True]}, "line 1, steps = true: expected a whole number"),
        ({"prompt": ["a"], "steps": [datetime.date(2024, 5, 6)]}, "line 1, steps = 2024-05-06: expected a whole"),
        ({"prompt": ["a"], "": ["b"]}, "line 1: column 2 has no name"),
        ({"promt": ["a"]}, "line 1, promt: did you mean prompt?"),
        ({"prompt": pa.array([], pa.string())}, "manifest: no rows"),
    ],
)
def test_columns_of_wrong_types_are_faults(manifest: Reader, columns: dict[str, Any], message: str) -> None:
    found = manifest("a.parquet", parquet(columns))
    assert message in found.texts[0]
    assert found.faults.total == 1


def test_a_column_of_bytes_is_read_as_text_where_a_text_is_meant(manifest: Reader) -> None:
    """Writers without the text mark (Hive, old Spark) store text so."""
    found = manifest("a.parquet", parquet({"prompt": [b"caf\xc3\xa9", b"\xff"]}))
    assert found.prompts == ["café"]
    assert "line 2, prompt" in found.texts[0]


def test_broken_utf8_in_a_text_column_is_a_fault_of_its_row(manifest: Reader) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"], pa.binary()).buffers())
    found = manifest("a.parquet", parquet({"prompt": ["x", "y"], "Note": broken}))
    assert found.texts == ["line 2, Note: not UTF-8"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"prompt\na\n", b"PAR1zzzzPAR1", b"\x1f\x8b\x08"])
def test_what_is_no_parquet_file_is_one_fault(manifest: Reader, content: bytes) -> None:
    found = manifest("a.parquet", content)
    assert found.faults.total == 1
    assert "Parquet" in found.texts[0]


def test_a_damaged_page_is_a_fault_not_other_text(manifest: Reader) -> None:
    data = bytearray(parquet({"prompt": [f"prompt {number}" for number in range(5000)]}))
    data[200:260] = bytes(60)
    found = manifest("a.parquet", bytes(data))
    assert found.faults.total
