"""The Python API: the verbs of the command line, typed.

```python
from orchestrator import Client

client = Client()                                  # settings from the environment and promptmill.toml
job = client.submit("prompts.jsonl", defaults={"model": "sd15"}).job
client.wait(job, on_status=lambda status: print(status.done, "of", status.rows))
client.fetch(job, "out")
```
"""

import getpass
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.cost.estimate import Prices
from orchestrator.cost.measured import measured_in_store
from orchestrator.events import History
from orchestrator.failures import Failures, read_failures
from orchestrator.fetch import FetchProgress, FetchReport, fetch
from orchestrator.garbage import Garbage, GarbageRule, collect, collect_all
from orchestrator.job_history import job_history
from orchestrator.links import ImageLink, image_links
from orchestrator.looking import looks
from orchestrator.manifests.options import Format, ManifestOptions
from orchestrator.retry import retry
from orchestrator.row_history import row_history
from orchestrator.status import JobStatus, all_status, final_summary, job_status
from orchestrator.submit import OnWarnings, SubmitProgress, SubmitRequest, ValidationReport, submit, validate
from schemas.errors import JobConflict, JobPaused, LedgerUnavailable, ServiceError
from schemas.job import ControlEvent, ControlState, ControlVerb, JobDocument, RoundDocument
from services import jobs
from services.catalogue import Catalogue
from services.ledger import Ledger, WorkerReport
from services.redis_client import connect, place
from services.settings import Settings, load_settings
from services.store import ObjectStore
from services.store_client import PATIENT, Patience

POLL_SECONDS = 1.0


class Client:
    """Submits, steers and fetches jobs. Raises the errors of `schemas.errors`; connects when first used."""

    def __init__(self, settings: Settings | None = None, *, patience: Patience = PATIENT) -> None:
        """`patience` is with an object store that does not answer."""
        self.settings = settings or load_settings()
        self._patience = patience

    @cached_property
    def store(self) -> ObjectStore:
        """The object store."""
        return ObjectStore(self.settings.s3, self._patience)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger in Redis."""
        redis = self.settings.redis
        return Ledger(connect(redis), prefix=redis.key_prefix, place=place(redis))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The models that a manifest can name."""
        return Catalogue.load(self.settings.models_file)

    def validate(
        self,
        manifest: Path | str,
        *,
        file_format: Format | None = None,
        column_map: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
        extra_columns: Collection[str] = (),
    ) -> ValidationReport:
        """Check a manifest and say what it would come to. Reads no service.

        Raises:
            ManifestError: faults, all of them.
        """
        options = ManifestOptions(file_format, column_map or {}, defaults or {}, frozenset(extra_columns))
        return validate(SubmitRequest(path=Path(manifest), options=options), self.catalogue, self.settings)

    def estimate(
        self,
        request: SubmitRequest,
        prices: Prices = Prices(),  # noqa: B008 - frozen
        *,
        on_progress: Callable[[SubmitProgress], None] = lambda progress: None,
    ) -> ValidationReport:
        """As `validate`, with what a submit can be told, and with the speeds of this store's earlier jobs.

        Raises:
            ManifestError: faults, all of them.
            ServiceError: the store does not answer.
        """
        measured = measured_in_store(self.store)
        if prices.workers is None:
            with suppress(LedgerUnavailable):  # a fleet that cannot be asked is one of unknown size
                prices = prices.model_copy(update={"workers": len(self.workers()) or None})
        return validate(
            request, self.catalogue, self.settings, measured=measured, prices=prices, on_progress=on_progress
        )

    def submit(
        self,
        manifest: Path | str,
        *,
        job_id: str | None = None,
        file_format: Format | None = None,
        column_map: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
        extra_columns: Collection[str] = (),
        priority: int = 100,
        keep_going: bool = False,
        max_units: float | None = None,
    ) -> JobDocument:
        """Submit a manifest. The same id with the same manifest goes on where it stopped.

        Raises:
            ManifestError: faults, all of them; nothing was sent.
            SettingsError: it would cost more than `max_units`.
            JobConflict: the id belongs to another manifest.
            ServiceError: the store does not answer; the same call goes on.
        """
        options = ManifestOptions(file_format, column_map or {}, defaults or {}, frozenset(extra_columns))
        request = SubmitRequest(
            path=Path(manifest),
            options=options,
            job_id=job_id,
            priority=priority,
            keep_going=keep_going,
            max_units=max_units,
        )
        return self.submit_request(request)

    def submit_request(
        self,
        request: SubmitRequest,
        *,
        on_job_id: Callable[[str], None] = lambda job: None,
        on_progress: Callable[[SubmitProgress], None] = lambda progress: None,
        on_warnings: OnWarnings = lambda groups: None,
    ) -> JobDocument:
        """As `submit`, with everything that a submit can be told, and with its progress."""
        document = submit(
            self.store,
            self.catalogue,
            self.settings,
            request,
            on_job_id=on_job_id,
            on_progress=on_progress,
            on_warnings=on_warnings,
        )
        with suppress(LedgerUnavailable):  # only a hint: the orchestrator looks into the store by itself
            self.ledger.announce(document.job)
        return document

    def status(self, job: str) -> JobStatus:
        """Where a job stands."""
        return job_status(self.store, self.ledger, job)

    def jobs(self) -> Iterator[JobStatus]:
        """Every job of the store."""
        return all_status(self.store, self.ledger)

    def workers(self) -> list[WorkerReport]:
        """The workers seen in the last half minute."""
        return self.ledger.workers()

    def pause(self, job: str, reason: str = "") -> ControlState:
        """Stop handing out a job's tasks; running ones stop after their batch."""
        return self._steer(job, "pause", reason=reason)

    def resume(self, job: str, *, max_units: float | None = None) -> ControlState:
        """Go on with a paused job; `max_units` sets the cost at which it is paused from now on."""
        return self._steer(job, "resume", max_units=max_units)

    def cancel(self, job: str, reason: str = "") -> ControlState:
        """End a job with what it has; final."""
        return self._steer(job, "cancel", reason=reason)

    def prioritize(self, job: str, priority: int) -> ControlState:
        """Set a job's weight: twice the weight, twice the share."""
        return self._steer(job, "priority", priority=priority)

    def retry(self, job: str, *, error_classes: Collection[str] = ()) -> RoundDocument | None:
        """Render the failed rows again, into the same job; None where none failed so."""
        return retry(self.store, self.ledger, job, error_classes=error_classes)

    def fetch(
        self,
        job: str,
        out: Path | str,
        *,
        on_progress: Callable[[FetchProgress], None] | None = None,
    ) -> FetchReport:
        """Download a job's images and metadata; resumable, each file verified."""
        return fetch(self.store, job, Path(out), on_progress=on_progress)

    def failures(self, job: str) -> Failures:
        """Why rows of a job failed so far, equal causes together."""
        return read_failures(self.store, job)

    def history(self, job: str, row: str | None = None) -> History:
        """What happened to a job, or to one of its rows (its id, or its number from 0)."""
        if row is None:
            return job_history(self.store, self.ledger, job)
        return row_history(self.store, self.ledger, job, row)

    def links(self, job: str, *, expires_seconds: float = 3600, rows: Collection[str] = ()) -> Iterator[ImageLink]:
        """Addresses that read a job's images without credentials until they expire, at most seven days."""
        yield from image_links(self.store, job, expires_seconds=expires_seconds, rows=rows)

    def collect_garbage(
        self,
        job: str | None = None,
        *,
        grace_seconds: float | None = None,
        dry_run: bool = False,
        remove_abandoned: bool = False,
    ) -> Iterator[Garbage]:
        """Remove what nothing names any more, of one job or (None) of all. Safe at any time.

        Raises:
            JobNotFound: no such job or submission.
        """
        grace = self.settings.dispatch.gc_grace_seconds if grace_seconds is None else grace_seconds
        rule = GarbageRule(grace, dry_run, remove_abandoned)
        if job is None:
            yield from collect_all(self.store, self.ledger, rule)
        else:
            yield collect(self.store, self.ledger, job, rule)

    def wait(
        self,
        job: str,
        *,
        on_status: Callable[[JobStatus], None] = lambda status: None,
        on_outage: Callable[[ServiceError], None] = lambda error: None,
        every: float = POLL_SECONDS,
    ) -> JobStatus:
        """Wait until a job has ended, looking every so many seconds.

        An outage of Redis or the store after the first look ends no waiting, however long it lasts: each look that
        fails is told to `on_outage`, which may raise.

        Raises:
            JobPaused: the job paused itself because it made no progress but errors.
            ServiceError: Redis or the store does not answer the first look.
        """
        for status in looks(lambda: self.status(job), every):
            if isinstance(status, ServiceError):
                on_outage(status)
                continue
            on_status(status)
            if status.ended:
                return status
            if status.state == "paused" and status.automatic:
                raise JobPaused(
                    f"job {job} paused itself: {status.reason}",
                    hint=f"promptmill status {job} tells more; promptmill resume {job} goes on",
                )
        raise AssertionError("looks never end")

    def _steer(self, job: str, verb: ControlVerb, *, reason: str = "", **values: float | None) -> ControlState:
        document = jobs.read_document(self.store, job)
        ended = final_summary(self.store, document)
        if ended is not None and verb != "priority":
            raise JobConflict(f"job {job} has ended ({ended.state}); there is nothing to {verb}")
        event = ControlEvent.model_validate({"verb": verb, "reason": reason, "by": _user()} | values)
        jobs.write_control(self.store, job, event, after=jobs.read_control(self.store, document).last)
        state = jobs.read_control(self.store, document)
        with suppress(LedgerUnavailable):  # the orchestrator reads the event from the store as well
            self.ledger.steer(job, state)
            self.ledger.announce(job)
        return state


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
