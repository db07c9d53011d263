"""Why rows failed: equal causes together."""

import json
from typing import Any

import pytest
from finished_job import JOB, MemoryStore, add_job, add_piece, add_round, done, failed, planned

from orchestrator.cli.failed import show_failures
from orchestrator.failures import MOST_GROUPS, Failures, pattern_of, read_failures
from schemas.errors import JobNotFound
from schemas.result import ResultLine, RowFailure


def broken(row: Any, message: str, error_class: Any = "invalid_input", token: str = "b", attempts: int = 1) -> Any:
    failure = RowFailure(error_class=error_class, message=message, attempts=attempts)
    line = failed(row, token).model_copy(update={"failure": failure, "worker": "w-1"})
    return ResultLine.model_validate(line.model_dump())


def a_job(*lines: tuple[str, Any]) -> Failures:
    store = MemoryStore()
    rows = [planned(index) for index in range(len(lines))]
    add_job(store, [rows])
    add_piece(store, 0, [broken(row, message, kind) for row, (message, kind) in zip(rows, lines, strict=True)])
    return read_failures(store, JOB)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("4,194,305 pixels; at most 64 are accepted", "12 pixels; at most 64 are accepted"),
        ("image s3://a/b c.png cannot be read", "image s3://x/y c.png cannot be read"),
        ("image https://a.example/x?y=1 timed out", "image https://b.example timed out"),
        ("object jobs/a/inputs/00.png is gone", "object jobs/b/inputs/11.png is gone"),
        ("its sha256 is 0123456789abcdef", "its sha256 is fedcba98765432100"),
        ("took 1.5 s", "took 0.25 s"),
    ],
)
def test_what_differs_from_row_to_row_makes_no_group_of_its_own(one: str, other: str) -> None:
    assert pattern_of(one) == pattern_of(other)


def test_words_make_groups() -> None:
    assert pattern_of("out of memory") != pattern_of("out of time")
    assert pattern_of("acceded beef added") == "acceded beef added"  # hex digits, but a word


def test_groups_come_by_size_with_samples_and_workers() -> None:
    lines = [("took 1 s", "render_error"), *[(f"{n} bytes are too many", "invalid_input") for n in range(7)]]
    found = a_job(*lines, ("took 2 s", "out_of_memory"))
    assert found.rows == 9
    assert [(group.error_class, group.pattern, group.rows) for group in found.groups] == [
        ("invalid_input", "# bytes are too many", 7),
        ("out_of_memory", "took # s", 1),
        ("render_error", "took # s", 1),
    ]
    first = found.groups[0]
    assert [row.id for row in first.sample] == ["row-1", "row-2", "row-3", "row-4", "row-5"]
    assert first.sample[0].message == "0 bytes are too many"
    assert first.workers == {"w-1": 7}


def test_only_rows_whose_outcome_is_a_failure_count() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(4)]
    add_job(store, [rows])
    add_piece(store, 0, [broken(row, "bad") for row in rows[:3]])
    add_piece(store, 0, [done(store, 0, rows[0], "a")], "c")
    add_round(store, 1, rows[1:3])
    add_piece(store, 1, [done(store, 1, rows[1], "d"), broken(rows[2], "bad 2", token="d", attempts=3)], "d")
    found = read_failures(store, JOB)
    assert [(group.pattern, group.rows, group.attempts) for group in found.groups] == [("bad #", 1, 3)]


def test_a_thousand_different_messages_stay_few_groups() -> None:
    letters = [chr(ord("a") + n // 26) + chr(ord("a") + n % 26) for n in range(26 * 26)]
    found = a_job(*[(f"bad {word}", "render_error") for word in letters])
    assert (found.rows, len(found.groups), found.others) == (676, MOST_GROUPS, 676 - MOST_GROUPS)


def test_no_job_no_answer() -> None:
    with pytest.raises(JobNotFound):
        read_failures(MemoryStore(), "nothing")


def test_people_see_one_message_whole_and_several_by_their_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    show_failures(a_job(("size 1", "invalid_input"), ("size 2", "invalid_input"), ("[red]\x1b[2Jout", "render_error")))
    told = capsys.readouterr()
    assert "2 rows  invalid_input\n  size #" in told.out
    assert "as in: size 1" in told.out
    assert "[red]\\x1b[2Jout" in told.out  # neither markup nor a terminal's command
    assert "promptmill retry parti --class invalid_input" in told.err
    json.dumps(a_job(("x", "poison")).model_dump())
