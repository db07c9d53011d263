"""What `run` shows while it waits."""

from collections.abc import Callable

import pytest

from orchestrator.cli import watching
from orchestrator.client import Client
from orchestrator.status import JobStatus
from schemas.errors import JobPaused, LedgerUnavailable, ServiceError, UnreadableObject

AWAY = LedgerUnavailable("Redis at here does not answer")


def seen(state: str, done: int = 0, **said: object) -> JobStatus:
    values = {"job": "j", "state": state, "priority": 100, "rows": 4, "images_planned": 4, "submitted_at": "2026"}
    return JobStatus.model_validate(values | {"done": done} | said)


class Looks(Client):
    """Looks that show what a test says."""

    def __init__(self, *found: JobStatus | ServiceError) -> None:
        self.found = list(found)

    def status(self, job: str) -> JobStatus:
        found = self.found.pop(0)
        if isinstance(found, ServiceError):
            raise found
        return found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0)
    monkeypatch.setattr(watching, "LINE_SECONDS", -1)


def checks(number: int) -> tuple[list[int], Callable[[], None]]:
    """A check that is called so many times, and then raises."""
    called: list[int] = []

    def check() -> None:
        called.append(1)
        if len(called) > number:
            raise RuntimeError("a worker ended")

    return called, check


def test_an_outage_ends_no_watch_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    called, check = checks(9)
    status = watching.watch(Looks(seen("running", 1), AWAY, AWAY, seen("done", 4)), "j", check)
    assert (status.done, len(called)) == (4, 4)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0].split(",")[0] for line in lines] == [
        "running: 1 of 4 rows",
        AWAY.message,
        AWAY.message,
        "done: 4 of 4 rows",
    ]


def test_a_worker_that_ends_during_an_outage_ends_the_watch() -> None:
    _, check = checks(1)
    with pytest.raises(RuntimeError, match="a worker ended"):
        watching.watch(Looks(seen("running"), AWAY), "j", check)


def test_services_that_were_never_there_are_not_waited_for() -> None:
    with pytest.raises(LedgerUnavailable):
        watching.watch(Looks(AWAY), "j", lambda: None)


def test_what_cannot_be_understood_is_not_waited_for() -> None:
    with pytest.raises(UnreadableObject):
        watching.watch(Looks(seen("running"), UnreadableObject("of a later version")), "j", lambda: None)


def test_a_pause_by_hand_is_told_once_and_one_by_itself_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    paused = seen("paused", reason="by hand")
    itself = seen("paused", reason="20 errors", automatic=True)
    with pytest.raises(JobPaused, match="20 errors") as told:
        watching.watch(Looks(paused, paused, seen("running"), itself), "j", lambda: None)
    assert "give the same command again" in str(told.value.hint)
    assert capsys.readouterr().err.count("promptmill resume j") == 1
