"""The claim on a job id: of different submits at most one wins, whatever the order of their requests to the store."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.claim import claim
from schemas import keys
from schemas.errors import JobConflict, StoreUnavailable
from schemas.job import JobSpec, Submission
from tests.memory_store import MemoryStore

JOB = "job"


def spec_of(name: str) -> JobSpec:
    return JobSpec(manifest_name="m", manifest_sha256=name, manifest_format="jsonl", task_units=1, task_rows=1)


class Turns:
    """Lets threads make one request to the store each, in a given order."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._may = [threading.Semaphore(0) for _ in work]
        self._stood = [threading.Semaphore(0) for _ in work]
        self._number = threading.local()
        self._ended = [False] * len(work)
        self._threads = [threading.Thread(target=self._run, args=(at, one)) for at, one in enumerate(work)]

    def before_a_request(self, verb: str, key: str) -> None:
        number = self._number.value
        self._stood[number].release()
        self._may[number].acquire()

    def play(self, order: list[int]) -> None:
        for number, thread in enumerate(self._threads):
            thread.start()
            self._stood[number].acquire()
        for number in [*order, *list(range(len(self._threads))) * 20]:
            if not self._ended[number]:
                self._may[number].release()
                self._stood[number].acquire()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, work: Callable[[], None]) -> None:
        self._number.value = number
        work()
        self._ended[number] = True
        self._stood[number].release()


def race(names: list[str], order: list[int]) -> tuple[MemoryStore, dict[int, bool]]:
    """Claims of the named manifests with their requests in this order; which won, by place."""
    store, won = MemoryStore(), dict[int, bool]()

    def work(place: int) -> None:
        try:
            claim(store, JOB, spec_of(names[place]))
        except JobConflict:
            won[place] = False
        else:
            won[place] = True

    turns = Turns([lambda place=place: work(place) for place in range(len(names))])  # type: ignore[misc]
    store.fault = turns.before_a_request  # type: ignore[assignment]
    turns.play(order)
    store.fault = lambda verb, key: None
    return store, won


@settings(max_examples=300)
@given(names=st.sampled_from(["ab", "abc", "aab", "aa", "abab"]), order=st.lists(st.integers(0, 3), max_size=24))
def test_of_different_manifests_at_most_one_wins(names: str, order: list[int]) -> None:
    store, won = race(list(names), [number for number in order if number < len(names)])
    winners = {names[place] for place, has in won.items() if has}
    assert len(winners) <= 1
    if winners:
        owner = Submission.model_validate_json(store.get(keys.submission(JOB)))
        assert {owner.spec.manifest_sha256} == winners
    else:
        assert claim(store, JOB, spec_of("late")) == (False, None), "who gave way left something behind"


@settings(max_examples=50)
@given(order=st.lists(st.integers(0, 2), max_size=20))
def test_equal_submits_all_go_on(order: list[int]) -> None:
    _, won = race(["a", "a", "a"], order)
    assert all(won.values())


def test_a_submit_that_died_after_its_mark_goes_on_and_keeps_others_off(memory_store: MemoryStore) -> None:
    memory_store.fault = lambda verb, key: (
        StoreUnavailable("killed") if verb == "put" and key == keys.submission(JOB) else None
    )
    with pytest.raises(StoreUnavailable):
        claim(memory_store, JOB, spec_of("a"))
    memory_store.fault = lambda verb, key: None
    with pytest.raises(JobConflict, match="wanted by another submit at this moment, or by one that was cut short"):
        claim(memory_store, JOB, spec_of("b"))
    assert claim(memory_store, JOB, spec_of("a")) == (True, None)
    with pytest.raises(JobConflict, match="is taken: submitted with another manifest_sha256"):
        claim(memory_store, JOB, spec_of("b"))
