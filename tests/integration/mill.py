"""A whole promptmill for a test: real Redis, a real S3 endpoint, real orchestrator and worker processes."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from orchestrator.client import Client
from orchestrator.status import JobStatus
from schemas import keys
from schemas.job import Summary
from services import jobs
from services.embedded.processes import GuardedProcesses, ProcessSpec
from services.settings import Settings, as_environment

FLAT = "workers.engines.flat:FlatRoom"
RENDERED = re.compile(r"rendered job=(\S+) row=(\S+) image=(\d+)")
# Fast recovery, so that a test waits seconds where a user waits half a minute. The rules are the same.
QUICK = {
    "PROMPTMILL_WORKER__LEASE_SECONDS": "3",
    "PROMPTMILL_DISPATCH__PUBLISH_GRACE_SECONDS": "4",
    "PROMPTMILL_DISPATCH__SCAN_SECONDS": "1",
    "PROMPTMILL_DISPATCH__LEADER_SECONDS": "3",
}


class Mill:
    """Starts and ends processes against one Redis and one store; everything ends with `processes`."""

    poll_seconds = 0.05
    command_seconds = 90.0

    def __init__(self, settings: Settings, processes: GuardedProcesses, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.client = Client(settings)
        self._processes = processes
        self._names: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach this mill's services."""
        return dict(os.environ) | as_environment(self.settings) | QUICK

    def orchestrator(self, name: str = "orchestrator", **variables: str) -> int:
        """Start an orchestrator; returns its pid. `variables` join its environment."""
        return self._start(name, ["orchestrator"], variables)

    def worker(self, name: str = "worker", *, count: int = 1, engine: str = FLAT, **variables: str) -> int:
        """Start a worker; returns the pid of its fleet process. `variables` join its environment."""
        return self._start(name, ["worker", "--count", str(count), "--engine", engine], variables)

    def stop(self, name: str, seconds: float = 30) -> int | None:
        """TERM, then KILL after `seconds`; returns the exit status."""
        self._names.remove(name)
        return self._processes.stop(name, seconds)

    def kill_tree(self, name: str) -> None:
        """kill -9 of a process and all of its children, as a machine that vanishes."""
        pid = self._processes.pid(name)
        assert pid is not None
        victims = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for victim in victims:
            victim.suspend()  # nobody starts a replacement while the others die
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=10)
        self._names.remove(name)
        self._processes.poll_exits(timeout=1)

    def pool_child(self, name: str) -> psutil.Process:
        """The process of a worker that renders."""
        pid = self._processes.pid(name)
        assert pid is not None
        children = psutil.Process(pid).children(recursive=True)
        return next(child for child in children if "spawn_main" in " ".join(child.cmdline()))

    def end_all(self) -> None:
        """End what this mill started, last first."""
        for name in reversed(list(self._names)):
            self.stop(name, 10)

    def command(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `promptmill ...` as a user does."""
        found = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli.main", *arguments],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=self.command_seconds,
            cwd=self.folder,
        )
        assert not check or found.returncode == 0, found.stderr
        return found

    def manifest(self, rows: Iterable[Mapping[str, Any]], name: str = "rows.jsonl") -> Path:
        """Write rows as JSONL."""
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def submit(self, rows: Iterable[Mapping[str, Any]], job: str, **options: Any) -> str:
        """Submit rows through the Python API."""
        defaults = {"model": "tiny", "steps": 2, "width": 64, "height": 64}
        path = self.manifest(rows, f"{job}.jsonl")
        return self.client.submit(path, job_id=job, defaults=defaults, **options).job

    def until(self, condition: Callable[[], Any], seconds: float = 40, what: str = "the condition") -> Any:
        """Wait until a condition holds; fails with every process's log otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(self.poll_seconds)
        raise AssertionError(f"{what} did not come within {seconds:.0f} s\n{self.logs()}")

    def wait_for(self, job: str, seconds: float = 60) -> JobStatus:
        """Wait until a job has ended."""

        def ended() -> JobStatus | None:
            status = self.client.status(job)
            return status if status.ended else None

        status: JobStatus = self.until(ended, seconds, f"the end of {job}")
        return status

    def wait_for_images(self, job: str, images: int) -> None:
        """Wait until so many images were denoised."""
        self.until(lambda: sum(self.rendered(job).values()) >= images, what=f"{images} images of {job}")

    def rendered(self, job: str) -> Counter[tuple[str, str]]:
        """How often each image of a job was denoised, by the line that workers log for it."""
        found = RENDERED.findall(self.logs())
        return Counter((row, image) for name, row, image in found if name == job)

    def logs(self) -> str:
        """Everything that this mill's processes logged."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def check_invariant(self, job: str) -> Summary:
        """One counting outcome per row; its images exist with their hash; nothing in flight."""
        store = self.client.store
        summary = jobs.read_summary(store, job)
        assert summary is not None
        document = jobs.read_document(store, job)
        assert summary.done + summary.failed + summary.cancelled == summary.planned == document.totals.rows
        assert self.client.ledger.progress(job) is None, "something of an ended job is still in the ledger"
        table = pq.read_table(self._downloaded(keys.metadata_table(job))).to_pylist()
        assert len({(line["index"], line["image_number"], line["stage"]) for line in table}) == len(table), (
            "a row stands twice in the results"
        )
        assert {line["index"] for line in table} == set(range(document.totals.rows))
        for line in table:
            if line["status"] == "done" and not line["dropped"]:
                assert hashlib.sha256(self.stored_bytes(line["key"])).hexdigest() == line["sha256"]
        return summary

    def stored_bytes(self, key: str) -> bytes:
        """What an object holds."""
        return self.client.store.get(key)

    def table(self, job: str) -> list[dict[str, Any]]:
        """metadata.parquet as dictionaries."""
        rows: list[dict[str, Any]] = pq.read_table(self._downloaded(keys.metadata_table(job))).to_pylist()
        return rows

    def _downloaded(self, key: str) -> Path:
        path = self.folder / key.replace("/", "_")
        path.write_bytes(self.client.store.get(key))
        return path

    def _start(self, name: str, command: list[str], variables: Mapping[str, str]) -> int:
        argv = [sys.executable, "-m", "orchestrator.cli.main", *command]
        spec = ProcessSpec(
            name=name, argv=argv, env=self.environment | variables, log=self.folder / f"{name}.log", stop_seconds=20
        )
        self._names.append(name)
        return self._processes.start(spec)


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and all of its children."""
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        process.send_signal(number)
