"""Whatever stands in a document: rows or faults, the same from JSON and YAML, and never too many."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from manifest_files import Found, read_bytes

from orchestrator.manifests import ReadLimits

FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
LIMITS = ReadLimits(rows=500, document_values=2000)

NAMES = ["prompt", "steps", "seed", "width", "scheduler", "model", "id", "pipeline", "image", "init_image", "strength"]
NAMES += ["cfg", "n_iter", "batch_size", "note", "promt", "", "template", "space", "combine", "then", "extra"]
names = st.sampled_from(NAMES)
texts = st.sampled_from(
    ["a", "1-3", "0.1-0.3:0.1", "euler", "Euler a", "img2img", "{note}", "dynamic", "fill", "é", "1-x", "", "x" * 130]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 1100), st.floats(-1, 9, width=16), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
spaces = st.dictionaries(names, st.one_of(st.lists(scalars, max_size=4), texts, values), max_size=4)
combines = st.lists(st.sampled_from(["(", ")", "*", ",", "seed", "steps", "note", "cfg"]), max_size=9).map(" ".join)
rows = st.one_of(
    texts,
    values,
    st.fixed_dictionaries(
        {"prompt": texts},
        optional={
            "steps": scalars,
            "note": values,
            "space": spaces,
            "combine": combines,
            "template": values,
            "id": texts,
        },
    ),
)
documents = st.one_of(
    values,
    st.lists(rows, max_size=4),
    st.fixed_dictionaries(
        {"rows": st.one_of(values, st.lists(rows, max_size=4))},
        optional={
            "defaults": values,
            "space": st.one_of(values, spaces),
            "combine": combines,
            "template": values,
            "other": values,
        },
    ),
    st.fixed_dictionaries(
        {"space": spaces}, optional={"defaults": st.dictionaries(names, scalars), "combine": combines}
    ),
)


def read_fuzzed(text: str, file_format: str) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        found = read_bytes(Path(folder), "fuzzed", text.encode(), format=file_format, limits=LIMITS)
    assert found.rows or found.faults.total
    assert len(found.rows) <= 500
    for fault in found.faults.kept:
        assert str(fault).isprintable()
        assert fault.line is None or 1 <= fault.line <= text.count("\n") + 1
    for row in found.rows:
        assert row.coordinates is None or json.dumps(row.coordinates)
    return found


@FUZZ
@given(document=documents, indent=st.sampled_from([None, 1]))
@example(document={"space": {"id": [None, "a"], "seed": "1-2"}, "rows": ["a"]}, indent=None)
@example(document={"space": {"": [1]}, "rows": ["a"]}, indent=None)
@example(document={"space": {"prompt": [None, {}, []]}, "defaults": {"template": "fill"}}, indent=None)
def test_any_document_says_the_same_in_json_and_yaml(document: Any, indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    as_json, as_yaml = read_fuzzed(text, "json"), read_fuzzed(text, "yaml")
    assert [row.row for row in as_json.rows] == [row.row for row in as_yaml.rows]
    assert as_json.texts == as_yaml.texts


@FUZZ
@given(
    document=documents,
    cut=st.integers(0, 400),
    put=st.sampled_from(["", "&a ", "*a", "!!int ", "- ", "\t", "]", ": ", "<<: ", "\x01", "\ud800"]),
)
def test_any_damaged_document(document: Any, cut: int, put: str) -> None:
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        damaged = (
            (text[: cut % (len(text) + 1)] + put + text[cut % (len(text) + 1) + 1 :])
            .encode("utf-8", "replace")
            .decode()
        )
        read_fuzzed(damaged, "json")
        read_fuzzed(damaged, "yaml")


marks = st.sampled_from(
    [
        "a",
        "b: ",
        "- ",
        "? ",
        ": ",
        "&x ",
        "*x",
        "!t ",
        "|\n",
        ">\n",
        "\n",
        "  ",
        "    ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        '"',
        "#",
        "<<: ",
        "---\n",
        "...\n",
        "%TAG",
        "1-3",
        "rows:",
        "space:",
        "\t",
        "~",
        "@",
    ]
)


@FUZZ
@given(text=st.lists(marks, max_size=30).map("".join))
def test_any_marks_as_yaml(text: str) -> None:
    read_fuzzed(text, "yaml")
