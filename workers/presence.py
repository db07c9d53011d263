"""Tells the ledger every few seconds that this worker is there, and ends it when its parent is gone."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

from schemas.errors import LedgerUnavailable
from services.ledger import Ledger, WorkerReport

log = logging.getLogger(__name__)
REPORT_SECONDS = 5.0
PARENT_SECONDS = 1.0


class Presence:
    """A thread of one worker process. `describe` gives what the worker is doing at the moment."""

    def __init__(self, ledger: Ledger, worker: str, device: str, describe: Callable[[], tuple[str, str]]) -> None:
        self._ledger = ledger
        self._worker = worker
        self._device = device
        self._describe = describe
        self._parent = os.getppid()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye, so that nobody waits for this worker."""
        self._left.set()
        self._thread.join(timeout=10)
        try:
            self._ledger.leave(self._worker)
        except LedgerUnavailable:
            log.debug("the report expires by itself")

    def _run(self) -> None:
        waited = REPORT_SECONDS
        while True:
            if waited >= REPORT_SECONDS:
                self._report()
                waited = 0.0
            if self._left.wait(PARENT_SECONDS):
                return
            waited += PARENT_SECONDS
            if os.getppid() != self._parent:
                # A pool process whose parent was killed would wait for work for ever.
                log.warning("the parent process is gone: ending")
                os.kill(os.getpid(), signal.SIGTERM)
                self._parent = os.getppid()

    def _report(self) -> None:
        job, member = self._describe()
        report = WorkerReport(
            worker=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._device,
            job=job,
            member=member,
        )
        try:
            self._ledger.report(report)
        except LedgerUnavailable as error:
            log.debug("not reported: %s", error.message)
