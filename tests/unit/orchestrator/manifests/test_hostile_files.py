"""Files that mean harm, whole: one process reads them all, within bounded memory and time, and says what each is."""

import gzip
import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MEGABYTES = 400
READ = """
    import json, sys
    from pathlib import Path
    from orchestrator.manifests import Faults, ManifestOptions, read
    found = {}
    for path in sorted(Path(sys.argv[1]).iterdir()):
        faults = Faults()
        rows = sum(1 for _ in read(path, ManifestOptions(defaults={"model": "tiny"}), faults))
        found[path.name] = (rows, [str(fault) for fault in faults.kept])
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(json.dumps([int(peak.split()[1]) // 1024, found]))
"""


def write_hostile_files(folder: Path) -> dict[str, str]:
    """One file of each kind; what must be said of it, by its name."""
    long = b"x" * 100_000_000
    aliases = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))
    types = io.BytesIO()
    pq.write_table(pa.table({"prompt": [[1, 2], [3]], "steps": ["many", "few"], "width": [1.5, 2.5]}), types)
    files: dict[str, tuple[bytes, str]] = {
        "line.jsonl": (b'{"prompt": "' + long + b'"}\n', "a line longer than 10,000,000 bytes"),
        "line.csv": (b"prompt\n" + long + b"\n", "a line longer than 10,000,000 bytes"),
        "line.txt": (long, "a line longer than 10,000,000 bytes"),
        "line.yaml": (b"rows: [" + long + b"]", "bytes so far"),
        "line.json": (b'["' + long + b'"]', "bytes so far"),
        "deep.jsonl": (b'{"prompt":' + b"[" * 10_000, "not valid JSON"),
        "deep.json": (b"[" * 10_000 + b"]" * 10_000, "nested more than 64 levels deep"),
        "deep.yaml": (b"- " * 10_000 + b"a", "nest"),
        "bomb.yaml": (f"a0: &a0 [lol]\n{aliases}\nrows: *a39\n".encode(), "those behind aliases counted each time"),
        "bomb.jsonl.gz": (gzip.compress(b" " * 200_000_000), "too much; unpack it first"),
        "bomb.json.gz": (gzip.compress(b" " * 200_000_000), "too much; unpack it first"),
        "tag.yaml": (b"rows: !!python/object/apply:os.system ['true']\n", "is not accepted: only plain values are"),
        "types.parquet": (types.getvalue(), "expected"),
        "utf8.jsonl": (b'{"prompt": "\xff"}\n', "not UTF-8"),
        "utf8.yaml": (b"rows: [\xff]\n", "not UTF-8"),
        "utf8.csv": (b"prompt\n\xff\n", "not UTF-8"),
        "nul.jsonl": (b'{"prompt": "a\0"}\n', "a NUL character"),
        "nul.json": (b'["a\0"]\n', "a NUL character"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    for name, content in {
        "ok.jsonl": b'{"prompt": "a"}',
        "ok.csv": b"prompt\na",
        "ok.yaml": b"- a",
        "ok.json": b'["a"]',
    }.items():
        (folder / name).write_bytes(b"\xef\xbb\xbf" + content + b"\r\n")
    return {name: message for name, (_, message) in files.items()}


@pytest.mark.timeout(240)
def test_hostile_files_are_told_within_bounded_memory(tmp_path: Path) -> None:
    messages = write_hostile_files(tmp_path)
    code = textwrap.dedent(READ)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    megabytes, found = json.loads(done.stdout)
    assert megabytes < MEGABYTES
    for name, message in messages.items():
        _, faults = found.pop(name)
        assert any(message in fault for fault in faults), (name, faults)
    assert set(found) == {"ok.jsonl", "ok.csv", "ok.yaml", "ok.json"}
    assert all(rest == [1, []] for rest in found.values())
