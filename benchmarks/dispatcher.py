"""What handing out a task costs: `python -m benchmarks.dispatcher [--tasks 100000] [--jobs 1 10 100]`.

A real Redis, a real S3 endpoint, the real `promptmill orchestrator`, and Celery workers that do nothing but take a
lease and count the task. The same number of tasks comes as one job, as ten and as a hundred. Printed for each:

- tasks/s through Celery, of the whole and of its first and last tenth: does it get slower as a job goes on?
- CPU microseconds of the orchestrator per task, which other load on the machine does not change much;
- bytes of Redis that the ledger holds per task, at its largest, queue and leases included.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestrator.client import Client
from orchestrator.manifests.options import ManifestOptions
from orchestrator.submit import SubmitRequest
from services.embedded.processes import GuardedProcesses, ProcessSpec
from services.embedded.stack import start_local_services
from services.redis_client import connect
from services.settings import as_environment, load_settings

LOOK_SECONDS = 0.2
MEMORY_SECONDS = 2.0
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Figures:
    """One run."""

    jobs: int
    tasks: int
    seconds: float
    first_tenth: float
    last_tenth: float
    cpu_micros: float
    ledger_bytes: float

    def line(self) -> str:
        """A row of the table."""
        rates = (self.tasks / self.seconds, self.first_tenth, self.last_tenth)
        return (
            f"| {self.jobs:>4} | {self.tasks:>7,} | {rates[0]:>7,.0f} | {rates[1]:>11,.0f} | {rates[2]:>10,.0f} "
            f"| {self.cpu_micros:>11,.0f} | {self.ledger_bytes:>12.1f} |"
        )


HEAD = """\
| jobs |   tasks | tasks/s | first tenth | last tenth | CPU µs/task | ledger B/task |
|-----:|--------:|--------:|------------:|-----------:|------------:|--------------:|"""


class Bench:
    """One Redis, one store, one orchestrator, some idle workers."""

    def __init__(self, folder: Path, processes: GuardedProcesses, workers: int) -> None:
        self._folder, self._processes, self._workers = folder, processes, workers
        self.client = Client(load_settings(**start_local_services(folder / "services", processes)))
        self._redis: Any = connect(self.client.settings.redis)

    def run(self, jobs: int, tasks: int) -> Figures:
        """Submit `tasks` tasks in `jobs` jobs, and watch them being counted."""
        names = [f"bench-{jobs}-{number:03d}" for number in range(jobs)]
        for name in names:
            self._submit(name, tasks // jobs)
        for number in range(self._workers):
            self._start(f"worker-{number}", ["-m", "benchmarks.idle_worker", f"idle-{number}"])
        pid = self._start("orchestrator", ["-m", "orchestrator.cli.main", "orchestrator"])
        try:
            return self._watch(names, tasks // jobs * jobs, psutil.Process(pid))
        finally:
            for name in ("orchestrator", *(f"worker-{number}" for number in range(self._workers))):
                self._processes.stop(name)
            self._redis.flushall()
            for name in names:
                self._forget(name)

    def _submit(self, job: str, tasks: int) -> None:
        manifest = self._folder / "rows.txt"
        manifest.write_text("a row\n" * tasks)
        options = ManifestOptions(defaults={"model": "tiny"})
        self.client.submit_request(SubmitRequest(path=manifest, options=options, job_id=job, task_rows=1))

    def _forget(self, job: str) -> None:
        """The orchestrator would find that the store has no outcome, and begin again."""
        store = self.client.store
        store.put(f"jobs/{job}/job.json", b"{}", "application/json")

    def _start(self, name: str, arguments: Sequence[str]) -> int:
        environment = dict(os.environ) | as_environment(self.client.settings) | {"PROMPTMILL_LOG_LEVEL": "WARNING"}
        log = self._folder / f"{name}.log"
        return self._processes.start(ProcessSpec(name, [sys.executable, *arguments], env=environment, log=log))

    def _watch(self, names: list[str], tasks: int, orchestrator: psutil.Process) -> Figures:
        marks: list[tuple[float, int]] = []
        cpu_start = cpu_end = 0.0
        largest, measured, deadline = 0.0, 0.0, time.monotonic() + PATIENCE_SECONDS
        counted = 0
        while counted < tasks * 0.99:  # the last ones end a job, and its finalize finds nothing in the store
            found = self._counted(names)
            now = time.monotonic()
            if found > counted:
                deadline = now + PATIENCE_SECONDS
            if now > deadline:
                raise SystemExit(f"no task was counted for {PATIENCE_SECONDS:.0f} s; logs are in {self._folder}")
            counted = max(counted, found)
            cpu_end = _cpu(orchestrator)
            if found and not marks:
                cpu_start = cpu_end
            if found:
                marks.append((now, found))
            if now - measured > MEMORY_SECONDS:
                largest, measured = max(largest, self._ledger_bytes()), now
            time.sleep(LOOK_SECONDS)
        cpu = (cpu_end - cpu_start) / (marks[-1][1] - marks[0][1])
        return Figures(
            jobs=len(names),
            tasks=tasks,
            seconds=(marks[-1][0] - marks[0][0]) * tasks / (marks[-1][1] - marks[0][1]),
            first_tenth=_rate(marks, 0.0, tasks * 0.1),
            last_tenth=_rate(marks, tasks * 0.9, tasks),
            cpu_micros=cpu * 1e6,
            ledger_bytes=largest / tasks,
        )

    def _counted(self, names: list[str]) -> int:
        prefix = self.client.settings.redis.key_prefix
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hget(f"{prefix}:job:{name}:meta", "counted")
        return sum(int(found or 0) for found in pipeline.execute())

    def _ledger_bytes(self) -> float:
        prefix = self.client.settings.redis.key_prefix
        pipeline = self._redis.pipeline(transaction=False)
        for key in self._redis.scan_iter(f"{prefix}:job:*", count=1000):
            pipeline.memory_usage(key, samples=0)
        return float(sum(found or 0 for found in pipeline.execute()))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rate(marks: list[tuple[float, int]], least: float, most: float) -> float:
    inside = [mark for mark in marks if least <= mark[1] <= most]
    if len(inside) < 2:
        return float("nan")
    (start, first), (end, last) = inside[0], inside[-1]
    return (last - first) / (end - start)


def main() -> None:
    """The command."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--tasks", type=int, default=100_000)
    ask.add_argument("--jobs", type=int, nargs="+", default=[1, 10, 100])
    ask.add_argument("--workers", type=int, default=2)
    said = ask.parse_args()
    print(HEAD)
    for jobs in said.jobs:
        with tempfile.TemporaryDirectory(prefix="promptmill-bench-") as folder, GuardedProcesses() as processes:
            print(Bench(Path(folder), processes, said.workers).run(jobs, said.tasks).line(), flush=True)


if __name__ == "__main__":
    main()
