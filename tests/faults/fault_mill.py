"""A mill whose processes reach Redis and the store through proxies, with failpoints, and with a Redis that can die."""

import os
import re
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import SecretStr
from redis import Redis

from orchestrator.status import final_summary
from schemas import keys
from schemas.errors import JobConflict, LedgerUnavailable
from schemas.queues import RENDER_QUEUE
from schemas.result import ResultLine
from services import failpoints, jobs
from services.embedded.credentials import load_or_create
from services.embedded.processes import GuardedProcesses
from services.embedded.redis import redis_answers, redis_process
from services.embedded.s3 import s3_answers, s3_process, s3_settings
from services.embedded.startup import start_on_free_port
from services.redis_client import connect
from services.settings import RedisSettings, Settings, as_environment, load_settings
from tests.faults.redis_proxy import RedisProxy
from tests.faults.s3_proxy import S3Proxy
from tests.integration.mill import QUICK, Mill

BUCKET = "faults"
PATIENCE = 240.0  # seconds; no test depends on how long anything takes


class FaultServices:
    """A real Redis and a real S3 endpoint of one test process, each behind a proxy."""

    def __init__(self, folder: Path, processes: GuardedProcesses) -> None:
        self._folder = folder
        self.data_dir = folder / "data"  # one for all tests: the built-in model is made once
        self.bucket_folder = folder / "s3" / BUCKET
        self._processes = processes
        folder.mkdir(parents=True, exist_ok=True)
        known = load_or_create(folder)
        self._password = known.redis_password
        self._keys = (known.s3_access_key_id, known.s3_secret_access_key)
        self._redis_port = start_on_free_port(processes, self._redis_spec, self._redis_is_up)
        self._s3_port = start_on_free_port(
            processes,
            lambda port: s3_process(folder, port, *self._keys, BUCKET),
            lambda port: s3_answers(port, s3_settings(port, *self._keys, BUCKET)),
        )
        self.redis_proxy = RedisProxy(self._redis_port)
        self.s3_proxy = S3Proxy(self._s3_port)

    def settings(self, prefix: str, *, proxied: bool) -> Settings:
        """Settings that lead to the services: through the proxies, as processes go, or straight, as a test looks."""
        redis_port = self.redis_proxy.port if proxied else self._redis_port
        store = s3_settings(self.s3_proxy.port if proxied else self._s3_port, *self._keys, BUCKET)
        url = f"redis://:{self._password}@127.0.0.1:{redis_port}/0"
        s3 = store.model_dump(exclude_unset=True) | {"prefix": prefix}
        return load_settings(s3=s3, redis={"url": url}, data_dir=self.data_dir)

    def redis(self) -> "Redis":
        """A client that goes straight to the server."""
        return connect(RedisSettings(url=SecretStr(f"redis://:{self._password}@127.0.0.1:{self._redis_port}/0")))

    def kill_redis(self) -> None:
        """kill -9 of the server."""
        pid = self._processes.pid("redis")
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=10)
        self._processes.stop("redis", 0)

    def start_redis(self) -> None:
        """Start the server again on its port, with what its append-only file holds."""
        self._processes.start(self._redis_spec(self._redis_port))
        deadline = time.monotonic() + 60
        while not self._redis_is_up(self._redis_port):
            assert time.monotonic() < deadline, "Redis did not start again"
            time.sleep(0.05)

    def close(self) -> None:
        """End the proxies; the servers end with their guard."""
        self.redis_proxy.close()
        self.s3_proxy.close()

    def _redis_spec(self, port: int) -> Any:
        return redis_process(self._folder, port, self._password)

    def _redis_is_up(self, port: int) -> bool:
        return redis_answers(port, self._password)


class FaultMill(Mill):
    """A mill that can be broken in every way that the suite asks for. The test itself looks past the proxies."""

    poll_seconds = 0.2
    command_seconds = PATIENCE

    def __init__(
        self,
        services: FaultServices,
        processes: GuardedProcesses,
        folder: Path,
        prefix: str,
        *,
        variables: Mapping[str, str] = QUICK,
    ) -> None:
        super().__init__(services.settings(prefix, proxied=False), processes, folder)
        self.services = services
        self.redis_proxy, self.s3_proxy = services.redis_proxy, services.s3_proxy
        self.redis = services.redis()
        self._proxied = services.settings(prefix, proxied=True)
        self._variables = dict(variables)
        self._points = folder / "failpoints"
        self._points.mkdir(exist_ok=True)
        self._stopped: list[psutil.Process] = []

    @property
    def environment(self) -> dict[str, str]:
        """As every mill's, through the proxies."""
        points = {failpoints.FOLDER: str(self._points)}
        return dict(os.environ) | as_environment(self._proxied) | self._variables | points

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "the condition") -> Any:
        """As every mill's, with patience for a machine that does much else: the tiny model needs torch first."""
        return super().until(condition, max(seconds, PATIENCE), what)

    def fired(self, *names: str) -> bool:
        """Whether all these failpoints were reached."""
        return all((self._points / name).exists() for name in names)

    def wait_until_fired(self, *names: str, seconds: float = 60) -> None:
        """Wait until failpoints were reached."""
        self.until(lambda: self.fired(*names), seconds, f"the failpoints {', '.join(names)}")

    def worker_logging_to(self, folder: Path, name: str, **variables: str) -> int:
        """Start a worker whose log stands in another folder."""
        own, self.folder = self.folder, folder
        try:
            return self.worker(name, **variables)
        finally:
            self.folder = own

    def pid(self, name: str) -> int:
        """The pid of a process that this mill started."""
        pid = self._processes.pid(name)
        assert pid is not None, f"{name} does not run\n{self.logs()}"
        return pid

    def runs(self, name: str) -> bool:
        """Whether a process of this name runs."""
        return self._processes.pid(name) is not None

    def wait_for_exit(self, name: str, seconds: float = 60) -> None:
        """Wait until a process ended by itself."""
        self.until(lambda: not self.runs(name), seconds, f"the end of {name}")
        self._processes.stop(name)
        self._names.remove(name)

    def has_worker_process(self, name: str) -> bool:
        """Whether a worker's fleet has its first process running."""
        return next(self._worker_processes(name), None) is not None

    def has_pool_child(self, name: str) -> bool:
        """Whether a worker is ready: it runs, with a process and its child."""
        return self._pool_child(name) is not None

    def pool_child(self, name: str) -> psutil.Process:
        """The process of a worker that renders, once it is there."""
        found: psutil.Process = self.until(lambda: self._pool_child(name), what=f"the pool child of {name}")
        return found

    def _pool_child(self, name: str) -> psutil.Process | None:
        if self.runs(name):
            with suppress(psutil.NoSuchProcess, StopIteration):
                return super().pool_child(name)
        return None

    def worker_process(self, name: str) -> psutil.Process:
        """The Celery parent of a worker's first device."""
        found: psutil.Process = self.until(
            lambda: next(self._worker_processes(name), None), what=f"a process of {name}"
        )
        return found

    def _worker_processes(self, name: str) -> Iterator[psutil.Process]:
        for child in psutil.Process(self.pid(name)).children():
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and "workers.process" in " ".join(child.cmdline()):
                    yield child

    def kill_group(self, name: str) -> None:
        """kill -9 of a worker process and its group: its pool child goes too, the fleet stays."""
        os.killpg(self.worker_process(name).pid, signal.SIGKILL)

    def stop_at_work(self, name: str, job: str, *, dead: Collection[str] = ()) -> psutil.Process:
        """SIGSTOP of a worker's pool child while it holds a task, and so keeps it. `dead`: holders that are no more."""
        child = self.pool_child(name)
        self._stopped.append(child)

        def stopped() -> bool:
            child.suspend()
            if self.holders(job) - set(dead):
                return True
            child.resume()  # it was between two tasks
            return False

        self.until(stopped, what=f"a task in the hands of {name}")
        return child

    def end_all(self) -> None:
        """As every mill's; a process that stands still would not hear of it."""
        for child in self._stopped:
            with suppress(psutil.NoSuchProcess):
                child.resume()
        super().end_all()

    @contextmanager
    def redis_down(self) -> Iterator[None]:
        """Redis is killed for the time of the block, and started again with what its log holds."""
        self.services.kill_redis()
        try:
            yield
        finally:
            self.services.start_redis()

    def in_flight(self, job: str) -> set[str]:
        """Members that are leased at this moment."""
        return {flight.member for flight in self.client.ledger.flights(job) if flight.token}

    def holders(self, job: str) -> set[str]:
        """Workers that hold a task of a job at this moment."""
        return {flight.worker for flight in self.client.ledger.flights(job) if flight.token}

    def wait_for_lease(self, job: str) -> set[str]:
        """Wait until a worker is at work on a job."""
        found: set[str] = self.until(lambda: self.in_flight(job), what=f"a lease of {job}")
        return found

    def ended(self, job: str) -> bool:
        """Whether a job is finalized with all of its retries, and out of the ledger."""
        with suppress(LedgerUnavailable):
            summary = final_summary(self.client.store, jobs.read_document(self.client.store, job))
            return summary is not None and self.client.ledger.progress(job) is None
        return False

    def steer(self, job: str, verb: Literal["pause", "resume", "cancel"]) -> bool:
        """Pause, resume or cancel. False where the job has ended meanwhile."""
        with suppress(JobConflict):
            getattr(self.client, verb)(job)
            return True
        return False

    def lease_token(self, job: str, member: str) -> str:
        """The token that holds a member's lease, or nothing."""
        return next((found.token for found in self.client.ledger.flights(job) if found.member == member), "")

    def losses(self, job: str) -> int:
        """Leases of a job that orchestrators counted as lost."""
        return len(re.findall(rf"\b{job}: task \S+ worker \S+ was lost \(loss", self.logs()))

    def log(self, name: str) -> str:
        """What one process logged."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def rounds_ended(self, job: str) -> tuple[str, ...]:
        """The retries that the last finalize took in."""
        summary = jobs.read_summary(self.client.store, job)
        return () if summary is None else summary.rounds

    def leader_pid(self) -> int | None:
        """The pid of the orchestrator at work."""
        name = self.client.ledger.leader()
        return int(name.rsplit("-", 1)[1]) if name else None

    def leader(self) -> psutil.Process:
        """The orchestrator at work."""
        return psutil.Process(self.until(self.leader_pid, what="a leader"))

    def stored_bytes(self, key: str) -> bytes:
        """From the disk of the endpoint: thousands of images, and no request for each."""
        return (self.services.bucket_folder / self.settings.s3.prefix / key).read_bytes()

    def repeated(self, job: str) -> int:
        """Images that were denoised more often than once, each time but the first."""
        return sum(count - 1 for count in self.rendered(job).values())

    def images(self, job: str) -> set[str]:
        """Keys of all image objects of a job."""
        return {found.key for found in self.client.store.list(f"jobs/{job}/images/")}

    def named_images(self, job: str) -> set[str]:
        """Keys of the images that the counting outcomes name."""
        return {line["key"] for line in self.table(job) if line["key"]}

    def pieces(self, job: str) -> list[ResultLine]:
        """Every line of every piece of a job."""
        store = self.client.store
        found = [info.key for info in store.list(keys.results_folder(job))]
        return [line for key in found for line in jobs.read_piece(store, key)]

    def settle(self, job: str) -> None:
        """What every fault test ends with: no process runs, orphans are collected, and the invariant holds."""
        self.until(lambda: self.ended(job), what=f"{job} out of the ledger")
        self.until(lambda: self.redis.llen(RENDER_QUEUE) == 0, what="an empty queue")
        self.end_all()
        self.check_invariant(job)
        self.collect(job)

    def collect(self, job: str) -> None:
        """Collect orphans when no process runs: what results name stays, and nothing else does."""
        (garbage,) = self.client.collect_garbage(job, grace_seconds=0)
        assert garbage.waiting == 0, "a lease outlived every process"
        (left,) = self.client.collect_garbage(job, grace_seconds=0, dry_run=True)
        assert left.objects == 0
        images, named = self.images(job), self.named_images(job)
        assert named <= images, "an image that a result names was collected"
        # Of a cancelled job a late piece may name images that its summary does not.
        summary = jobs.read_summary(self.client.store, job)
        assert images == named or (summary is not None and summary.cancelled), "orphans after their collection"
