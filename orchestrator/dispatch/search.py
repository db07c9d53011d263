"""Which jobs are to be looked at: all of the store every so often, and at once those that somebody announced."""

import logging
import math
from collections.abc import Collection
from concurrent.futures import Executor, Future

from schemas.errors import ServiceError
from services import jobs
from services.ledger import Ledger
from services.store import ObjectStore

log = logging.getLogger(__name__)
FORGET_FINISHED_SECONDS = 600.0


class JobSearch:
    """What is known to have ended is passed over. Times are of a steady clock, in seconds.

    The store is listed in the background: one that is silent keeps its caller for minutes, and a leader that does not
    say so in time is none.
    """

    def __init__(self, store: ObjectStore, ledger: Ledger, scan_seconds: float) -> None:
        self._store = store
        self._ledger = ledger
        self._scan_seconds = scan_seconds
        self._finished: set[str] = set()
        self._hints: set[str] = set()
        self._redis_run = ""
        self._listing: Future[set[str]] | None = None
        self.start_over()

    def start_over(self) -> None:
        """What is known here may be old: another led meanwhile."""
        self._finished.clear()
        self._listing = None
        self._list_at = self._forget_at = -math.inf

    def end(self, job: str) -> None:
        """A job has ended: it is passed over until somebody announces it."""
        self._finished.add(job)

    def due(self, now: float, busy: Collection[str], background: Executor) -> list[str]:
        """Jobs to look at now. Hints about those that are `busy` are kept for later.

        Raises:
            LedgerUnavailable: Redis does not answer. A store that does not is told, and listed again later.
        """
        announced = self._ledger.announced() | self._hints
        self._hints = announced & set(busy)
        announced -= self._hints
        self._finished -= announced
        listed = self._listed(now, background)
        if listed is not None:
            self._notice_another_redis()
            if now >= self._forget_at:
                self._forget_at = now + FORGET_FINISHED_SECONDS
                self._finished.clear()  # a retry whose announcement was lost is found by this
        return sorted((announced | (listed or set())) - self._finished)

    def _listed(self, now: float, background: Executor) -> set[str] | None:
        """All jobs of the store, once for each list of them."""
        if self._listing is None and now >= self._list_at:
            self._list_at = now + self._scan_seconds
            self._listing = background.submit(lambda: set(jobs.list_jobs(self._store)))
        if self._listing is None or not self._listing.done():
            return None
        listing, self._listing = self._listing, None
        try:
            return listing.result()
        except ServiceError as error:
            log.warning("%s; looking for jobs again", error.message)
            return None

    def _notice_another_redis(self) -> None:
        """One that was started again may have lost its last second, and hold jobs that were dropped in it."""
        run = str(self._ledger.ping().get("run_id", ""))
        if run != self._redis_run:
            self._redis_run = run
            self._finished.clear()
