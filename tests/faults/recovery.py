"""How long it takes until everything that was in flight at the moment of a fault is done."""

import threading
import time

from schemas.errors import ServiceError
from schemas.task import parse_member
from services import jobs
from tests.faults.fault_mill import FaultMill

POLL_SECONDS = 0.1


class Recovery:
    """Watches, in a thread of its own, the tasks that are in flight now. `seconds` is None until all are counted."""

    def __init__(self, mill: FaultMill, job: str) -> None:
        self._mill = mill
        self._job = job
        self._counted = f"{mill.settings.redis.key_prefix}:job:{job}:counted"
        self._tasks = {parse_member(flight.member)[0] for flight in mill.client.ledger.flights(job)}
        self._started = time.monotonic()
        self.seconds: float | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def join(self) -> float | None:
        """Wait for the end."""
        self._thread.join(timeout=600)
        return self.seconds

    def _watch(self) -> None:
        while not self._is_over():
            time.sleep(POLL_SECONDS)
        self.seconds = time.monotonic() - self._started

    def _is_over(self) -> bool:
        try:
            if self._mill.client.ledger.progress(self._job) is None:  # finalized, or flushed and not made again yet
                return jobs.read_summary(self._mill.client.store, self._job) is not None
            self._tasks = {task for task in self._tasks if not self._mill.redis.getbit(self._counted, task)}
        except (ServiceError, OSError, ValueError):
            return False
        except Exception as error:  # redis-py's own, while the server is down
            if type(error).__module__.startswith("redis"):
                return False
            raise
        return not self._tasks
