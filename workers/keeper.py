"""Keeps a task's lease while the task makes progress, and learns from the ledger when to stop.

| what is seen                          | what follows                                               |
|---------------------------------------|------------------------------------------------------------|
| another's token holds the lease       | `lost`: stop at once                                       |
| the job is cancelled                  | `cancelled`: stop within one denoising step                |
| the job is paused                     | `paused`: stop after the batch                             |
| TERM                                  | `term`: stop within one denoising step                     |
| Redis does not answer, or forgot      | nothing: the worker finishes and commits                   |
| no progress for `stall_seconds`       | the renewal stops and the process ends                     |
"""

import logging
import os
import threading
import time
from typing import Literal, Self

from schemas.errors import LedgerUnavailable
from services.ledger import Ledger
from workers.engines.base import Interrupted

log = logging.getLogger(__name__)
StopReason = Literal["lost", "cancelled", "paused", "term"]
AT_ONCE: frozenset[str] = frozenset({"lost", "cancelled", "term"})
WATCH_SECONDS = 1.0
STALLED_STATUS = 70


class LeaseKeeper:
    """A context: a thread renews the lease until it is left. `stopping` is set from outside by TERM."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        job: str,
        member: str,
        token: str,
        worker: str,
        lease_seconds: float,
        stall_seconds: float,
        stopping: threading.Event,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._member = member
        self._token = token
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._stall_seconds = stall_seconds
        self._stopping = stopping
        self._reason: StopReason | None = None
        self._touched = time.monotonic()
        self._rows = 0
        self._images = 0
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"lease-{member}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()
        self._thread.join()

    @property
    def reason(self) -> StopReason | None:
        """Why the task should stop, or None."""
        return "term" if self._reason is None and self._stopping.is_set() else self._reason

    def touch(self) -> None:
        """There was progress: a step, a load, an upload."""
        self._touched = time.monotonic()

    def progress(self, *, rows: int = 0, images: int = 0) -> None:
        """Rows and images finished so far in this task, for the ledger to tell."""
        self._rows, self._images = rows, images
        self.touch()

    def step(self) -> None:
        """Called after every denoising step.

        Raises:
            Interrupted: the loop must be left at once.
        """
        self.touch()
        if self.reason in AT_ONCE:
            raise Interrupted(self.reason)

    def _watch(self) -> None:
        pause = min(WATCH_SECONDS, self._lease_seconds / 6)
        while not self._left.wait(pause):
            if time.monotonic() - self._touched > self._stall_seconds:
                log.critical("task %s of %s: no progress for %.0f s", self._member, self._job, self._stall_seconds)
                logging.shutdown()
                os._exit(STALLED_STATUS)  # a hung kernel cannot be interrupted from within
            if self._reason != "lost":  # for good: another has the rows
                self._renew()

    def _renew(self) -> None:
        try:
            answer, state = self._ledger.renew(
                self._job,
                self._member,
                self._token,
                worker=self._worker,
                seconds=self._lease_seconds,
                rows=self._rows,
                images=self._images,
            )
        except LedgerUnavailable as error:
            log.warning("lease of task %s not renewed: %s", self._member, error.message)
            return
        if answer == "lost":
            self._reason = "lost"
        elif answer == "renewed":
            self._reason = {"cancelled": "cancelled", "paused": "paused"}.get(state)  # type: ignore[assignment]
