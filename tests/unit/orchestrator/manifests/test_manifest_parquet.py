"""Parquet."""

import datetime
import decimal
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_files import Reader

from orchestrator.manifests.options import ReadLimits


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


_PEAK = """
import json, resource, sys
from pathlib import Path
from orchestrator.manifests import Faults, ManifestOptions, read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for name in sys.argv[1:]:
    faults = Faults()
    rows = sum(1 for _ in read(Path(name), ManifestOptions(defaults={"model": "m"}), faults))
    found[Path(name).stem] = [rows, faults.total, str(faults.kept[0]) if faults.kept else ""]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found[Path(name).stem].append((peak - before) // 1024)
print(json.dumps(found))
"""


def repeated(text: str, times: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))


def lists_of(values: pa.Array, rows: int) -> pa.ListArray:
    each = len(values) // rows
    return pa.ListArray.from_arrays(pa.array(range(0, len(values) + 1, each), pa.int32()), values)


def test_small_files_that_stand_for_gigabytes_take_little_memory(tmp_path: Path) -> None:
    rows = 512
    prompts = pa.array([f"p{number}" for number in range(rows)])
    long, longer = "x" * 10**6, "y" * 9 * 10**6
    near = pa.array([long + str(number) for number in range(100)])
    columns: dict[str, tuple[Any, dict[str, Any]]] = {
        "prompt": (repeated(long, rows), {}),
        "note": (repeated(long, rows), {}),
        "longer": (repeated(longer, 60), {}),
        "category": (repeated(longer, 60), {"store_schema": True}),
        "lists": (lists_of(repeated(long, 8 * rows), rows), {}),
        "structs": (pa.StructArray.from_arrays([repeated(longer, 60)], ["a"]), {}),
        "zeros": (lists_of(pa.array(np.zeros(30_000_000, np.int8)), 500), {}),
        "near": (near, {"use_dictionary": False, "column_encoding": {"near": "DELTA_BYTE_ARRAY"}}),
        "plain": (near, {"use_dictionary": False, "compression": "zstd"}),
        "one_row": (repeated("z" * 10**7, 3), {}),
    }
    for name, (values, options) in columns.items():
        table = pa.table({name: values} if name == "prompt" else {"prompt": prompts[: len(values)], name: values})
        pq.write_table(table, tmp_path / f"{name}.parquet", **{"compression": "zstd", "store_schema": False} | options)
        assert (tmp_path / f"{name}.parquet").stat().st_size < 300_000
    files = [str(tmp_path / f"{name}.parquet") for name in columns]
    run = subprocess.run([sys.executable, "-c", _PEAK, *files], capture_output=True, text=True, timeout=110, check=True)
    found = json.loads(run.stdout)
    told = {name: (rows, faults, message) for name, (rows, faults, message, _) in found.items()}
    assert told["prompt"][:2] == (0, rows)  # longer than a prompt may be
    assert told["note"] == (rows, 0, "")
    assert told["longer"] == told["category"] == told["structs"] == (60, 0, "")
    assert told["near"] == (100, 0, "")
    assert "column lists.list.element: its texts may come to" in told["lists"][2]
    assert "30,000,000 values in one row group" in told["zeros"][2]
    assert "100,0" in told["plain"][2]
    assert "too much" in told["plain"][2]
    assert told["one_row"] == (0, 3, "line 1: a row longer than 10,000,000 bytes")
    assert {name: peak for name, (*_, peak) in found.items() if peak > 300} == {}


def test_texts_of_any_nesting_arrive_whole_where_batches_are_small(manifest: Reader) -> None:
    texts = [f"{number:03}" * 50_000 for number in range(40)]
    values = pa.array(texts).dictionary_encode()
    table = pa.table(
        {
            "prompt": [text[:3] for text in texts],
            "note": values.cast(pa.string()),
            "tags": lists_of(values, 20).take(pa.array([number // 2 for number in range(40)])),
            "pairs": pa.array([[("k", text)] for text in texts], pa.map_(pa.string(), pa.string())),
            "kind": values,
        }
    )
    found = manifest("a.parquet", parquet(table))
    assert not found.texts
    assert [row.row.extra for row in found.rows] == [
        {
            "note": text,
            "tags": [texts[number - number % 2], texts[number - number % 2 + 1]],
            "pairs": [["k", text]],
            "kind": text,
        }
        for number, text in enumerate(texts)
    ]
    assert found.lines == list(range(1, 41))


def test_the_whole_is_limited_as_it_is_read_and_not_as_it_is_packed(manifest: Reader) -> None:
    table = pa.table({"prompt": ["a"] * 100, "note": repeated("x" * 10_000, 100).cast(pa.string())})
    found = manifest("a.parquet", parquet(table), limits=ReadLimits(total_bytes=500_000, line_bytes=50_000))
    assert found.faults.total == 1
    assert "bytes so far: too much" in found.texts[0]
    assert 30 < len(found.rows) < 60


def test_a_lack_of_memory_is_told_as_such(manifest: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 9000000000 failed")

    monkeypatch.setattr("orchestrator.manifests.parquet_batches._pieces", lacking)
    found = manifest("a.parquet", parquet({"prompt": ["a"]}))
    assert found.texts == ["manifest: it takes more memory than there is: write smaller row groups, or JSON Lines"]
