"""From a manifest to a job in the store. A job exists once its `job.json` is there, and that is written last.

The manifest is read once: while its faults are collected, its plan is written to this machine's disk. Nothing is sent
while a fault stands. Ids and seeds are fixed by the job's id, so that planning the same manifest again gives the same
objects: a submit that was killed goes on where it stopped.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from orchestrator.checking import Plan, ValidationReport, check, validate
from orchestrator.claim import claim, now
from orchestrator.input_uploads import InputUploads
from orchestrator.local_disk import scratch_folder
from orchestrator.manifests.formats import detect_format
from orchestrator.planner.spool import PlanSpool
from orchestrator.planner.write import PlanWriter
from orchestrator.request import OnProgress, OnWarnings, SubmitProgress, SubmitRequest
from schemas import keys
from schemas.errors import SettingsError
from schemas.job import JobDocument, JobSpec, Totals
from services import jobs
from services.catalogue import Catalogue
from services.failpoints import failpoint
from services.settings import Settings
from services.store import ObjectStore

__all__ = ["OnProgress", "OnWarnings", "SubmitProgress", "SubmitRequest", "ValidationReport", "submit", "validate"]


def submit(
    store: ObjectStore,
    catalogue: Catalogue,
    settings: Settings,
    request: SubmitRequest,
    *,
    on_job_id: Callable[[str], None] = lambda job: None,
    on_progress: OnProgress = lambda _: None,
    on_warnings: OnWarnings = lambda _: None,
) -> JobDocument:
    """Submit a manifest; the same id with the same manifest and options goes on where it stopped.

    Args:
        on_job_id: called with the job's id before anything is uploaded.
        on_warnings: called with the manifest's warnings by kind, where it has no fault.

    Raises:
        ManifestError: faults, all of them; nothing was sent.
        SettingsError: the job id is not one.
        JobConflict: the id belongs to another manifest, or to other options.
        ServiceError: the store does not answer; the same command goes on.
    """
    job = _job_id(request)
    with scratch_folder() as folder, InputUploads(folder / "inputs", job) as inputs:
        spool = PlanSpool(folder / "plan")
        with PlanWriter(spool, job) as writer:
            found = check(request, catalogue, settings, Plan(job, writer.add, inputs.add), on_progress=on_progress)
            totals = writer.finish()
        on_warnings(found.warnings)
        request.refuse_over_limit(totals.units)
        resumed, done = _claim(store, job, spec := _spec(request, settings))
        on_job_id(job)
        if done is not None:
            return done
        _send_source(store, job, request)
        inputs.send(store)
        failpoint("submit.inputs")
        spool.send(store, resume=resumed, on_sent=_uploaded(totals, len(spool), on_progress))
    failpoint("submit.planned")
    return _write(store, JobDocument(job=job, spec=spec, totals=totals, priority=request.priority, submitted_at=now()))


def _job_id(request: SubmitRequest) -> str:
    job = request.job_id or new_job_id(request.manifest_name)
    if not keys.is_job_id(job):
        raise SettingsError(f"--job-id {job!r}: 1 to 64 of a-z 0-9 . _ - beginning and ending with a letter or digit")
    return job


def _claim(store: ObjectStore, job: str, spec: JobSpec) -> tuple[bool, JobDocument | None]:
    """As `claim`, where the store is what a job needs."""
    failpoint("submit.checked")
    store.check()
    found = claim(store, job, spec)
    failpoint("submit.claimed")
    return found


def _send_source(store: ObjectStore, job: str, request: SubmitRequest) -> None:
    store.put_file(keys.source(job, _source_name(request.manifest_name)), request.path)
    failpoint("submit.source")


def _write(store: ObjectStore, document: JobDocument) -> JobDocument:
    """The last object: with it the job exists."""
    store.put(keys.job_document(document.job), document.model_dump_json().encode(), jobs.JSON)
    failpoint("submit.written")
    return document


def _uploaded(totals: Totals, objects: int, on_progress: OnProgress) -> Callable[[int], None]:
    def told(sent: int) -> None:
        on_progress(SubmitProgress(stage="uploading", rows=totals.rows * sent // objects, total=totals.rows))

    return told


def new_job_id(manifest_name: str) -> str:
    """An id from the manifest's name and the time, with a few random characters."""
    stem = re.sub(r"[^a-z0-9]+", "-", manifest_name.split(".")[0].lower()).strip("-")[:30].strip("-") or "job"
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _spec(request: SubmitRequest, settings: Settings) -> JobSpec:
    options = request.options
    with request.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return JobSpec(
        manifest_name=request.manifest_name,
        manifest_sha256=digest,
        manifest_format=detect_format(request.path, options),
        defaults=dict(options.defaults),
        column_map=dict(options.column_map),
        extra_columns=tuple(sorted(options.extra_columns)),
        keep_going=request.keep_going,
        max_units=request.max_units,
        task_units=request.task_units or settings.dispatch.task_units,
        task_rows=request.task_rows or settings.dispatch.task_rows,
    )


def _source_name(name: str) -> str:
    made = re.sub(r"[^\w.-]+", "_", name)[:100]
    return made if made.strip(".") else "manifest"  # `..` would be a step up to whoever copies the bucket to a disk
