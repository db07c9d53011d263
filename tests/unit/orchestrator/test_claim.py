"""The claim on a job id: of different submits at most one wins, whatever the order of their requests to the store, and
whichever of them are killed or stand still between two requests. No right to delete is needed.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.claim import claim
from schemas import keys
from schemas.errors import JobConflict, ServiceError, StoreRefused, StoreUnavailable
from schemas.job import JobSpec, Submission
from tests.memory_store import MemoryStore

JOB = "job"
NAMES = st.sampled_from(["ab", "abc", "aab", "aa", "abab"])
ORDER = st.lists(st.integers(0, 3), max_size=40)
KILLS = st.dictionaries(st.integers(0, 3), st.integers(1, 7), max_size=4)


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
            self._step(number)
        for number in range(len(self._threads)):  # in step they may overtake each other for long
            while not self._ended[number]:
                self._step(number)
        for thread in self._threads:
            thread.join()

    def _step(self, number: int) -> None:
        if not self._ended[number]:
            self._may[number].release()
            self._stood[number].acquire()

    def _run(self, number: int, work: Callable[[], None]) -> None:
        self._number.value = number
        work()
        self._ended[number] = True
        self._stood[number].release()


class Store(MemoryStore):
    """Refuses to delete, as it does to a client, and remembers for which manifests the id was ever taken."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: list[str] = []
        self.fault = self.refused

    def refused(self, verb: str, key: str) -> ServiceError | None:
        return StoreRefused("AccessDenied") if verb == "delete" else None

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().put(key, data, content_type, metadata)
        if key == keys.submission(JOB):
            self.owners.append(Submission.model_validate_json(data).spec.manifest_sha256)


def wants(store: Store, name: str) -> bool:
    """Whether the id is this manifest's after its submit."""
    try:
        claim(store, JOB, spec_of(name), pause=lambda seconds: None)
    except JobConflict:
        return False
    return True


def race(names: str, order: list[int], kills: Mapping[int, int]) -> tuple[Store, dict[int, bool]]:
    """Claims of the named manifests with their requests in this order; which won, by place.

    `kills`: which of them are killed (by place), and before which of their requests.
    """
    store, won, requests = Store(), dict[int, bool](), Counter[int]()
    place_of = threading.local()

    def work(place: int) -> None:
        place_of.value = place
        with suppress(StoreUnavailable):  # killed
            won[place] = wants(store, names[place])

    turns = Turns([lambda place=place: work(place) for place in range(len(names))])  # type: ignore[misc]

    def before(verb: str, key: str) -> ServiceError | None:
        turns.before_a_request(verb, key)
        requests[place_of.value] += 1
        if requests[place_of.value] >= kills.get(place_of.value, 1000):
            return StoreUnavailable("killed")
        return Store.refused(store, verb, key)

    store.fault = before
    turns.play([number for number in order if number < len(names)])
    store.fault = store.refused
    return store, won


@settings(max_examples=250)
@given(names=NAMES, order=ORDER, kills=KILLS)
def test_an_id_is_never_taken_for_two_manifests(names: str, order: list[int], kills: dict[int, int]) -> None:
    store, won = race(names, order, kills)
    winners = {names[place] for place, has in won.items() if has}
    assert len(set(store.owners)) <= 1
    assert winners <= set(store.owners)


@settings(max_examples=120)
@given(names=NAMES, order=ORDER, kills=KILLS)
def test_the_same_commands_again_make_it_the_id_of_one_of_them(
    names: str, order: list[int], kills: dict[int, int]
) -> None:
    store, _ = race(names, order, kills)
    again = {name: wants(store, name) for name in sorted(set(names))}
    assert sum(again.values()) == 1, "one of them, and not the others"
    assert again == {name: wants(store, name) for name in again}
    assert len(set(store.owners)) == 1
    assert not wants(store, "late")


@settings(max_examples=50)
@given(order=st.lists(st.integers(0, 2), max_size=30))
def test_equal_submits_all_go_on(order: list[int]) -> None:
    _, won = race("aaa", order, {})
    assert won == {0: True, 1: True, 2: True}


def cut(store: Store, name: str, request: str) -> None:
    """A submit that is killed before its first request of this kind: a verb and the end of a key."""
    verb, _, end = request.partition(" ")
    store.fault = lambda asked, key: StoreUnavailable("killed") if asked == verb and key.endswith(end) else None
    with pytest.raises(StoreUnavailable):
        claim(store, JOB, spec_of(name))
    store.fault = store.refused


MARKED = "list /"
"""The request after the failpoint `claim.marked`."""
TAKEN = "put submission.json"


class TestKilled:
    def test_after_its_mark_it_keeps_nobody_off_and_goes_on_itself(self) -> None:
        store = Store()
        cut(store, "a", MARKED)
        assert claim(store, JOB, spec_of("a")) == (False, None)

    def test_after_its_mark_another_manifest_has_the_id(self) -> None:
        store = Store()
        cut(store, "a", MARKED)
        assert wants(store, "b")
        with pytest.raises(JobConflict, match="is taken: submitted with another manifest_sha256"):
            claim(store, JOB, spec_of("a"))

    @pytest.mark.parametrize("first", ["a", "b", "c"])
    def test_two_that_were_killed_after_their_marks_leave_the_id_to_whoever_comes_next(self, first: str) -> None:
        store = Store()
        cut(store, "a", MARKED)
        cut(store, "b", MARKED)
        assert wants(store, first)
        assert [wants(store, name) for name in "abc"] == [name == first for name in "abc"]

    def test_after_its_decision_it_goes_on_and_keeps_others_off(self) -> None:
        store = Store()
        cut(store, "a", TAKEN)
        with pytest.raises(JobConflict, match="another submit, of 'm' with other content") as told:
            claim(store, JOB, spec_of("b"))
        assert "gc job --abandoned" in str(told.value.hint)
        assert claim(store, JOB, spec_of("a")) == (True, None)
        with pytest.raises(JobConflict, match="is taken: submitted with another manifest_sha256"):
            claim(store, JOB, spec_of("b"))

    def test_the_limit_of_the_first_counts_also_after_a_cut(self) -> None:
        store = Store()
        cut(store, "a", TAKEN)
        claim(store, JOB, spec_of("a").model_copy(update={"max_units": 7}))
        assert Submission.model_validate_json(store.get(keys.submission(JOB))).spec.max_units is None


def test_marks_of_an_earlier_version_bind_nobody() -> None:
    store = Store()
    store.put(f"{keys.claims_folder(JOB)}01J00000000000000000000000.json", b"{}")
    assert claim(store, JOB, spec_of("a")) == (False, None)


def test_one_that_is_overtaken_each_time_says_so_and_pauses_longer_each_time() -> None:
    store, paused = Store(), list[float]()

    def overtake(verb: str, key: str) -> ServiceError | None:
        if verb == "list":
            mine = max(mark.number for key in store.objects if (mark := keys.parse_claim(key)))
            store.objects[keys.claim(keys.ClaimKey(JOB, mine + 1, "Z" * 26, "want"))] = b"{}"
        return None

    store.fault = overtake
    with pytest.raises(JobConflict, match="wanted by other submits at this moment"):
        claim(store, JOB, spec_of("a"), pause=paused.append)
    assert len(paused) == 20
    assert 0 <= max(paused[:3]) <= 0.2 < max(paused) <= 2
    assert store.owners == []
