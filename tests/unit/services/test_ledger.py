"""Every transition of the ledger, on a real Redis."""

import itertools

import pytest
from redis import Redis

from schemas.job import ControlState
from services.ledger import Ledger
from tests.ledger_steps import (
    CANCELLED,
    JOB,
    LONG,
    PAUSED,
    TWO_DONE,
    expire,
    leased,
    lost,
    members,
    opened,
)


class TestOpen:
    def test_an_opened_job_is_known_with_the_counts_of_the_store(self, ledger: Ledger) -> None:
        opened(ledger, tasks=20, counts=TWO_DONE, counted=bytes([0b1000_0001, 0b0100_0000]), priority=7)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.tasks, progress.counted, progress.priority, progress.state) == (20, 3, 7, "running")
        assert (progress.done, progress.failed, progress.images, progress.units) == (2, 1, 5, 0.5)

    def test_the_bits_of_counted_tasks_are_read_highest_first(self, ledger: Ledger) -> None:
        opened(ledger, tasks=11, counted=bytes([0b1000_0001, 0b0100_0000]))
        assert members(ledger) == ["1", "2", "3", "4", "5", "6", "8", "10"]

    def test_opening_a_known_job_changes_nothing(self, ledger: Ledger) -> None:
        opened(ledger)
        leased(ledger, "1")
        before = ledger.progress(JOB), ledger.flights(JOB)
        assert not ledger.open(JOB, tasks=9, priority=1, counts=TWO_DONE, counted=b"\xff")
        assert (ledger.progress(JOB), ledger.flights(JOB)) == before

    def test_nothing_is_published_while_a_rebuilt_job_is_held(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger, hold_seconds=LONG)
        assert members(ledger) == []
        redis.hset(f"test:job:{JOB}:meta", "hold", ledger.now() - 1)
        assert members(ledger) == ["0", "1", "2"]

    def test_an_unknown_job_has_no_progress_and_gives_nothing_out(self, ledger: Ledger) -> None:
        assert ledger.progress("other") is None
        assert ledger.take({"other": 5})["other"] == []
        assert ledger.lease("other", "0", worker="w", seconds=1).answer == "unknown"
        assert ledger.renew("other", "0", "t", worker="w", seconds=1) == ("missing", "")
        assert not ledger.count("other", "0", TWO_DONE)
        assert not ledger.split("other", 0, range(3))
        assert not ledger.grow("other", tasks=9, retried=1)
        assert not ledger.steer("other", PAUSED)

    def test_an_unknown_job_is_not_made_by_asking_for_it(self, ledger: Ledger, redis: "Redis") -> None:
        self.test_an_unknown_job_has_no_progress_and_gives_nothing_out(ledger)
        assert redis.keys("*") == []


class TestTake:
    def test_tasks_come_in_order_and_each_once(self, ledger: Ledger) -> None:
        opened(ledger, tasks=5)
        assert [members(ledger, 2) for _ in range(4)] == [["0", "1"], ["2", "3"], ["4"], []]

    def test_what_comes_again_goes_first(self, ledger: Ledger) -> None:
        opened(ledger, tasks=5)
        members(ledger, 2)
        token = leased(ledger, "1")
        ledger.give_back(JOB, "1", token)
        assert members(ledger, 2) == ["1", "2"]

    def test_what_is_given_back_with_a_delay_waits_for_its_time(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.give_back(JOB, "0", leased(ledger), delay_seconds=LONG)
        assert members(ledger) == []

    def test_a_member_comes_with_its_losses(self, ledger: Ledger) -> None:
        opened(ledger, tasks=2)
        lost(ledger, "1", times=2)
        assert ledger.take({JOB: 5})[JOB] == [("1", 2), ("0", 0)]

    @pytest.mark.parametrize("control", [PAUSED, CANCELLED])
    def test_nothing_is_given_out_of_a_job_that_does_not_run(self, ledger: Ledger, control: ControlState) -> None:
        opened(ledger)
        ledger.steer(JOB, control)
        assert members(ledger) == []

    def test_a_leased_task_past_the_cursor_is_not_published(self, ledger: Ledger) -> None:
        opened(ledger)
        leased(ledger, "1")
        assert members(ledger) == ["0", "2"]

    def test_the_cursor_passes_more_counted_tasks_than_one_look_may_cost(self, ledger: Ledger) -> None:
        opened(ledger, tasks=5001, counted=b"\xff" * 625)
        assert members(ledger, 1) == []
        assert members(ledger, 1) == ["5000"]

    def test_asking_for_none_gives_none(self, ledger: Ledger) -> None:
        opened(ledger)
        assert ledger.take({JOB: 0}) == ledger.take({JOB: -3}) == {}


class TestLease:
    def test_tokens_sort_by_the_time_of_their_lease(self, ledger: Ledger) -> None:
        opened(ledger, tasks=4)
        tokens = []
        for number in range(12):
            tokens.append(leased(ledger, str(number % 4)))
            ledger.give_back(JOB, str(number % 4), tokens[-1])
            start = ledger.now()
            while ledger.now() == start:
                pass
        assert tokens == sorted(tokens)
        assert len(set(tokens)) == len(tokens)

    def test_a_token_can_stand_in_a_key(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        assert token.isalnum()
        assert token == token.lower()
        assert len(token) == 16
        assert int(token[:12], 16) == pytest.approx(ledger.now(), abs=5_000)

    def test_a_leased_member_is_refused(self, ledger: Ledger) -> None:
        opened(ledger)
        leased(ledger)
        again = ledger.lease(JOB, "0", worker="other", seconds=LONG)
        assert (again.answer, again.token) == ("leased", "")

    def test_a_lease_that_expired_is_refused_until_its_loss_is_counted(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        expire(ledger, "0", token)
        assert ledger.lease(JOB, "0", worker="other", seconds=LONG).answer == "leased"
        ledger.lose(JOB, "0", token, error="")
        assert ledger.lease(JOB, "0", worker="other", seconds=LONG).answer == "granted"

    def test_a_counted_member_is_refused(self, ledger: Ledger) -> None:
        opened(ledger)
        ledger.count(JOB, "0", TWO_DONE)
        assert ledger.lease(JOB, "0", worker="w", seconds=LONG).answer == "counted"

    def test_a_split_task_is_refused_and_its_rows_are_not(self, ledger: Ledger) -> None:
        opened(ledger)
        ledger.split(JOB, 0, range(2))
        assert ledger.lease(JOB, "0", worker="w", seconds=LONG).answer == "split"
        assert ledger.lease(JOB, "0.1", worker="w", seconds=LONG).answer == "granted"

    def test_a_row_of_a_task_that_was_not_split_is_refused(self, ledger: Ledger) -> None:
        opened(ledger)
        assert ledger.lease(JOB, "0.1", worker="w", seconds=LONG).answer == "counted"

    @pytest.mark.parametrize(("control", "answer"), [(PAUSED, "paused"), (CANCELLED, "cancelled")])
    def test_a_job_that_does_not_run_refuses_and_keeps_the_task_for_later(
        self, ledger: Ledger, control: ControlState, answer: str
    ) -> None:
        opened(ledger, tasks=1)
        members(ledger)
        ledger.steer(JOB, control)
        assert ledger.lease(JOB, "0", worker="w", seconds=LONG).answer == answer
        assert ledger.flights(JOB) == []
        ledger.steer(JOB, ControlState(state="running", last="01B"))
        assert members(ledger) == ["0"]

    @pytest.mark.parametrize("member", ["3", "999999", "3.0"])
    def test_a_task_that_the_job_does_not_have_is_never_leased_nor_counted(self, ledger: Ledger, member: str) -> None:
        opened(ledger, tasks=3)
        assert ledger.lease(JOB, member, worker="w", seconds=LONG).answer == "unknown"
        assert ledger.renew(JOB, member, "t", worker="w", seconds=LONG)[0] == "missing"
        assert not ledger.count(JOB, member, TWO_DONE)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.counted, progress.done, progress.in_flight, progress.again) == (0, 0, 0, 0)

    def test_a_request_whose_answer_was_lost_gets_the_same_token_again(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """redis-py sends a command again when the connection broke before its answer."""
        opened(ledger)
        letters = itertools.cycle("ab12")
        monkeypatch.setattr("services.ledger.ledger.secrets.choice", lambda _: next(letters))
        first = ledger.lease(JOB, "0", worker="w", seconds=LONG)
        assert ledger.lease(JOB, "0", worker="w", seconds=LONG) == first
        assert ledger.lease(JOB, "0", worker="other", seconds=LONG).answer == "leased"

    def test_a_lease_tells_who_holds_it_and_how_far_it_is(self, ledger: Ledger) -> None:
        opened(ledger)
        lease = ledger.lease(JOB, "0", worker="host|0", seconds=LONG)
        ledger.renew(JOB, "0", lease.token, worker="host|0", seconds=LONG, rows=3, images=12)
        (flight,) = ledger.flights(JOB)
        assert (flight.member, flight.token, flight.worker) == ("0", lease.token, "host_0")
        assert (flight.rows, flight.images) == (3, 12)
        assert flight.expiry - ledger.now() == pytest.approx(LONG * 1000, abs=5_000)
