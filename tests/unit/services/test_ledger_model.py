"""Any order of takes, leases, losses, returns, splits, counts, retries, drops and flushes against a small model.

The model holds each member's state by name; the ledger holds it in six Redis structures. After every step both
must tell the same: who is in flight and who waits, and the counts to the row.
"""

import os
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis

from schemas.job import ControlState
from services.ledger import CountDelta, Ledger

JOB = "job"
ROWS = 2  # of every task
LONG = 600.0
DEFAULT_EXAMPLES = 50
EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", DEFAULT_EXAMPLES))  # more of them look at random


@dataclass
class Held:
    """A lease: its token, and whether its time is over."""

    token: str
    expired: bool = False


class LedgerMachine(RuleBasedStateMachine):
    """`waiting`, `again`, `published`, `leased` and `counted` share out the members; `zombies` hold old tokens."""

    def __init__(self, ledger: Ledger, redis: "Redis") -> None:
        super().__init__()
        redis.flushall()
        self.ledger, self.redis = ledger, redis
        self.tasks, self.ulid, self.state = 2, 0, "running"
        self.waiting = {str(task) for task in range(self.tasks)}
        self.again: set[str] = set()
        self.later: set[str] = set()  # of those again, the ones whose time has not come
        self.held = False
        self.suspect = ""
        self.published: set[str] = set()
        self.leased: dict[str, Held] = {}
        self.counted: set[str] = set()
        self.split_tasks: set[str] = set()
        self.losses: dict[str, int] = {}
        self.zombies: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self.retried = 0
        self.counts: dict[str, tuple[int, int]] = {}
        ledger.open(JOB, tasks=self.tasks, priority=1, counts=CountDelta(0, 0, 0, 0.0))

    @property
    def base(self) -> str:
        return f"{self.ledger._prefix}:job:{JOB}"

    @property
    def done(self) -> int:
        return sum(done for done, _ in self.counts.values())

    @property
    def failed(self) -> int:
        return sum(failed for _, failed in self.counts.values()) - self.retried

    def put(self, member: str, where: set[str]) -> None:
        for place in (self.waiting, self.again, self.published, self.later):
            place.discard(member)
        self.leased.pop(member, None)
        where.add(member)

    def open_members(self) -> list[str]:
        return sorted(self.waiting | self.again | self.published | self.leased.keys())

    def any_name(self, data: st.DataObject) -> str:
        """Members that are, more often than those that were or never will be."""
        names = [str(task) for task in range(self.tasks + 1)]
        every = names + [f"{task}.{row}" for task in names for row in range(ROWS)]
        return data.draw(st.sampled_from([*self.open_members(), *sorted(self.again), *sorted(self.again), *every]))

    @rule(wanted=st.integers(1, 4))
    def take(self, wanted: int) -> None:
        taken = dict(self.ledger.take({JOB: wanted})[JOB])
        if self.state != "running" or self.held:
            assert not taken
            return
        due = self.again - self.later
        assert taken.keys() <= due | self.waiting
        assert len(taken) == min(wanted, len(due | self.waiting))
        assert len(taken.keys() & due) == min(wanted, len(due))
        for member, losses in taken.items():
            assert losses == self.losses.get(member, 0)
            self.put(member, self.published)

    @rule(data=st.data())
    def lease(self, data: st.DataObject) -> None:
        member = self.any_name(data)
        lease = self.ledger.lease(JOB, member, worker="w", seconds=LONG)
        assert lease.answer == self.expected_answer(member)
        if lease.answer == "granted":
            self.put(member, set())
            self.leased[member] = Held(lease.token)
            assert lease.token not in self.tokens
            assert not self.tokens or lease.token[:12] >= self.tokens[-1][:12]
            self.tokens.append(lease.token)
        elif lease.answer in ("paused", "cancelled") and member not in self.later:
            self.put(member, self.again)

    def expected_answer(self, member: str) -> str:
        task = member.split(".")[0]
        if int(task) >= self.tasks:
            return "unknown"
        if task in self.counted or ("." in member and member not in self.open_members()):
            return "counted"
        if member in self.split_tasks:
            return "split"
        if member in self.leased:
            return "leased"
        return "granted" if self.state == "running" else self.state

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), expired=st.booleans())
    def renew(self, data: st.DataObject, expired: bool) -> None:
        member = data.draw(st.sampled_from(sorted(self.leased)))
        held = self.leased[member]
        seconds = -1 if expired else LONG
        assert self.ledger.renew(JOB, member, held.token, worker="w", seconds=seconds) == ("renewed", self.state)
        held.expired = expired

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def renew_as_zombie(self, data: st.DataObject) -> None:
        member, token = data.draw(st.sampled_from(self.zombies))
        answer = self.ledger.renew(JOB, member, token, worker="w", seconds=LONG)[0]
        if self.expected_answer(member) in ("granted", "paused", "cancelled"):
            assert answer == "renewed"
            self.put(member, set())
            self.leased[member] = Held(token)
            self.zombies.remove((member, token))
        else:
            assert answer == "lost"

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), delayed=st.booleans(), suspect=st.booleans())
    def give_back(self, data: st.DataObject, delayed: bool, suspect: bool) -> None:
        member = data.draw(st.sampled_from(sorted(self.leased)))
        token = self.leased[member].token
        delay = LONG if delayed else 0
        assert self.ledger.give_back(JOB, member, token, delay_seconds=delay, error="away", suspect=suspect)
        self.zombies.append((member, token))
        self.put(member, self.again)
        self.later |= {member} if delayed else set()
        self.suspect = member if suspect else self.suspect

    @precondition(lambda self: self.later)
    @rule()
    def time_passes(self) -> None:
        """Every delay is over."""
        self.redis.zadd(f"{self.base}:again", dict.fromkeys(self.later, 0))
        self.later = set()

    @rule()
    def the_plan_is_sound(self) -> None:
        self.ledger.clear_suspicion(JOB)
        self.suspect = ""

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def lose_as_two_dispatchers(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(sorted(self.leased)))
        held = self.leased[member]
        answers = [self.ledger.lose(JOB, member, held.token, error="gone") for _ in range(2)]
        if not held.expired:
            assert answers == [-1, -1]
            return
        self.losses[member] = self.losses.get(member, 0) + 1
        assert answers == [self.losses[member], -1]
        self.zombies.append((member, held.token))
        self.put(member, self.again)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def break_off(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(sorted(self.leased)))
        token = self.leased[member].token
        self.losses[member] = self.losses.get(member, 0) + 1
        assert self.ledger.break_off(JOB, member, token, error="a fault") == self.losses[member]
        self.zombies.append((member, token))
        self.put(member, self.again)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data(), how=st.sampled_from(["lose", "break_off", "give_back"]))
    def release_as_zombie(self, data: st.DataObject, how: str) -> None:
        member, token = data.draw(st.sampled_from(self.zombies))
        if how == "lose":
            assert self.ledger.lose(JOB, member, token, error="") == -1
        elif how == "break_off":
            assert self.ledger.break_off(JOB, member, token, error="") == -1
        else:
            assert not self.ledger.give_back(JOB, member, token)

    @rule(data=st.data(), late=st.booleans())
    def requeue(self, data: st.DataObject, late: bool) -> None:
        member = self.any_name(data)
        since = {flight.member: flight.since for flight in self.ledger.flights(JOB)}.get(member, 0)
        done = self.ledger.requeue(JOB, member, since - late)
        assert done == (member in self.published and not late)
        if done:
            self.put(member, self.again)

    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        task = data.draw(st.integers(0, self.tasks))
        member = str(task)
        done = self.ledger.split(JOB, task, range(ROWS))
        assert done == (member in self.waiting | self.again | self.published)
        if done:
            self.put(member, set())
            self.losses.pop(member, None)
            self.split_tasks.add(member)
            self.again |= {f"{member}.{row}" for row in range(ROWS)}

    @rule(data=st.data(), failures=st.integers(0, 1), doubled=st.booleans())
    def count(self, data: st.DataObject, failures: int, doubled: bool) -> None:
        member = self.any_name(data)
        rows = 1 if "." in member else ROWS
        counts = self.expected_answer(member) not in ("unknown", "counted", "split")
        delta = CountDelta(done=rows - failures, failed=failures, images=2 * (rows - failures), units=0.0)
        assert self.ledger.count(JOB, member, delta) == counts
        if doubled:  # the answer was lost, or two workers finished
            assert not self.ledger.count(JOB, member, delta)
        if counts:
            self.counts[member] = (delta.done, delta.failed)
            self.finish(member)

    def finish(self, member: str) -> None:
        if member in self.leased:
            self.zombies.append((member, self.leased[member].token))
        self.put(member, set())
        self.losses.pop(member, None)
        task = member.split(".")[0]
        if not any(name.split(".")[0] == task for name in self.open_members()):
            self.counted.add(task)
            self.split_tasks.discard(task)
            self.losses.pop(task, None)

    @precondition(lambda self: len(self.counted) == self.tasks and self.failed)
    @rule()
    def retry(self) -> None:
        self.retried += self.failed
        self.waiting.add(str(self.tasks))
        self.tasks += 1
        assert [self.ledger.grow(JOB, tasks=self.tasks, retried=self.retried) for _ in range(2)] == [True, False]

    @rule(state=st.sampled_from(["running", "paused", "running", "cancelled"]))
    def steer(self, state: str) -> None:
        self.ulid += 1
        if self.state == "paused" and state == "running":
            self.suspect = ""
        self.state = state
        control = ControlState(state=state, priority=self.ulid, last=f"{self.ulid:026d}")  # type: ignore[arg-type]
        assert self.ledger.steer(JOB, control)
        assert not self.ledger.steer(JOB, ControlState(state="cancelled", last=f"{self.ulid - 1:026d}"))

    @rule()
    def a_known_job_is_not_opened_again(self) -> None:
        assert not self.ledger.open(JOB, tasks=99, priority=9, counts=CountDelta(9, 9, 9, 9.0), hold_seconds=LONG)

    @precondition(lambda self: self.held)
    @rule()
    def the_hold_ends(self) -> None:
        self.redis.hset(f"{self.base}:meta", "hold", 0)
        self.held = False

    @rule(dropped=st.booleans(), held=st.booleans())
    def forget_and_rebuild(self, dropped: bool, held: bool) -> None:
        """What is in flight is forgotten, what the store holds is not; a row counted alone waits for its task."""
        if dropped:
            assert not self.ledger.drop(JOB, tasks=self.tasks - 1), "it has grown since"
            assert self.ledger.drop(JOB, tasks=self.tasks)
        else:
            self.redis.flushall()
        self.nothing_is_known()
        bits = bytearray((self.tasks + 7) // 8)
        for task in self.counted:
            bits[int(task) // 8] |= 0x80 >> int(task) % 8
        self.zombies += [(member, held.token) for member, held in self.leased.items() if "." not in member]
        self.zombies = [zombie for zombie in self.zombies if "." not in zombie[0]]
        self.again, self.published, self.leased, self.losses, self.split_tasks = set(), set(), {}, {}, set()
        self.later, self.held, self.suspect = set(), held, ""
        self.waiting = {str(task) for task in range(self.tasks)} - self.counted
        self.state, self.ulid = "running", 0
        self.counts = {name: rows for name, rows in self.counts.items() if name.split(".")[0] in self.counted}
        progress = CountDelta(self.done, self.failed, 2 * self.done, 0.0)
        found = {"counts": progress, "counted": bytes(bits), "hold_seconds": LONG if held else 0}
        assert self.ledger.open(JOB, tasks=self.tasks, priority=1, retried=self.retried, **found)  # type: ignore[arg-type]

    def nothing_is_known(self) -> None:
        """Of a job that the ledger does not know there is nothing, and no member of it can be had."""
        assert not [key for key in self.redis.keys(f"{self.base}:*") if not key.endswith(":samples")]
        assert self.ledger.progress(JOB) is None
        assert self.ledger.take({JOB: 9}) == {JOB: []}
        assert self.ledger.lease(JOB, "0", worker="w", seconds=LONG).answer == "unknown"
        assert self.ledger.renew(JOB, "0", "0" * 16, worker="w", seconds=LONG)[0] == "missing"
        assert not self.ledger.give_back(JOB, "0", "0" * 16)
        assert self.ledger.lose(JOB, "0", "0" * 16, error="") == -1
        assert not self.ledger.requeue(JOB, "0", 0)
        assert not self.ledger.split(JOB, 0, range(ROWS))
        assert not self.ledger.count(JOB, "0", CountDelta(ROWS, 0, ROWS, 0.0))
        assert not self.ledger.grow(JOB, tasks=99, retried=9)
        assert not self.ledger.steer(JOB, ControlState(state="cancelled", last="9" * 26))
        assert not self.redis.keys(f"{self.base}:*"), "a question made something"

    @invariant()
    def both_tell_the_same(self) -> None:
        flights = {flight.member: flight.token for flight in self.ledger.flights(JOB)}
        expected = dict.fromkeys(self.published, "") | {name: held.token for name, held in self.leased.items()}
        assert flights == expected
        progress = self.ledger.progress(JOB)
        assert progress is not None
        assert progress.again == len(self.again)
        assert (progress.tasks, progress.counted, progress.state) == (self.tasks, len(self.counted), self.state)
        assert progress.suspect == self.suspect
        assert (progress.done, progress.failed, progress.images) == (self.done, self.failed, 2 * self.done)
        assert self.ledger.notes(JOB)[0] == self.losses
        rows = Counter[str]()
        for member, (done, failed) in self.counts.items():
            rows[member.split(".")[0]] += done + failed
        assert {task for task, count in rows.items() if count == ROWS} == self.counted


@pytest.mark.timeout(600)  # a failure is made smaller for minutes before it is told
def test_the_ledger_does_what_a_model_of_it_does(ledger: Ledger, redis: "Redis") -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(ledger, redis),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=EXAMPLES == DEFAULT_EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
