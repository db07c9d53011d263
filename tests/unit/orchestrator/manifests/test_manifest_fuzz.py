"""Whatever is in a file: rows or faults, never another error, and always one of both."""

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from manifest_files import Found, read_bytes

from orchestrator.manifests import FORMATS, Format
from orchestrator.manifests.names import COLUMN_FIELDS

FUZZ = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])

names = st.one_of(
    st.sampled_from(sorted(COLUMN_FIELDS)), st.sampled_from(["promt", "Note", "", "extra", "cfg"]), st.text()
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["txt2img", "img2img", "513", "30"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)
rows = st.lists(st.dictionaries(names, values, max_size=6), max_size=5)
# The marks that mean something in one of the formats, and some that mean nothing.
text = st.text(alphabet=st.sampled_from(list('ab,;\t"\n\r\\{}[]:01 \0\x1bé日🏮\ufeff\u2028')), max_size=60)


def read_fuzzed(data: bytes, file_format: Format) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        found = read_bytes(Path(folder), "fuzzed", data, format=file_format)
    assert found.rows or found.faults.total
    for fault in found.faults.kept:
        assert fault.message
        assert str(fault).isprintable()
        assert len(fault.value or "") <= 80
    ids = [authored.row.id for authored in found.rows if authored.row.id is not None]
    assert len(set(ids)) == len(ids) or any(fault.field == "id" for fault in found.faults.kept)
    return found


@pytest.mark.parametrize("file_format", FORMATS)
@FUZZ
@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"\x1f\x8b")
@example(data=b"\xef\xbb\xbf")
def test_any_bytes(data: bytes, file_format: Format) -> None:
    read_fuzzed(data, file_format)


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "tsv", "text"])
@FUZZ
@given(content=text, header=st.sampled_from(["", "prompt\n", "prompt,steps\n", "prompt\tsteps\n", "Prompt;id\n"]))
@example(content='"a\n"b\n""\n"', header="prompt\n")
def test_any_text_under_a_header(content: str, header: str, file_format: Format) -> None:
    data = (header + content).encode()
    found = read_fuzzed(data, file_format)
    assert found.lines == sorted(found.lines)
    last = data.count(b"\n") + 1
    assert all(1 <= line <= last for line in found.lines)


@FUZZ
@given(objects=rows, compressed=st.booleans())
def test_any_objects_as_json_lines(objects: list[dict[str, Any]], compressed: bool) -> None:
    data = "\n".join(json.dumps(row) for row in objects).encode()
    read_fuzzed(gzip.compress(data) if compressed else data, "jsonl")


@FUZZ
@given(header=st.lists(names, min_size=1, max_size=5), cells=st.lists(st.lists(text, max_size=6), max_size=5))
def test_any_cells_as_csv(header: list[str], cells: list[list[str]]) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(header)
    writer.writerows(cells)
    read_fuzzed(sink.getvalue().encode("utf-8", "surrogatepass"), "csv")


@FUZZ
@given(
    prompts=st.lists(
        text.filter(lambda prompt: prompt.strip() and not set("\r\0") & set(prompt)), min_size=1, max_size=5
    )
)
def test_prompts_come_back_from_csv_and_tsv_as_a_spreadsheet_wrote_them(prompts: list[str]) -> None:
    for file_format, mark in (("csv", ","), ("tsv", "\t")):
        sink = io.StringIO()
        writer = csv.writer(sink, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([["prompt", "x"], *([prompt, ""] for prompt in prompts)])
        found = read_fuzzed(sink.getvalue().encode(), file_format)  # type: ignore[arg-type]
        assert found.prompts == prompts


def _parquet() -> bytes:
    sink = io.BytesIO()
    columns = {
        "prompt": ["a", "b", None],
        "steps": [1, 2, 3],
        "x": [[1], [], None],
        "y": [{"z": 1.5}, None, {"z": None}],
    }
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    return sink.getvalue()


PARQUET = _parquet()


@FUZZ
@given(
    changes=st.lists(st.tuples(st.integers(0, len(PARQUET) - 1), st.integers(0, 255)), max_size=3),
    cut=st.integers(1, 80),
)
def test_a_damaged_parquet_file(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(PARQUET)
    for position, value in changes:
        data[position] = value
    read_fuzzed(bytes(data), "parquet")
    read_fuzzed(bytes(data[:-cut]), "parquet")


@FUZZ
@given(st.data())
def test_any_columns_as_parquet(data: st.DataObject) -> None:
    kinds: list[st.SearchStrategy[list[Any]]] = [
        st.lists(st.one_of(st.none(), strategy), min_size=3, max_size=3)
        for strategy in (
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.booleans(),
            st.text(),
            st.binary(),
            st.dates(),
            st.datetimes(),
            st.timedeltas(),
            st.decimals(-1000, 1000, places=2),
            st.lists(st.datetimes(), max_size=2),
        )
    ]
    columns = {name: data.draw(st.one_of(kinds)) for name in data.draw(st.lists(names, unique=True, max_size=4))}
    sink = io.BytesIO()
    try:
        pq.write_table(pa.table({"prompt": ["a", "b", "c"]} | columns), sink)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return
    read_fuzzed(sink.getvalue(), "parquet")


@FUZZ
@given(data=st.binary(max_size=300), position=st.integers(0, 60), value=st.integers(0, 255))
def test_a_damaged_gzip_stream(data: bytes, position: int, value: int) -> None:
    packed = bytearray(gzip.compress(b'{"prompt":"a"}\n' + data))
    packed[min(position, len(packed) - 1)] = value
    read_fuzzed(bytes(packed), "jsonl")
