"""`python -m tests.faults.soak`: jobs of thousands of rows, workers, and one fault after the other, by a seed.

Every job holds rows that fail by themselves in known ways; all others must be done, whatever was broken meanwhile.
Some jobs are cancelled on the way, of some the failed rows are rendered again. After each job the invariant is checked,
at the end also that no orphan stays after their collection.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.job import Summary
from services.embedded.processes import GuardedProcesses
from services.settings import WorkerSettings
from tests.faults.fault_mill import FaultMill, FaultServices
from tests.faults.injectors import FAULTS, Plant
from tests.faults.recovery import Recovery
from tests.faults.rooms import FLAT, TINY
from tests.integration.mill import QUICK

PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "2"}
JOB_SECONDS = 900.0  # after the last fault
CANCELLED, RETRIED = 0.2, 0.5  # shares of the jobs


@dataclass
class Record:
    """What fired, and how long it took until what was in flight was done."""

    fired: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    images: int = 0
    again: int = 0
    cancelled: int = 0  # jobs
    retried: int = 0

    def table(self) -> str:
        """One line for each fault."""
        lines = ["| fault | times | longest recovery, s | mean, s |", "|---|---|---|---|"]
        for name, times in sorted(self.fired.items()):
            known = self.seconds.get(name) or [0.0]
            lines.append(f"| {name} | {times} | {max(known):.1f} | {sum(known) / len(known):.1f} |")
        return "\n".join(lines)


def rows_of(count: int, dice: random.Random) -> tuple[list[dict[str, Any]], Counter[str]]:
    """A manifest, and how many of its rows must fail, by class."""
    rows: list[dict[str, Any]] = [{"prompt": f"picture {number}"} for number in range(count)]
    expected: Counter[str] = Counter()
    for place in dice.sample(range(count), count // 50):
        rows[place]["num_images"] = 2
    for text, failure, number in (("!oom>2", "", 5), ("!oom>0", "out_of_memory", 3), ("!exit", "poison", 1)):
        for place in dice.sample(range(count), number):
            if "!" not in rows[place]["prompt"]:
                rows[place]["prompt"] += f" {text}"
                if failure:
                    expected[failure] += 1
    return rows, expected


class Soak:
    """Runs jobs one after the other until the time is over."""

    def __init__(self, plant: Plant, rows: int, pause: float, say: Callable[[str], None]) -> None:
        self.plant, self._rows, self._pause, self._say = plant, rows, pause, say
        self.book = Record()

    def run(self, seconds: float) -> None:
        """Soak for so long, and until the last job has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._run_job(end)

    def _run_job(self, end: float) -> None:
        plant, mill = self.plant, self.plant.mill
        plant.job = f"soak-{len(self.book.jobs) + 1}"
        rows, expected = rows_of(self._rows, plant.dice)
        cancelled_after = plant.dice.randint(1, 12) if plant.dice.random() < CANCELLED else None
        started = time.monotonic()
        mill.submit(rows, plant.job)
        mill.wait_for_lease(plant.job)
        watches: list[tuple[str, Recovery]] = []
        cancelled = False
        while not mill.ended(plant.job) and time.monotonic() < end:
            self._break_something(watches)
            if len(watches) == cancelled_after and (cancelled := mill.steer(plant.job, "cancel")):
                self._say("  job cancelled")
                self.book.cancelled += 1
            _until(lambda: mill.ended(plant.job), plant.dice.uniform(0.5, 2) * self._pause)
        summary = self._check(expected, cancelled=cancelled)
        if summary.state == "done" and plant.dice.random() < RETRIED:
            self._say("  failed rows again")
            mill.client.retry(plant.job)
            self.book.retried += 1
            self._break_something(watches)
            summary = self._check(expected, cancelled=False)
        self._note(watches)
        self._say(
            f"{plant.job}: invariant holds: {summary.done} done + {summary.failed} failed + {summary.cancelled} "
            f"cancelled = {summary.planned}; {len(watches)} faults, {time.monotonic() - started:.0f} s"
        )

    def _check(self, expected: Counter[str], *, cancelled: bool) -> Summary:
        """Wait for the end of the job. Rows failed as they must; of a cancelled job only some had their turn."""
        job, mill = self.plant.job, self.plant.mill
        _until(lambda: mill.ended(job), JOB_SECONDS)
        summary = mill.check_invariant(job)
        failed = Counter(summary.failures)
        if summary.state == "cancelled" and not cancelled:
            raise AssertionError(f"{job}: nobody cancelled it")
        if failed != expected and not (summary.state == "cancelled" and failed <= expected):
            raise AssertionError(f"{job}: failed {summary.failures}, expected {dict(expected)}")
        return summary

    def _note(self, watches: list[tuple[str, Recovery]]) -> None:
        for name, watch in watches:
            self.book.seconds.setdefault(name, []).append(watch.join() or float("inf"))
        rendered = self.plant.mill.rendered(self.plant.job)
        self.book.images += len(rendered)
        self.book.again += sum(rendered.values()) - len(rendered)
        self.book.jobs.append(self.plant.job)

    def _break_something(self, watches: list[tuple[str, Recovery]]) -> None:
        fault = self.plant.dice.choice(FAULTS)
        watch = Recovery(self.plant.mill, self.plant.job)
        self._say(f"  {fault.__name__}")
        fault(self.plant)
        self.book.fired[fault.__name__] += 1
        watches.append((fault.__name__, watch))

    def settle(self) -> None:
        """End every process, collect orphans, and check all jobs once more."""
        self.plant.mill.end_all()
        for job in self.book.jobs:
            self.plant.mill.collect(job)


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=4, help="seconds between two faults, on average")
    parser.add_argument("--tiny", action="store_true", help="render with the tiny model")
    parser.add_argument("--default-settings", action="store_true", help="leases of 30 s, as a user has them")
    parser.add_argument("--folder", type=Path, help="where logs and objects go; kept")
    asked = parser.parse_args()
    variables = {} if asked.default_settings else QUICK
    lease = (
        WorkerSettings().lease_seconds if asked.default_settings else float(QUICK["PROMPTMILL_WORKER__LEASE_SECONDS"])
    )
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="promptmill-soak-"))
    folder.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    with GuardedProcesses() as processes:
        services = FaultServices(folder / "services", processes)
        mill = FaultMill(services, processes, folder, "soak", variables=variables)
        room, steps = (TINY, "0") if asked.tiny else (FLAT, "0.05")
        plant = Plant(mill, random.Random(asked.seed), lease, room, PIECES | {"PROMPTMILL_FLAT_STEP_SECONDS": steps})
        plant.add_orchestrator()
        for _ in range(asked.workers):
            plant.add_worker()
        soak = Soak(plant, asked.rows, asked.pause, say)
        say(f"seed {asked.seed}, {asked.rows} rows a job, {asked.workers} workers, {folder}")
        try:
            soak.run(asked.minutes * 60)
            soak.settle()
        except BaseException:
            say(f"FAILED in {plant.job}; logs: {folder}")
            raise
        finally:
            print(soak.book.table(), flush=True)
        say(f"{len(soak.book.jobs)} jobs, {sum(soak.book.fired.values())} faults, {soak.book.images} images,")
        say(f"{soak.book.cancelled} jobs cancelled on their way, {soak.book.retried} with their failed rows again,")
        say(f"{soak.book.again} renderings repeated; the invariant held for every job")
    return 0


if __name__ == "__main__":
    sys.exit(main())
