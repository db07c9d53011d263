"""TERM, as a spot machine gets it with 30 s notice: the task is given back, and no finished image is rendered again."""

import os
import signal
import time

import psutil
import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import FLAT, SLOW_STEPS
from tests.integration.mill import signal_tree

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
NOTICE_SECONDS = 30


def working(mill: FaultMill, job: str, engine: str) -> int:
    """An orchestrator, and a worker in the middle of its first task; returns the worker's pid."""
    mill.orchestrator()
    pid = mill.worker("termed", engine=engine, **SLOW_STEPS)
    mill.submit(prompts(32), job)
    mill.wait_for_images(job, 8)
    return pid


def finish(mill: FaultMill, job: str, engine: str) -> None:
    """Another worker does the rest; nothing that was finished is done again."""
    finished = set(mill.rendered(job))
    assert 8 <= len(finished) < 32, mill.logs()
    mill.worker("late", engine=engine)
    assert mill.wait_for(job).done == 32
    assert mill.repeated(job) == 0, "finished images were rendered again"
    assert mill.client.ledger.progress(job) is None
    mill.settle(job)


def test_a_termed_worker_gives_its_task_back_within_the_notice(mill: FaultMill, engine: str) -> None:
    working(mill, "term", engine)
    started = time.monotonic()
    assert mill.stop("termed", NOTICE_SECONDS) == 0
    assert time.monotonic() - started < NOTICE_SECONDS
    assert not mill.in_flight("term"), "the task was not given back"
    finish(mill, "term", engine)


def test_term_to_the_whole_group_is_as_good_as_to_the_parent(mill: FaultMill, engine: str) -> None:
    pid = working(mill, "group", engine)
    signal_tree(pid, signal.SIGTERM)
    mill.wait_for_exit("termed", NOTICE_SECONDS)
    assert not mill.in_flight("group"), "the task was not given back"
    finish(mill, "group", engine)


def test_a_second_term_ends_the_worker_at_once_and_its_lease_brings_the_task_back(mill: FaultMill, engine: str) -> None:
    pid = working(mill, "twice", engine)
    child = mill.pool_child("termed")
    child.suspend()  # it cannot obey the first one
    os.kill(pid, signal.SIGTERM)
    mill.until(lambda: psutil.Process(pid).status() != psutil.STATUS_ZOMBIE, what="the first signal")
    time.sleep(0.5)  # two signals at the same moment are one
    assert mill.runs("termed"), "the first TERM was enough: the fault tests nothing"
    os.kill(pid, signal.SIGTERM)
    mill.wait_for_exit("termed", 10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    mill.worker("late", engine=engine)
    assert mill.wait_for("twice").done == 32
    assert mill.repeated("twice") <= 32
    mill.settle("twice")


def test_a_worker_that_is_termed_between_two_tasks_ends_with_nothing_in_hand(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("idle")
    mill.submit(prompts(4), "idle")
    assert mill.wait_for("idle").done == 4
    assert mill.stop("idle", NOTICE_SECONDS) == 0
    mill.settle("idle")


def test_term_to_the_pool_process_alone_gives_its_task_back_and_another_takes_its_place(mill: FaultMill) -> None:
    working(mill, "child", FLAT)
    child = mill.pool_child("termed")
    child.send_signal(signal.SIGTERM)
    assert mill.wait_for("child").done == 32
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert mill.repeated("child") == 0, "finished images were rendered again"
    mill.settle("child")
