"""TERM, as a spot machine gets it with 30 s notice: the task is given back, and no finished image is rendered again."""

import os
import signal
import time

import psutil
import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import FLAT, PATIENT, SLOWER_STEPS
from tests.integration.mill import signal_tree

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
NOTICE_SECONDS = 30
HEARD = "Warm shutdown"  # what Celery says when it was told to end


def working(mill: FaultMill, job: str, engine: str, **variables: str) -> int:
    """An orchestrator, and a worker in the middle of its first task; returns the worker's pid."""
    mill.orchestrator()
    pid = mill.worker("termed", engine=engine, **SLOWER_STEPS, **variables)
    mill.submit(prompts(32), job)
    mill.wait_for_images(job, 8)
    return pid


def obey(mill: FaultMill, child: psutil.Process, job: str) -> None:
    """The pool child goes on with the signal that came while it stood still, and gives its task back."""
    assert len(mill.rendered(job)) < 32, "there is nothing to give back"
    told = time.monotonic()
    child.resume()
    mill.wait_for_exit("termed", NOTICE_SECONDS)
    assert time.monotonic() - told < NOTICE_SECONDS
    assert not mill.in_flight(job), "the task was not given back"


def finish(mill: FaultMill, job: str, engine: str) -> None:
    """Another worker does the rest; nothing that was finished is done again."""
    finished = set(mill.rendered(job))
    assert 8 <= len(finished) < 32, mill.logs()
    mill.worker("late", engine=engine, **PATIENT)
    assert mill.wait_for(job).done == 32
    assert mill.repeated(job) == 0, "finished images were rendered again"
    assert mill.losses(job) == 0
    mill.settle(job)


def test_a_termed_worker_gives_its_task_back_within_the_notice(mill: FaultMill, engine: str) -> None:
    pid = working(mill, "term", engine, **PATIENT)
    child = mill.stop_at_work("termed", "term")
    os.kill(pid, signal.SIGTERM)
    mill.until(lambda: HEARD in mill.log("termed"), what="the TERM with Celery")
    obey(mill, child, "term")
    finish(mill, "term", engine)


def test_term_to_the_whole_group_is_as_good_as_to_the_parent(mill: FaultMill, engine: str) -> None:
    pid = working(mill, "group", engine, **PATIENT)
    child = mill.stop_at_work("termed", "group")
    signal_tree(pid, signal.SIGTERM)
    obey(mill, child, "group")
    finish(mill, "group", engine)


def test_a_second_term_ends_the_worker_at_once_and_its_lease_brings_the_task_back(mill: FaultMill, engine: str) -> None:
    pid = working(mill, "twice", engine)
    child = mill.stop_at_work("termed", "twice")  # it cannot obey the first one
    os.kill(pid, signal.SIGTERM)
    mill.until(lambda: HEARD in mill.log("termed"), what="the first TERM with Celery")
    assert mill.runs("termed"), "the first TERM was enough: the fault tests nothing"
    os.kill(pid, signal.SIGTERM)
    mill.wait_for_exit("termed", 10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    mill.worker("late", engine=engine)
    assert mill.wait_for("twice").done == 32
    assert mill.repeated("twice") <= 32
    assert mill.losses("twice") > 0
    mill.settle("twice")


def test_a_worker_that_is_termed_between_two_tasks_ends_with_nothing_in_hand(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("idle")
    mill.submit(prompts(4), "idle")
    assert mill.wait_for("idle").done == 4
    assert mill.stop("idle", NOTICE_SECONDS) == 0
    mill.settle("idle")


def test_term_to_the_pool_process_alone_gives_its_task_back_and_another_takes_its_place(mill: FaultMill) -> None:
    working(mill, "child", FLAT, **PATIENT)
    child = mill.stop_at_work("termed", "child")
    child.send_signal(signal.SIGTERM)
    child.resume()
    assert mill.wait_for("child").done == 32
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert mill.repeated("child") == 0, "finished images were rendered again"
    mill.settle("child")
