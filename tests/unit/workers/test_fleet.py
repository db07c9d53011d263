"""The processes of one machine: one for each environment, started again when one dies, ended together."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import workers.fleet
from workers.fleet import Fleet
from workers.workplace import NAME_VARIABLE

# Stands in for Python: says that it is there, and ends on TERM if `ends` exists.
PROGRAM = """#!/bin/sh
trap '[ -e ends ] && exit 0' TERM
echo $$ >> "$PROMPTMILL_WORKER_NAME.pids"
while :; do sleep 0.02; done
"""


def until(happened: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the processes run in, with a program instead of a worker."""
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / "ends").touch()
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(workers.fleet, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(workers.fleet, "RESTART_SECONDS", (0.05, 30.0))
    monkeypatch.chdir(tmp_path)
    # Whatever goes wrong, a TERM of these tests does not end the tests.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)
    for pid in pids(tmp_path, "a") + pids(tmp_path, "b"):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def pids(folder: Path, name: str) -> list[int]:
    path = folder / f"{name}.pids"
    return [int(text) for text in path.read_text().split()] if path.exists() else []


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def fleet(*names: str) -> Fleet:
    return Fleet([dict(os.environ) | {NAME_VARIABLE: name} for name in names])


Meanwhile = Callable[[Callable[[], None]], None]


@pytest.fixture
def meanwhile(folder: Path) -> Iterator[Meanwhile]:
    """Does work beside `Fleet.run`, which needs the main thread for its signals; a TERM follows in any case."""
    threads, faults = [], []

    def do(work: Callable[[], None]) -> None:
        try:
            work()
        except AssertionError as fault:
            faults.append(fault)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def begin(work: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=do, args=(work,)))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()
    assert not faults


def test_one_process_for_each_environment_and_all_end_with_term(folder: Path, meanwhile: Meanwhile) -> None:
    meanwhile(lambda: until(lambda: pids(folder, "a") and pids(folder, "b")))
    assert fleet("a", "b").run() == 0
    assert not any(lives(pid) for pid in pids(folder, "a") + pids(folder, "b"))


def test_one_that_dies_is_started_again_and_the_other_left_alone(folder: Path, meanwhile: Meanwhile) -> None:
    def kill_a() -> None:
        until(lambda: pids(folder, "a") and pids(folder, "b"))
        os.kill(pids(folder, "a")[0], signal.SIGKILL)
        until(lambda: len(pids(folder, "a")) == 2)

    meanwhile(kill_a)
    fleet("a", "b").run()
    assert (len(pids(folder, "a")), len(pids(folder, "b"))) == (2, 1)


def test_one_that_dies_again_and_again_is_started_ever_more_slowly(folder: Path, meanwhile: Meanwhile) -> None:
    def kill_twice() -> None:
        for times in (1, 2):
            until(lambda times=times: len(pids(folder, "a")) == times)  # type: ignore[misc]
            os.kill(pids(folder, "a")[-1], signal.SIGKILL)
        time.sleep(0.3)

    meanwhile(kill_twice)
    fleet("a").run()
    assert len(pids(folder, "a")) == 2


def test_one_that_lived_long_is_started_again_at_once(
    folder: Path, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.fleet, "STEADY_SECONDS", 0.0)
    monkeypatch.setattr(workers.fleet, "RESTART_SECONDS", (30.0,))

    def kill_often() -> None:
        for times in (1, 2, 3):
            until(lambda times=times: len(pids(folder, "a")) == times)  # type: ignore[misc]
            os.kill(pids(folder, "a")[-1], signal.SIGKILL)
        until(lambda: len(pids(folder, "a")) == 4)

    meanwhile(kill_often)
    fleet("a").run()
    assert len(pids(folder, "a")) == 4


def test_a_second_signal_ends_what_does_not_listen(folder: Path, meanwhile: Meanwhile) -> None:
    (folder / "ends").unlink()

    def insist() -> None:
        until(lambda: pids(folder, "a"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        assert lives(pids(folder, "a")[0]), "the first one lets the task stop by itself"

    meanwhile(insist)
    assert fleet("a").run() == 0
    assert not lives(pids(folder, "a")[0])


def test_a_signal_while_a_process_starts_reaches_it_and_starts_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with many GPUs TERM may well come while the first ones start."""
    real = workers.fleet.subprocess.Popen

    def slow(*arguments: object, **options: object) -> object:
        process = real(*arguments, **options)  # type: ignore[call-overload]
        until(lambda: pids(folder, "a"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        return process

    monkeypatch.setattr(workers.fleet.subprocess, "Popen", slow)
    assert fleet("a", "b").run() == 0
    assert not lives(pids(folder, "a")[0])
    assert pids(folder, "b") == []
