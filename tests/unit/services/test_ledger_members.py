"""What moves a member of the ledger on: renewed, released, split, counted; on a real Redis."""

import pytest
from redis import Redis

from services.ledger import CountDelta, Ledger
from tests.ledger_steps import (
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


class TestRenew:
    def test_the_holder_keeps_its_lease(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger, seconds=1)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG) == ("renewed", "running")
        assert ledger.lose(JOB, "0", token, error="") == -1

    def test_anothers_token_loses(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        expire(ledger, "0", token)
        ledger.lose(JOB, "0", token, error="")
        successor = leased(ledger)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "lost"
        assert [flight.token for flight in ledger.flights(JOB)] == [successor]

    def test_a_counted_member_is_lost(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        ledger.count(JOB, "0", TWO_DONE)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "lost"
        assert ledger.flights(JOB) == []

    def test_a_forgotten_lease_is_taken_up_under_its_own_token(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger)
        token = leased(ledger, "1")
        redis.flushall()
        opened(ledger)
        assert ledger.renew(JOB, "1", token, worker="w", seconds=LONG) == ("renewed", "running")
        assert [(flight.member, flight.token) for flight in ledger.flights(JOB)] == [("1", token)]
        assert members(ledger) == ["0", "2"]

    def test_a_forgotten_lease_is_taken_up_from_what_waits_to_be_published_again(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        token = leased(ledger)
        expire(ledger, "0", token)
        ledger.lose(JOB, "0", token, error="")
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "renewed"
        assert members(ledger) == []

    def test_a_task_that_was_split_meanwhile_is_not_taken_up(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        token = leased(ledger)
        expire(ledger, "0", token)
        ledger.lose(JOB, "0", token, error="")
        ledger.split(JOB, 0, range(2))
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "lost"
        assert ledger.flights(JOB) == []

    def test_it_tells_the_jobs_state(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        ledger.steer(JOB, PAUSED)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG) == ("renewed", "paused")


class TestRelease:
    def test_giving_back_is_no_loss(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        assert ledger.give_back(JOB, "0", leased(ledger), error="outage")
        assert ledger.notes(JOB) == ({}, {"0": "outage"})
        assert ledger.take({JOB: 1})[JOB] == [("0", 0)]

    def test_a_loss_needs_an_expired_lease(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        assert ledger.lose(JOB, "0", token, error="gone") == -1
        assert [flight.token for flight in ledger.flights(JOB)] == [token]
        expire(ledger, "0", token)
        assert ledger.lose(JOB, "0", token, error="gone") == 1
        assert ledger.notes(JOB) == ({"0": 1}, {"0": "gone"})

    def test_one_loss_is_counted_once(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        expire(ledger, "0", token)
        assert [ledger.lose(JOB, "0", token, error="") for _ in range(2)] == [1, -1]
        assert ledger.notes(JOB)[0] == {"0": 1}

    def test_without_the_token_nothing_is_released(self, ledger: Ledger) -> None:
        opened(ledger)
        token = leased(ledger)
        assert not ledger.give_back(JOB, "0", "0" * 16)
        assert not ledger.give_back(JOB, "1", token)
        assert [flight.token for flight in ledger.flights(JOB)] == [token]

    def test_a_long_error_is_cut(self, ledger: Ledger) -> None:
        opened(ledger)
        ledger.give_back(JOB, "0", leased(ledger), error="x" * 10_000)
        assert len(ledger.notes(JOB)[1]["0"]) == 500


class TestRequeue:
    def test_a_published_member_is_published_again(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        members(ledger)
        (flight,) = ledger.flights(JOB)
        assert ledger.requeue(JOB, "0", flight.since)
        assert members(ledger) == ["0"]

    def test_a_leased_one_is_not(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        members(ledger)
        leased(ledger)
        (flight,) = ledger.flights(JOB)
        assert not ledger.requeue(JOB, "0", flight.since)

    def test_one_published_since_is_not(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        members(ledger)
        (flight,) = ledger.flights(JOB)
        assert not ledger.requeue(JOB, "0", flight.since - 1)
        assert not ledger.requeue(JOB, "1", flight.since)


class TestSplit:
    def test_each_row_is_published_alone_and_the_task_no_more(self, ledger: Ledger) -> None:
        opened(ledger, tasks=2)
        lost(ledger, "0", times=2)
        assert ledger.split(JOB, 0, range(3))
        assert sorted(members(ledger)) == ["0.0", "0.1", "0.2", "1"]
        assert members(ledger) == []

    def test_a_rows_losses_are_counted_anew(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        lost(ledger, "0", times=2)
        ledger.split(JOB, 0, range(2))
        assert ledger.notes(JOB)[0] == {}
        assert ledger.take({JOB: 9})[JOB] == [("0.0", 0), ("0.1", 0)]

    def test_a_task_is_split_once(self, ledger: Ledger) -> None:
        opened(ledger)
        assert ledger.split(JOB, 0, range(3))
        assert not ledger.split(JOB, 0, range(3))

    def test_a_leased_or_counted_task_is_not_split(self, ledger: Ledger) -> None:
        opened(ledger)
        leased(ledger, "0")
        ledger.count(JOB, "1", TWO_DONE)
        assert not ledger.split(JOB, 0, range(3))
        assert not ledger.split(JOB, 1, range(3))

    def test_rows_count_one_by_one_and_the_task_with_the_last(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.split(JOB, 0, range(3))
        seen = []
        for row in (2, 0, 1):
            assert ledger.count(JOB, f"0.{row}", CountDelta(1, 0, 2, 0.25))
            progress = ledger.progress(JOB)
            assert progress is not None
            seen.append((progress.done, progress.images, progress.units, progress.counted))
        assert seen == [(1, 2, 0.25, 0), (2, 4, 0.5, 0), (3, 6, 0.75, 1)]
        assert members(ledger) == []

    def test_a_row_counts_once(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.split(JOB, 0, range(2))
        assert [ledger.count(JOB, "0.0", TWO_DONE) for _ in range(2)] == [True, False]
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.counted) == (2, 0)

    def test_a_split_task_does_not_count_as_a_whole(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.split(JOB, 0, range(2))
        assert not ledger.count(JOB, "0", TWO_DONE)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.counted) == (0, 0)

    def test_a_row_lost_alone_keeps_its_own_losses(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.split(JOB, 0, range(2))
        members(ledger)
        lost(ledger, "0.1", times=2)
        assert ledger.notes(JOB)[0] == {"0.1": 2}
        assert ledger.take({JOB: 9})[JOB] == [("0.1", 2)]


class TestCount:
    def test_a_task_counts_once(self, ledger: Ledger) -> None:
        opened(ledger)
        leased(ledger)
        assert [ledger.count(JOB, "0", TWO_DONE) for _ in range(2)] == [True, False]
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.counted, progress.done, progress.failed, progress.images) == (1, 2, 1, 5)
        assert (progress.units, progress.in_flight) == (0.5, 0)

    def test_it_counts_without_a_lease(self, ledger: Ledger) -> None:
        """A worker whose lease Redis forgot finishes and counts."""
        opened(ledger, tasks=1)
        assert ledger.count(JOB, "0", TWO_DONE)
        assert members(ledger) == []

    def test_nothing_of_a_counted_member_is_left_behind(self, ledger: Ledger) -> None:
        opened(ledger)
        lost(ledger)
        leased(ledger)
        ledger.count(JOB, "0", TWO_DONE)
        assert ledger.notes(JOB) == ({}, {})
        assert ledger.flights(JOB) == []

    @pytest.mark.parametrize(
        ("deltas", "streak"),
        [
            ([(0, 3, "a"), (0, 2, "a")], 5),
            ([(0, 3, "a"), (0, 2, "b")], 2),
            ([(0, 3, "a"), (1, 2, "a")], 0),
            ([(0, 3, "a"), (1, 0, ""), (0, 2, "a")], 2),
            ([(0, 3, "a"), (0, 0, ""), (0, 2, "a")], 5),
        ],
        ids=["same", "other class", "one done", "broken by done", "invalid input does not matter"],
    )
    def test_failures_of_one_class_in_a_row_are_a_streak(
        self, ledger: Ledger, deltas: list[tuple[int, int, str]], streak: int
    ) -> None:
        opened(ledger, tasks=9)
        for task, (done, pausing, name) in enumerate(deltas):
            ledger.count(JOB, str(task), CountDelta(done, pausing, done, 1, pausing, name))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert progress.streak == streak

    def test_of_a_task_that_fails_in_several_ways_only_its_end_is_a_streak(self, ledger: Ledger) -> None:
        opened(ledger, tasks=9)
        for task, delta in enumerate([CountDelta(0, 3, 0, 1, 3, "a", 3), CountDelta(0, 5, 0, 1, 5, "a", 2)]):
            ledger.count(JOB, str(task), delta)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.streak, progress.streak_class, progress.head_failures) == (2, "a", 8)

    def test_only_the_first_hundred_rows_are_the_head(self, ledger: Ledger) -> None:
        opened(ledger, tasks=9)
        for task in range(5):
            ledger.count(JOB, str(task), CountDelta(20, 20, 0, 1, 20, "a"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.head_rows, progress.head_failures) == (120, 60)
