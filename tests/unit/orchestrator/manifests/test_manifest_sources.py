"""Files: formats, compression, and files that are none or mean harm."""

import gzip
import io
from pathlib import Path

import pytest
from manifest_files import Reader

from orchestrator.manifests import Faults, ManifestOptions, ReadLimits, detect_format, read, spool
from schemas.errors import LocalDiskError, ManifestError

ROW = '{"prompt":"a"}\n'


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "A.JSONL"])
def test_gzip_is_told_by_its_first_bytes_not_by_its_name(manifest: Reader, name: str) -> None:
    assert manifest(name, gzip.compress((ROW * 3).encode())).prompts == ["a"] * 3
    assert manifest(name, ROW * 3).prompts == ["a"] * 3


@pytest.mark.parametrize("start", ["\ufeff", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ROW), ("a.csv", "prompt\na\n"), ("a.txt", "a\n")])
def test_byte_order_marks_and_crlf_are_no_part_of_a_row(
    manifest: Reader, start: str, end: str, name: str, content: str
) -> None:
    found = manifest(name, start + content.replace("\n", end))
    assert found.prompts == ["a"]
    assert not found.texts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.jsonl", "jsonl"),
        ("x.csv.gz", "csv"),
        ("x.v2.tsv", "tsv"),
        ("x.tab", "tsv"),
        ("x.parquet", "parquet"),
        ("x.txt", "text"),
    ],
)
def test_a_format_is_told_by_the_name(tmp_path: Path, name: str, expected: str) -> None:
    assert detect_format(tmp_path / name, ManifestOptions()) == expected


def test_a_format_that_is_said_wins_over_the_name(tmp_path: Path) -> None:
    assert detect_format(tmp_path / "x.jsonl", ManifestOptions(format="text")) == "text"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('\n {"prompt": "a"}\n', "jsonl"),
        ("prompt,steps\na,3\n", "csv"),
        ("prompt\na\n", "csv"),
        ("id;Prompt\n1;a\n", "csv"),
        ("Prompt\tNote\na\tb\n", "tsv"),
        ("P,x\na,b\n", "csv"),
        ("a cat, a hat, 4k\n", "text"),
        ("a prompt, steps in the snow\n", "text"),
        ("", "text"),
        ("PAR1", "parquet"),
    ],
)
def test_standard_input_is_told_by_its_first_line(tmp_path: Path, content: str, expected: str) -> None:
    for data in (content.encode(), b"\xef\xbb\xbf" + content.encode(), gzip.compress(content.encode())):
        if not (data.startswith(b"\xef\xbb\xbf") and expected == "parquet"):
            path = spool(io.BytesIO(data), tmp_path)
            assert detect_format(path, ManifestOptions(column_map={"seed": "P"})) == expected
            path.unlink()


def test_spooling_to_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match="cannot write standard input"):
        spool(io.BytesIO(b"x"), tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.json",
            b'{"prompt":"a"}\n{"prompt":"b"}',
            "line 2: not valid JSON: one JSON value was expected, and more follows",
        ),
        ("x.xlsx", b"PK\3\4", "save the sheet as CSV"),
        ("x.dat", b"a", "--format says it: one of jsonl, csv, tsv, parquet, text, yaml, json, a1111"),
        ("x.csv", b"PK\3\4....", "this is a workbook or a zip archive: save the sheet as CSV"),
        ("x.jsonl", b"PAR1....", "this is a Parquet file"),
        ("x.csv", "prompt\n".encode("utf-16"), "this is UTF-16: save it as UTF-8"),
        ("x.txt", b"a\rb\rc\r", "lines end with CR alone"),
        ("x.jsonl.gz", gzip.compress(b"x" * 9999, mtime=0)[:-9], "line 1: the gzip stream is damaged or cut off here"),
        ("x.jsonl.gz", b"\x1f\x8b\x08\0", "line 1: the gzip stream is damaged or cut off here"),
        ("x.jsonl.gz", gzip.compress(b"", mtime=0) + b"garbage", "line 1: the gzip stream is damaged"),
        ("x.txt", b"fine\nnu\0l\n", "line 2: a NUL character"),
        ("x.txt", b"nu\0l", "line 1: a NUL character"),
    ],
)
def test_a_file_that_is_no_manifest_is_a_fault_that_says_what_it_is(
    manifest: Reader, name: str, content: bytes, message: str
) -> None:
    found = manifest(name, content)
    assert found.faults.total == 1
    assert message in found.texts[0]


def test_a_missing_file_and_a_folder_are_faults(tmp_path: Path) -> None:
    for path, message in [(tmp_path / "no.jsonl", "no such file"), (tmp_path, "is not a regular file")]:
        faults = Faults()
        assert not list(read(path, ManifestOptions(format="jsonl"), faults))
        with pytest.raises(ManifestError, match="nothing was sent") as caught:
            faults.raise_if_any()
        assert message in str(caught.value.faults[0])
        assert caught.value.exit_status == 2


def test_a_line_that_is_too_long_is_a_fault_and_the_next_one_is_read(manifest: Reader) -> None:
    long = b'{"prompt":"' + b"x" * 3_000_000 + b'"}\n'
    limits = ReadLimits(line_bytes=1_000_000)
    content = ROW.encode() + long + ROW.encode()
    for data in (content, gzip.compress(content)):
        found = manifest("a.jsonl", data, limits=limits)
        assert found.texts == ["line 2: a line longer than 1,000,000 bytes"]
        assert found.lines == [1, 3]


def test_a_gzip_bomb_is_a_fault_before_it_is_unpacked(manifest: Reader) -> None:
    limits = ReadLimits(gzip_free_bytes=1_000_000, gzip_ratio=300)
    bomb = gzip.compress(b"\n" * 10_000_000)
    found = manifest("a.txt.gz", bomb, limits=limits)
    assert "too much; unpack it first" in found.texts[0]
    unpacked = int(found.texts[0].split(": ")[1].split(" bytes")[0].replace(",", ""))
    assert unpacked < 10_000_000


def test_a_file_larger_than_the_limit_is_a_fault(manifest: Reader) -> None:
    found = manifest("a.txt", (b"x" * 999 + b"\n") * 2000, limits=ReadLimits(total_bytes=1_000_000))
    assert "too much" in found.texts[0]
