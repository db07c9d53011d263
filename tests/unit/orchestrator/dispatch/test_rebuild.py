"""The ledger made again from the store: exact to the row, whatever the pieces look like."""

import pytest

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.rebuild import open_in_ledger
from schemas import keys
from schemas.planned import PlannedRow
from schemas.result import ImageResult, ResultLine, RowFailure
from services import jobs
from services.ledger import JobProgress
from services.store import ObjectStore
from tests.small_mill import JOB, SmallMill, tasks_of, write_job

TOKEN = "a" * 16


def outcome(row: PlannedRow, status: str = "done", token: str = TOKEN) -> ResultLine:
    image = ImageResult(
        image=0, seed=1, key="k", sha256="s", bytes=1, width=8, height=8, flagged=None, batch_size=1, slot=0
    )
    line = ResultLine(index=row.index, id=row.id, status="done", images=(image,), token=token)
    if status == "done":
        return line
    return line.model_copy(
        update={"status": "failed", "images": (), "failure": RowFailure(error_class="poison", message="m")}
    )


def add(store: ObjectStore, task: int, lines: list[ResultLine], *, part: int = 0, number: int = 0) -> None:
    jobs.write_piece(store, keys.piece(JOB, part, task, lines[0].token, number), lines)


def rebuilt(mill: SmallMill, hold: float = 0.0) -> JobProgress:
    mill.redis.flushall()
    assert open_in_ledger(ActiveJob.load(mill.store, JOB), mill.ledger, hold_seconds=hold)
    return mill.progress()


def counts(progress: JobProgress) -> tuple[int, int, int, int]:
    return progress.counted, progress.done, progress.failed, progress.images


def test_a_job_without_pieces_starts_from_nothing_and_at_once(small_mill: SmallMill) -> None:
    write_job(small_mill.store, tasks_of(2, 3))
    assert counts(rebuilt(small_mill, hold=60)) == (0, 0, 0, 0)
    assert [member for member, _ in small_mill.ledger.take({JOB: 9})[JOB]] == ["0", "1"]


def test_a_task_counts_when_all_its_rows_have_an_outcome(small_mill: SmallMill) -> None:
    tasks = tasks_of(2, 3, 1)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 0, [outcome(tasks[0][0])])
    add(small_mill.store, 0, [outcome(tasks[0][1], "failed")], number=1)
    add(small_mill.store, 1, [outcome(row) for row in tasks[1][:2]])
    progress = rebuilt(small_mill)
    assert counts(progress) == (1, 1, 1, 1)
    assert progress.units == pytest.approx(sum(row.units() for row in tasks[0]))
    assert [member for member, _ in small_mill.ledger.take({JOB: 9})[JOB]] == ["1", "2"]


def test_a_row_in_several_pieces_counts_once_and_as_its_best(small_mill: SmallMill) -> None:
    tasks = tasks_of(2)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 0, [outcome(tasks[0][0], "failed", "a" * 16), outcome(tasks[0][1], "failed", "a" * 16)])
    add(small_mill.store, 0, [outcome(tasks[0][0], "done", "b" * 16)])
    add(small_mill.store, 0, [outcome(tasks[0][0], "done", "c" * 16)])
    assert counts(rebuilt(small_mill)) == (1, 1, 1, 1)


def test_rows_over_many_parts_are_all_found(small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.planner.write.PART_IMAGES", 2)
    tasks = tasks_of(2, 2, 2, 1)
    write_job(small_mill.store, tasks)
    for task, rows in enumerate(tasks):
        add(small_mill.store, task, [outcome(row) for row in rows], part=task)
    assert counts(rebuilt(small_mill)) == (4, 7, 0, 7)


def test_a_job_with_pieces_is_held_until_living_workers_have_renewed(small_mill: SmallMill) -> None:
    tasks = tasks_of(2, 1)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 0, [outcome(tasks[0][0])])
    rebuilt(small_mill, hold=60)
    assert small_mill.ledger.take({JOB: 9})[JOB] == []
    assert small_mill.ledger.renew(JOB, "0", TOKEN, worker="w", seconds=60)[0] == "renewed"


def test_a_known_job_is_left_as_it_is(small_mill: SmallMill) -> None:
    write_job(small_mill.store, tasks_of(1))
    active = ActiveJob.load(small_mill.store, JOB)
    assert open_in_ledger(active, small_mill.ledger, hold_seconds=0)
    assert not open_in_ledger(active, small_mill.ledger, hold_seconds=0)


@pytest.mark.parametrize("junk", ["notes.txt", "x-000.jsonl.tmp"])
def test_a_strangers_file_among_the_pieces_is_left_alone(small_mill: SmallMill, junk: str) -> None:
    tasks = tasks_of(1)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 0, [outcome(tasks[0][0])])
    small_mill.store.put(keys.task_results_folder(JOB, 0, 0) + junk, b"junk")
    assert counts(rebuilt(small_mill)) == (1, 1, 0, 1)


def test_a_piece_of_a_task_that_the_job_does_not_have_is_left_alone(small_mill: SmallMill) -> None:
    tasks = tasks_of(1)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 999, [outcome(tasks[0][0])])
    assert counts(rebuilt(small_mill)) == (0, 0, 0, 0)


def test_a_line_that_this_version_cannot_read_leaves_its_task_open(small_mill: SmallMill) -> None:
    tasks = tasks_of(2)
    write_job(small_mill.store, tasks)
    add(small_mill.store, 0, [outcome(row) for row in tasks[0]])
    key = keys.piece(JOB, 0, 0, TOKEN, 0)
    first, _ = small_mill.store.get(key).splitlines()
    small_mill.store.put(key, first + b'\n{"v":9}\n')
    assert counts(rebuilt(small_mill)) == (0, 0, 0, 0)


class TestActiveJob:
    def test_a_message_names_the_bytes_of_the_task_or_of_its_one_row(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(2, 3)
        tasks[1][1] = tasks[1][1].model_copy(update={"prompt": "猫 🐈 \u2028 ü\n"})
        write_job(small_mill.store, tasks)
        active = ActiveJob.load(small_mill.store, JOB)
        assert jobs.read_rows(small_mill.store, active.message("1", 2)) == tasks[1]
        for place, row in enumerate(tasks[1]):
            message = active.message(f"1.{place}", 2)
            assert jobs.read_rows(small_mill.store, message) == [row]
            assert (message.member, message.attempt) == (f"1.{place}", 2)
        rows = [active.order(f"1.{place}", 0).cost for place in range(3)]
        assert sum(rows) == pytest.approx(active.order("1", 0).cost)

    def test_a_task_that_is_none_is_an_error(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        with pytest.raises(IndexError):
            ActiveJob.load(small_mill.store, JOB).record(1)

    def test_only_so_many_layouts_are_kept(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("orchestrator.dispatch.active_job.CACHED_LAYOUTS", 2)
        write_job(small_mill.store, tasks_of(1, 1, 1, 1))
        active = ActiveJob.load(small_mill.store, JOB)
        for task in range(4):
            active.message(f"{task}.0", 0)
        assert sorted(active._layouts) == [2, 3]

    def test_the_layout_that_was_asked_for_longest_ago_goes_first(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.dispatch.active_job.CACHED_LAYOUTS", 2)
        write_job(small_mill.store, tasks_of(1, 1, 1))
        active = ActiveJob.load(small_mill.store, JOB)
        for member in ("0.0", "1.0", "0.0", "2.0"):
            active.message(member, 0)
        assert sorted(active._layouts) == [0, 2]
