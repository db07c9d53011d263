"""A job in the object store: what was written is read, and what is not ours is left alone."""

import time
from typing import Any

import pytest
from ulid import ULID

from schemas import keys
from schemas.errors import JobNotFound, ObjectMissing, UnreadableObject
from schemas.job import ControlEvent, RoundDocument, Totals
from schemas.result import ImageResult, ResultLine, RowFailure
from schemas.task import TaskMessage
from services import jobs
from services.store import ObjectStore
from tests.small_mill import JOB, planned, tasks_of, write_job

EARLY, LATE, LATER = "01A".ljust(26, "0"), "01B".ljust(26, "0"), "01C".ljust(26, "0")
EMOJI = "猫 🐈 \u2028 \x85 zwei\nZeilen\r\n"


def line(index: int, status: str = "done", token: str = "a" * 16) -> ResultLine:
    failure = RowFailure(error_class="render_error", message="m") if status == "failed" else None
    return ResultLine.model_validate(
        {"index": index, "id": f"row-{index}", "status": status, "token": token, "failure": failure}
    )


def add_piece(store: ObjectStore, lines: list[ResultLine], *, part: int = 0, task: int = 0, number: int = 0) -> str:
    key = keys.piece(JOB, part, task, lines[0].token, number)
    jobs.write_piece(store, key, lines)
    return key


def add_round(store: ObjectStore, round_id: str, *, first_task: int, first_part: int = 1, tasks: int = 1) -> None:
    totals = Totals(rows=tasks, images=tasks, units=1, tasks=tasks, parts=1)
    found = RoundDocument(
        round_id=round_id, first_task=first_task, first_part=first_part, totals=totals, created_at="now"
    )
    store.put(keys.round_document(JOB, round_id), found.model_dump_json().encode())


class TestDocuments:
    def test_a_job_is_there_once_its_document_is(self, store: ObjectStore) -> None:
        with pytest.raises(JobNotFound, match="'job'"):
            jobs.read_document(store, JOB)
        document = write_job(store, tasks_of(2))
        assert jobs.read_document(store, JOB) == document
        assert jobs.read_summary(store, JOB) is None

    @pytest.mark.parametrize("job", ["../../etc", "A", "", "a/../b"])
    def test_what_cannot_be_a_job_id_is_never_asked_for(self, store: ObjectStore, job: str) -> None:
        with pytest.raises(JobNotFound, match="cannot be a job id"):
            jobs.read_document(store, job)

    def test_all_that_look_like_jobs_are_listed_and_other_folders_are_not(self, store: ObjectStore) -> None:
        for key in ("jobs/a/job.json", "jobs/b/source/submission.json", "jobs/NOT OURS/x", "jobs/file", "other/c/x"):
            store.put(key, b"{}")
        assert sorted(jobs.list_jobs(store)) == ["a", "b"]


class TestControl:
    def test_events_are_folded_as_they_were_written(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(1), priority=7)
        assert jobs.read_control(store, document).state == "running"
        ulid = jobs.write_control(store, JOB, ControlEvent(verb="pause", reason="why"))
        control = jobs.read_control(store, document)
        assert (control.state, control.reason, control.priority, control.last) == ("paused", "why", 7, ulid)

    def test_an_event_follows_the_one_its_writer_knew_whatever_the_clock_says(self, store: ObjectStore) -> None:
        """A user resumes a job that an orchestrator paused whose clock is an hour ahead."""
        document = write_job(store, tasks_of(1))
        ahead = str(ULID.from_timestamp(time.time() + 3600))
        store.put(keys.control(JOB, ahead, "pause"), ControlEvent(verb="pause").model_dump_json().encode())
        ulid = jobs.write_control(store, JOB, ControlEvent(verb="resume"), after=ahead)
        assert jobs.read_control(store, document).state == "running"
        assert ahead < ulid < str(ULID.from_timestamp(time.time() + 3601))

    def test_events_of_one_writer_keep_their_order_within_a_millisecond(self, store: ObjectStore) -> None:
        ulids = [""]
        for _ in range(50):
            ulids.append(jobs.write_control(store, JOB, ControlEvent(verb="pause"), after=ulids[-1]))
        assert ulids == sorted(set(ulids))

    def test_somebody_elses_file_is_left_alone(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(1))
        store.put(keys.control_folder(JOB) + "README.txt", b"hello")
        jobs.write_control(store, JOB, ControlEvent(verb="cancel"))
        assert jobs.read_control(store, document).state == "cancelled"


class TestRounds:
    def test_the_first_plan_is_the_first_round(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(2, 3))
        assert jobs.read_rounds(store, document) == [jobs.Round(None, 0, 0, tasks=2, parts=1, rows=5)]

    def test_a_retry_counts_once_its_document_is_there(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(2))
        store.put(keys.plan_part(JOB, 1, EARLY), b"")
        assert len(jobs.read_rounds(store, document)) == 1
        add_round(store, EARLY, first_task=1)
        assert jobs.read_rounds(store, document)[1] == jobs.Round(EARLY, 1, 1, tasks=1, parts=1, rows=1)

    def test_of_two_that_raced_for_the_same_numbers_the_older_counts(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(2))
        add_round(store, LATE, first_task=1)
        add_round(store, EARLY, first_task=1)
        add_round(store, LATER, first_task=2, first_part=2)
        assert [found.round_id for found in jobs.read_rounds(store, document)] == [None, EARLY, LATER]

    def test_one_that_shares_only_a_part_is_void_too(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(2))
        add_round(store, EARLY, first_task=1, first_part=0)
        assert len(jobs.read_rounds(store, document)) == 1

    def test_somebody_elses_folder_is_left_alone(self, store: ObjectStore) -> None:
        document = write_job(store, tasks_of(2))
        store.put(keys.rounds_folder(JOB) + "backup/round.json", b"{}")
        assert len(jobs.read_rounds(store, document)) == 1


class TestPlan:
    def test_a_message_finds_exactly_its_rows_in_any_script(self, store: ObjectStore) -> None:
        tasks = [
            [planned(0, EMOJI), planned(1, "ü" * 1000)],
            [planned(2, "plain")],
            [planned(3, "\\u0000 \\n"), planned(4, EMOJI)],
        ]
        write_job(store, tasks)
        table = jobs.read_tasks(store, JOB)
        for number, rows in enumerate(tasks):
            record = jobs.task_record(table, number, None)
            fields: dict[str, Any] = record.model_dump(include={"task", "part", "offset", "length"})
            assert jobs.read_rows(store, TaskMessage(job=JOB, **fields)) == rows
            assert (record.rows, record.images, record.model) == (len(rows), len(rows), "tiny")
        assert jobs.read_plan_part(store, JOB, 0) == [row for rows in tasks for row in rows]

    def test_an_offset_beyond_4_gib_is_kept(self) -> None:
        table = jobs.TaskTable()
        values = {"part": 0, "offset": 2**40, "length": 1, "rows": 1, "images": 1, "units": 0.1}
        table.add(task=2**31, **values, stages=(("txt2img", "tiny"),))
        assert jobs.task_record(table.table(), 0, None).offset == 2**40

    def test_a_damaged_line_of_a_plan_is_never_passed_over(self) -> None:
        good = planned(0).model_dump_json().encode()
        with pytest.raises(UnreadableObject, match="no rows of a plan"):
            jobs.parse_rows(good + b"\n" + good[:-10] + b"\n")


class TestPieces:
    def test_lines_come_back_as_they_went(self, store: ObjectStore) -> None:
        image = ImageResult(
            image=0, seed=1, key="k", sha256="s", bytes=3, width=8, height=8, flagged=None, batch_size=1, slot=0
        )
        lines = [line(0).model_copy(update={"images": (image,), "warnings": (EMOJI,)}), line(1, "failed")]
        assert jobs.read_piece(store, add_piece(store, lines)) == lines

    def test_a_line_of_a_later_version_hides_no_other(self, store: ObjectStore) -> None:
        key = add_piece(store, [line(0), line(1)])
        store.put(key, store.get(key) + b'{"v":9,"new":1}\n' + b"junk\n\xff\n")
        assert [found.index for found in jobs.read_piece(store, key)] == [0, 1]

    def test_an_outcome_is_the_union_of_all_pieces(self, store: ObjectStore) -> None:
        add_piece(store, [line(0), line(1, "failed")])
        add_piece(store, [line(2)], number=1)
        add_piece(store, [line(3)], task=1)
        add_piece(store, [line(9)], part=1, task=2)
        assert sorted(jobs.task_outcomes(store, JOB, 0, 0)) == [0, 1, 2]
        assert sorted(jobs.part_outcomes(store, JOB, 0)) == [0, 1, 2, 3]

    def test_done_beats_failed_and_then_the_highest_token_wins(self, store: ObjectStore) -> None:
        add_piece(store, [line(0, "done", "a" * 16), line(1, "failed", "a" * 16), line(2, "done", "a" * 16)])
        add_piece(store, [line(0, "failed", "b" * 16), line(1, "failed", "b" * 16), line(2, "done", "b" * 16)])
        found = jobs.task_outcomes(store, JOB, 0, 0)
        assert {index: (best.status, best.token[0]) for index, best in found.items()} == {
            0: ("done", "a"),
            1: ("failed", "b"),
            2: ("done", "b"),
        }

    def test_a_file_of_somebody_else_among_them_is_left_alone(self, store: ObjectStore) -> None:
        add_piece(store, [line(0)])
        store.put(keys.task_results_folder(JOB, 0, 0) + "notes.txt", b"hello")
        assert sorted(jobs.task_outcomes(store, JOB, 0, 0)) == [0]

    def test_task_1_does_not_see_the_pieces_of_task_10(self, store: ObjectStore) -> None:
        add_piece(store, [line(0)], task=10)
        add_piece(store, [line(1)], task=1_000_000)
        assert jobs.task_outcomes(store, JOB, 0, 1) == {}
        assert jobs.task_outcomes(store, JOB, 0, 100_000) == {}


def test_a_missing_part_of_a_plan_is_an_error_of_the_store(store: ObjectStore) -> None:
    write_job(store, tasks_of(1))
    with pytest.raises(ObjectMissing):
        jobs.read_plan_part(store, JOB, 5)
