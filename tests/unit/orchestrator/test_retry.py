"""A retry: only the failed rows, into the same job, and no row in two at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.retry import retry
from schemas import keys
from schemas.errors import JobConflict, JobNotFound, LedgerUnavailable
from schemas.planned import PlannedRow
from services import jobs
from services.ledger import Ledger
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, Later, SmallMill, planned, tasks_of, write_job
from workers.engines.base import Rendered, Slot
from workers.engines.flat import FlatRoom


def mixed() -> list[list[PlannedRow]]:
    return [
        [planned(0), planned(1, "!raise"), planned(2, "!model", model="tiny-2")],
        [planned(3, "!oom>0"), planned(4), planned(5, "!raise")],
    ]


class Mended(FlatRoom):
    """Whatever was wrong with the machine is mended."""

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        sound = [replace(slot, row=slot.row.model_copy(update={"prompt": "sound"})) for slot in slots]
        return super().render(sound, on_step)


@pytest.fixture
def ended(small_mill: SmallMill) -> SmallMill:
    """A job that ended with four failed rows of three classes."""
    write_job(small_mill.store, mixed(), keep_going=True)
    small_mill.run(small_mill.dispatcher())
    small_mill.assert_exact(done=2, failed=4)
    return small_mill


def rows_of(mill: SmallMill, round_id: str, part: int) -> list[PlannedRow]:
    return jobs.read_plan_part(mill.store, JOB, part, round_id)


class TestWhichRows:
    def test_all_that_failed_as_they_were_planned(self, ended: SmallMill) -> None:
        before = dict(ended.store.objects)  # type: ignore[attr-defined]
        found = retry(ended.store, ended.ledger, JOB)
        assert found is not None
        assert (found.totals.rows, found.first_task, found.first_part) == (4, 2, 1)
        expected = [row for rows in mixed() for row in rows if row.index in (1, 2, 3, 5)]
        assert sorted(rows_of(ended, found.round_id, 1), key=lambda row: row.index) == expected
        now = ended.store.objects  # type: ignore[attr-defined]
        assert {key: now[key] for key in before} == before, "nothing existing is touched"

    @pytest.mark.parametrize(
        ("classes", "indices"),
        [
            (["render_error"], [1, 5]),
            (["out_of_memory"], [3]),
            (["model_unavailable", "out_of_memory"], [2, 3]),
        ],
    )
    def test_only_the_classes_asked_for(self, ended: SmallMill, classes: list[str], indices: list[int]) -> None:
        found = retry(ended.store, ended.ledger, JOB, error_classes=classes)
        assert found is not None
        assert sorted(row.index for row in rows_of(ended, found.round_id, 1)) == indices
        assert sorted(found.error_classes) == sorted(classes)

    def test_no_such_row_makes_no_round(self, ended: SmallMill) -> None:
        assert retry(ended.store, ended.ledger, JOB, error_classes=["poison"]) is None
        assert len(jobs.read_rounds(ended.store, jobs.read_document(ended.store, JOB))) == 1
        assert retry(ended.store, ended.ledger, JOB) is not None, "nothing is in the way of another"


class TestAfterwards:
    def test_rows_that_come_out_this_time_are_done_and_the_rest_failed_again(self, ended: SmallMill) -> None:
        retry(ended.store, ended.ledger, JOB, error_classes=["render_error", "out_of_memory"])
        ended.run(ended.dispatcher(), renderer=Mended(ended.settings))
        ended.assert_exact(done=5, failed=1)

    def test_a_second_retry_takes_what_is_still_failed(self, ended: SmallMill) -> None:
        retry(ended.store, ended.ledger, JOB, error_classes=["render_error"])
        ended.run(ended.dispatcher())
        second = retry(ended.store, ended.ledger, JOB)
        assert second is not None
        assert (second.totals.rows, second.first_task, second.first_part) == (4, 3, 2)
        ended.run(ended.dispatcher())
        ended.assert_exact(done=2, failed=4)

    def test_done_rows_are_never_rendered_again(self, ended: SmallMill) -> None:
        rendered = ended.rendered()
        retry(ended.store, ended.ledger, JOB)
        ended.run(ended.dispatcher())
        assert ended.rendered() == rendered


class TestRefusals:
    def test_a_running_job(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, mixed())
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        small_mill.work()
        with pytest.raises(JobConflict, match="still running"):
            retry(small_mill.store, small_mill.ledger, JOB)

    def test_one_that_redis_has_forgotten_while_it_runs(self, small_mill: SmallMill) -> None:
        """Its failed rows are not all known yet, and the ledger cannot say so."""
        write_job(small_mill.store, mixed())
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        small_mill.work()
        small_mill.redis.flushall()
        with pytest.raises(JobConflict, match="still running"):
            retry(small_mill.store, small_mill.ledger, JOB)

    @pytest.mark.parametrize("looks", [0, 1, 2])
    def test_a_second_retry_before_the_first_has_ended(self, ended: SmallMill, looks: int) -> None:
        """The same rows in two rounds would be rendered and counted twice."""
        dispatcher = ended.dispatcher()
        ended.tick(dispatcher)
        assert retry(ended.store, ended.ledger, JOB) is not None
        ended.tick(dispatcher, looks)
        with pytest.raises(JobConflict, match="still running"):
            retry(ended.store, ended.ledger, JOB)

    def test_a_second_retry_before_the_dispatcher_has_seen_the_first(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, mixed(), keep_going=True)
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, 2)
        while small_mill.progress().counted < 2:
            small_mill.work()
            small_mill.tick(dispatcher, background=background)
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        with pytest.raises(JobConflict, match="still running"):
            retry(small_mill.store, small_mill.ledger, JOB)

    def test_a_cancelled_job(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        small_mill.steer("cancel")
        small_mill.tick(small_mill.dispatcher(), 3)
        with pytest.raises(JobConflict, match="cancelled"):
            retry(small_mill.store, small_mill.ledger, JOB)

    def test_an_unknown_job(self, memory_store: MemoryStore, ledger: Ledger) -> None:
        with pytest.raises(JobNotFound):
            retry(memory_store, ledger, JOB)


def test_a_retry_stands_even_if_redis_does_not_hear_of_it(ended: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
    def announce(job: str) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(ended.ledger, "announce", announce)
    found = retry(ended.store, ended.ledger, JOB)
    assert found is not None
    assert len(jobs.read_rounds(ended.store, jobs.read_document(ended.store, JOB))) == 2


class TestTwoAtOnce:
    def test_while_one_is_planned_another_is_refused(self, ended: SmallMill) -> None:
        refused: list[str] = []

        def another(verb: str, key: str) -> None:
            if verb == "put" and "/rounds/" in key and not refused:
                refused.append("")
                with pytest.raises(JobConflict, match="another retry of job job is being planned"):
                    retry(ended.store, ended.ledger, JOB)

        ended.store.fault = another  # type: ignore[attr-defined]
        assert retry(ended.store, ended.ledger, JOB) is not None
        assert refused
        assert len(jobs.read_rounds(ended.store, jobs.read_document(ended.store, JOB))) == 2

    def test_when_redis_forgets_the_lock_the_one_that_is_written_later_is_refused(self, ended: SmallMill) -> None:
        first: list[object] = []

        def another(verb: str, key: str) -> None:
            if verb == "put" and key.endswith("tasks.parquet") and not first:
                first.append(None)
                ended.redis.flushall()
                first.append(retry(ended.store, ended.ledger, JOB))

        ended.store.fault = another  # type: ignore[attr-defined]
        with pytest.raises(JobConflict, match="another retry of job job came first"):
            retry(ended.store, ended.ledger, JOB)
        assert first[1] is not None
        ended.store.fault = lambda verb, key: None  # type: ignore[attr-defined]
        ended.run(ended.dispatcher())
        ended.assert_exact(done=2, failed=4)

    def test_a_round_that_makes_a_later_one_void_is_taken_up_instead(self, ended: SmallMill) -> None:
        """Both were written at the same moment, and the dispatcher saw the later one first."""
        dispatcher = ended.dispatcher()
        older = retry(ended.store, ended.ledger, JOB)
        assert older is not None
        hidden = keys.round_document(JOB, older.round_id)
        text = ended.store.get(hidden)
        ended.store.delete([hidden])
        ended.redis.flushall()
        later = retry(ended.store, ended.ledger, JOB, error_classes=("out_of_memory",))
        assert later is not None
        ended.tick(dispatcher, 3)
        assert ended.progress().tasks == 3
        ended.store.put(hidden, text)
        place = ended.place(Mended(ended.settings))
        for _ in range(20):
            ended.tick(dispatcher)
            while ended.work(place) is not None:
                pass
        summary = jobs.read_summary(ended.store, JOB)
        assert summary is not None
        assert summary.rounds == (older.round_id,)
        ended.assert_exact(done=6)
