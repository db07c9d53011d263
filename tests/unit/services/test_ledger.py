"""Every transition of the ledger, on a real Redis."""

import itertools

import pytest
from redis import Redis

from schemas.job import ControlState
from services.ledger import CountDelta, Ledger, WorkerReport
from services.settings import RedisSettings

JOB = "job"
LONG = 60.0
NOTHING = CountDelta(0, 0, 0, 0.0)
TWO_DONE = CountDelta(done=2, failed=1, images=5, units=0.5)
PAUSED = ControlState(state="paused", last="01A")
CANCELLED = ControlState(state="cancelled", last="01A")


def opened(ledger: Ledger, tasks: int = 3, **changes: object) -> None:
    assert ledger.open(JOB, **({"tasks": tasks, "priority": 100, "counts": NOTHING} | changes))  # type: ignore[arg-type]


def leased(ledger: Ledger, member: str = "0", seconds: float = LONG) -> str:
    lease = ledger.lease(JOB, member, worker="w", seconds=seconds)
    assert lease.answer == "granted"
    return lease.token


def expire(ledger: Ledger, member: str, token: str) -> None:
    """As if the worker had said nothing for a lease's time."""
    assert ledger.renew(JOB, member, token, worker="w", seconds=-1)[0] == "renewed"


def lost(ledger: Ledger, member: str = "0", times: int = 1) -> None:
    for _ in range(times):
        token = leased(ledger, member)
        expire(ledger, member, token)
        assert ledger.lose(JOB, member, token, error="gone") > 0


def members(ledger: Ledger, wanted: int = 100) -> list[str]:
    return [member for member, _ in ledger.take(JOB, wanted)]


def everything(redis: "Redis") -> set[str]:
    return set(redis.keys(f"*:job:{JOB}:*"))


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
        assert ledger.take("other", 5) == []
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
        assert ledger.take(JOB, 5) == [("1", 2), ("0", 0)]

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
        assert ledger.take(JOB, 0) == ledger.take(JOB, -3) == []


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
        assert ledger.take(JOB, 1) == [("0", 0)]

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
        assert ledger.take(JOB, 9) == [("0.0", 0), ("0.1", 0)]

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
        assert ledger.take(JOB, 9) == [("0.1", 2)]


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

    def test_only_the_first_hundred_rows_are_the_head(self, ledger: Ledger) -> None:
        opened(ledger, tasks=9)
        for task in range(5):
            ledger.count(JOB, str(task), CountDelta(20, 20, 0, 1, 20, "a"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.head_rows, progress.head_failures) == (120, 60)


class TestGrow:
    def test_after_a_retry_the_counts_are_exact(self, ledger: Ledger) -> None:
        opened(ledger, tasks=2)
        ledger.count(JOB, "0", CountDelta(done=3, failed=2, images=3, units=1))
        ledger.count(JOB, "1", CountDelta(done=4, failed=1, images=4, units=1))
        assert ledger.grow(JOB, tasks=3, retried=3)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed, progress.tasks, progress.counted) == (7, 0, 3, 2)
        assert members(ledger) == ["2"]
        ledger.count(JOB, "2", CountDelta(done=2, failed=1, images=2, units=1))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed, progress.counted) == (9, 1, 3)

    def test_a_second_retry_takes_off_its_own_rows_alone(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.count(JOB, "0", CountDelta(done=0, failed=5, images=0, units=1))
        ledger.grow(JOB, tasks=2, retried=5)
        ledger.count(JOB, "1", CountDelta(done=3, failed=2, images=3, units=1))
        ledger.grow(JOB, tasks=3, retried=5 + 2)
        ledger.count(JOB, "2", CountDelta(done=2, failed=0, images=2, units=1))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed) == (5, 0)

    def test_growing_twice_by_the_same_retry_changes_nothing(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1, counts=CountDelta(0, 5, 0, 0.0))
        assert ledger.grow(JOB, tasks=2, retried=5)
        assert not ledger.grow(JOB, tasks=2, retried=5)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert progress.failed == 0


class TestSteer:
    def test_events_take_effect_in_their_order_and_never_backwards(self, ledger: Ledger) -> None:
        opened(ledger)
        assert ledger.steer(JOB, ControlState(state="paused", priority=5, reason="r", automatic=True, last="01B"))
        assert not ledger.steer(JOB, ControlState(state="running", last="01A"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.state, progress.priority, progress.reason, progress.automatic) == ("paused", 5, "r", True)

    def test_a_resumed_job_gets_a_new_chance(self, ledger: Ledger) -> None:
        opened(ledger)
        ledger.count(JOB, "0", CountDelta(0, 30, 0, 1, 30, "a"))
        ledger.steer(JOB, ControlState(state="paused", last="01A"))
        ledger.steer(JOB, ControlState(state="running", last="01B"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.streak, progress.head_failures) == (0, 0)


class TestDrop:
    def test_nothing_of_a_dropped_job_is_left(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger, tasks=4, counted=b"\x10")
        members(ledger, 1)
        leased(ledger, "1")
        ledger.split(JOB, 2, range(2))
        lost(ledger, "2.0")
        ledger.sample(JOB, 3)
        assert len(everything(redis)) == 10
        assert ledger.drop(JOB, tasks=4)
        assert everything(redis) == set()

    def test_a_job_that_grew_meanwhile_is_kept(self, ledger: Ledger) -> None:
        opened(ledger, tasks=4)
        ledger.grow(JOB, tasks=5, retried=1)
        assert not ledger.drop(JOB, tasks=4)
        assert ledger.progress(JOB) is not None

    def test_a_worker_that_still_renders_brings_nothing_back(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger)
        token = leased(ledger)
        ledger.drop(JOB, tasks=3)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "missing"
        assert not ledger.give_back(JOB, "0", token)
        assert not ledger.count(JOB, "0", TWO_DONE)
        assert everything(redis) == set()


class TestRate:
    def test_images_per_second_over_the_samples(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        times = iter([10_000, 12_000, 14_000])
        monkeypatch.setattr(ledger, "now", lambda: next(times))
        for images in (100, 110, 120):
            ledger.sample(JOB, images)
        assert ledger.rate(JOB) == 5.0

    def test_only_the_last_samples_count(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        times = itertools.count(0, 1000)
        monkeypatch.setattr(ledger, "now", lambda: next(times))
        for images in [0] * 50 + list(range(0, 300, 10)):
            ledger.sample(JOB, images)
        assert ledger.rate(JOB) == 10.0

    def test_one_sample_or_a_step_back_is_no_rate(self, ledger: Ledger) -> None:
        ledger.sample(JOB, 100)
        assert ledger.rate(JOB) == 0.0
        ledger.sample(JOB, 10)
        assert ledger.rate(JOB) == 0.0

    def test_samples_of_a_job_that_nobody_tends_are_forgotten(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.sample(JOB, 100)
        assert 0 < redis.ttl(f"test:job:{JOB}:samples") <= 3600


class TestPresence:
    def test_a_worker_is_there_from_its_report_until_it_leaves(self, ledger: Ledger) -> None:
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        assert [(found.worker, found.pid) for found in ledger.workers()] == [("w-1", 7)]
        ledger.leave("w-1")
        assert ledger.workers() == []

    def test_a_silent_worker_is_forgotten(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        assert ledger.workers(within_seconds=-1) == []
        assert redis.hgetall("test:workers") == {}

    def test_a_report_of_another_version_hides_nobody_else(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        redis.hset("test:workers", mapping={"w-2": '{"worker":"w-2","new":1}', "w-3": "junk"})
        assert [found.worker for found in ledger.workers()] == ["w-1"]


class TestHints:
    def test_announced_jobs_are_taken_once(self, ledger: Ledger) -> None:
        ledger.announce("a")
        ledger.announce("b")
        ledger.announce("a")
        assert ledger.announced() == {"a", "b"}
        assert ledger.announced() == set()


class TestLeader:
    def test_one_leads_until_it_resigns(self, ledger: Ledger) -> None:
        assert ledger.lead("a", LONG)
        assert not ledger.lead("b", LONG)
        assert ledger.lead("a", LONG)
        ledger.resign("b")
        assert not ledger.lead("b", LONG)
        ledger.resign("a")
        assert ledger.lead("b", LONG)

    def test_a_silent_leader_is_followed(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.lead("a", LONG)
        assert 0 < redis.pttl("test:leader") <= LONG * 1000
        redis.delete("test:leader")
        assert ledger.lead("b", LONG)
        assert not ledger.lead("a", LONG)


def test_two_prefixes_share_a_redis_and_nothing_else(redis: "Redis", redis_server: RedisSettings) -> None:
    one, two = (Ledger(redis, prefix=prefix, place="here") for prefix in ("one", "two"))
    opened(one)
    one.announce(JOB)
    assert two.progress(JOB) is None
    assert two.announced() == set()
    assert two.lead("b", LONG)
    assert one.lead("a", LONG)
