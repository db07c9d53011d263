"""Tells the ledger every few seconds that this worker is there."""

import logging
import os
import socket
import threading
from collections.abc import Callable

from schemas.errors import LedgerUnavailable
from services.ledger import Ledger, WorkerReport

log = logging.getLogger(__name__)
REPORT_SECONDS = 5.0


class Presence:
    """A thread of one worker process. `describe` gives what the worker is doing at the moment."""

    def __init__(self, ledger: Ledger, worker: str, device: str, describe: Callable[[], tuple[str, str]]) -> None:
        self._ledger = ledger
        self._worker = worker
        self._device = device
        self._describe = describe
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
        self._report()
        while not self._left.wait(REPORT_SECONDS):
            self._report()

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
