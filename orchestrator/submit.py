"""From a manifest to a job in the store. A job exists once its `job.json` is there, and that is written last.

Two passes over the manifest: the first collects every fault, and nothing is sent while one stands; the second plans
and uploads. Ids and seeds are fixed by the job's id, so that planning the same manifest again gives the same
objects: a submit that was killed goes on where it stopped.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.formats import detect_format
from orchestrator.manifests.inputs import InputImages, RowInputs, input_addresses
from orchestrator.manifests.options import ManifestOptions
from orchestrator.manifests.reading import read
from orchestrator.manifests.report import open_report
from orchestrator.manifests.summary import ManifestSummary, Tally
from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.group import cut_tasks, grouped
from orchestrator.planner.resolve import limits_broken, resolve
from orchestrator.planner.write import PlanCounter, PlanWriter
from schemas import keys
from schemas.base import Frozen
from schemas.errors import FaultGroup, JobConflict, ObjectMissing, SettingsError
from schemas.job import JobDocument, JobSpec, Submission, Totals
from schemas.planned import InputImage, PlannedRow
from schemas.rows import PipelineName, Row
from services import jobs
from services.catalogue import Catalogue
from services.settings import Settings
from services.store import ObjectStore

UPLOADS = 8
PROGRESS_ROWS = 1000


class ValidationReport(Frozen):
    """What a manifest would come to."""

    manifest: ManifestSummary
    totals: Totals
    warnings: tuple[FaultGroup, ...] = ()


class SubmitProgress(Frozen):
    """How far a submit is: rows looked at in the first pass, rows planned in the second."""

    stage: str
    rows: int
    total: int | None = None


@dataclass(frozen=True)
class SubmitRequest:
    """What to submit.

    Args:
        name: the manifest's name where the path is a spooled copy.
        strict: a warning is a fault.
        report: where every fault and warning is written, `.jsonl` or `.csv`.
    """

    path: Path
    options: ManifestOptions
    name: str | None = None
    base_folder: Path | None = None
    job_id: str | None = None
    priority: int = 100
    keep_going: bool = False
    task_units: float | None = None
    task_rows: int | None = None
    strict: bool = False
    report: Path | None = None

    @property
    def manifest_name(self) -> str:
        return self.name or self.path.name


OnProgress = Callable[[SubmitProgress], None]
OnWarnings = Callable[[tuple[FaultGroup, ...]], None]


def validate(
    request: SubmitRequest, catalogue: Catalogue, settings: Settings, *, on_progress: OnProgress = lambda _: None
) -> ValidationReport:
    """Check a manifest and count what it would come to. Needs no service.

    Raises:
        ManifestError: faults, all of them.
    """
    summary, warnings = _first_pass(request, catalogue, settings, on_progress)
    counter = PlanCounter()
    for task in _tasks(request, catalogue, settings, "validate", on_progress, summary.rows):
        counter.add(task)
    return ValidationReport(manifest=summary, totals=counter.totals(), warnings=warnings)


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
    job = request.job_id or new_job_id(request.manifest_name)
    if not keys.is_job_id(job):
        raise SettingsError(f"--job-id {job!r}: 1 to 64 of a-z 0-9 . _ - beginning and ending with a letter or digit")
    summary, warnings = _first_pass(request, catalogue, settings, on_progress)
    on_warnings(warnings)
    spec = _spec(request, settings)
    store.check()
    resumed, done = _claim(store, job, spec)
    on_job_id(job)
    if done is not None:
        return done
    store.put_file(keys.source(job, _source_name(request.manifest_name)), request.path)
    with PlanWriter(store, job, resume=resumed) as writer, _InputUploads(store, job) as uploads:
        for task in _tasks(request, catalogue, settings, job, on_progress, summary.rows, uploads):
            writer.add(task)
        uploads.finish()
        totals = writer.finish()
    document = JobDocument(job=job, spec=spec, totals=totals, priority=request.priority, submitted_at=_now())
    store.put(keys.job_document(job), document.model_dump_json().encode(), jobs.JSON)
    return document


def new_job_id(manifest_name: str) -> str:
    """An id from the manifest's name and the time, with a few random characters."""
    stem = re.sub(r"[^a-z0-9]+", "-", manifest_name.split(".")[0].lower()).strip("-")[:30].strip("-") or "job"
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _first_pass(
    request: SubmitRequest, catalogue: Catalogue, settings: Settings, on_progress: OnProgress
) -> tuple[ManifestSummary, tuple[FaultGroup, ...]]:
    """What the manifest holds, and its warnings; raises every fault of it, together."""
    with open_report(request.report) as sink:
        faults, tally = Faults(strict=request.strict, sink=sink), Tally()
        for count, checked in enumerate(_checked(request, catalogue, settings, faults, tally)):
            row, inputs = checked.authored.row, _planned_inputs("job", checked)
            if row.then:
                faults.add(checked.authored.line, "stages cannot be rendered yet", field="then")
            for name, message in limits_broken(row, catalogue=catalogue, inputs=inputs):
                faults.add(checked.authored.line, message, field=name, value=_value(row, name))
            if count % PROGRESS_ROWS == 0:
                on_progress(SubmitProgress(stage="checking", rows=count))
    faults.raise_if_any(hint="mend the manifest and give the same command again")
    return tally.summary(), faults.warnings.groups()


def _tasks(
    request: SubmitRequest,
    catalogue: Catalogue,
    settings: Settings,
    job: str,
    on_progress: OnProgress,
    total: int,
    uploads: "_InputUploads | None" = None,
) -> Iterator[list[PlannedRow]]:
    """The second pass: rows as planned, in tasks."""

    def planned() -> Iterator[PlannedRow]:
        faults = Faults()
        for count, checked in enumerate(_checked(request, catalogue, settings, faults, None)):
            if uploads is not None:
                uploads.add(checked)
            if count % PROGRESS_ROWS == 0:
                on_progress(SubmitProgress(stage="planning", rows=count, total=total))
            authored = checked.authored
            yield resolve(
                authored.row,
                index=authored.position,
                job=job,
                catalogue=catalogue,
                inputs=_planned_inputs(job, checked),
                coordinates=authored.coordinates,
            )
        faults.raise_if_any(hint="the manifest or its images changed while they were read; give the command again")

    spec = settings.dispatch
    units = request.task_units or spec.task_units
    return cut_tasks(grouped(planned()), task_units=units, task_rows=request.task_rows or spec.task_rows)


def _checked(
    request: SubmitRequest, catalogue: Catalogue, settings: Settings, faults: Faults, tally: Tally | None
) -> Iterator[RowInputs]:
    def check_model(alias: str, pipeline: PipelineName) -> str | None:
        try:
            name, entry = catalogue.resolve(alias)
        except SettingsError as error:
            return f"{error.message}; `{error.hint}` names all"
        if pipeline not in entry.pipelines:
            able = [alias for alias, other in catalogue if pipeline in other.pipelines]
            return (
                f"model {name} has no {pipeline}; it has {', '.join(entry.pipelines)}. "
                f"Models with {pipeline}: {', '.join(able)}"
            )
        return None

    rows = read(request.path, request.options, faults, check_model=check_model)
    counted = tally.count(rows) if tally is not None else rows
    base = request.base_folder or request.path.parent
    return InputImages(base, settings.worker.image_limits).attach(counted, faults)


def _planned_inputs(job: str, checked: RowInputs) -> dict[str, PlannedInput]:
    row = checked.authored.row
    if row.pipeline == "txt2img" and not row.then:
        return {}
    found = {name: PlannedInput(InputImage(address=text), None) for name, text in input_addresses(row).items()}
    for name, local in checked.local().items():
        facts = local.facts
        key = keys.input_image(job, facts.sha256, facts.extension)
        found[name] = PlannedInput(InputImage(address=key, sha256=facts.sha256), facts.size)
    return found


def _value(row: Row, field: str) -> object:
    """What a row says in a field that a fault names, `then[0].strength` too; None where it says nothing."""
    stage, _, name = field.rpartition(".")
    if not stage:
        return getattr(row, field, None)
    position = int(stage.removeprefix("then[").removesuffix("]"))
    return getattr(row.then[position], name, None)


class _InputUploads:
    """Local input images on their way up, each content once."""

    def __init__(self, store: ObjectStore, job: str) -> None:
        self._store = store
        self._job = job
        self._sent: set[bytes] = set()
        self._pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="inputs")
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> "_InputUploads":
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, checked: RowInputs) -> None:
        for local in checked.local().values():
            digest = bytes.fromhex(local.facts.sha256)
            if digest in self._sent:
                continue
            self._sent.add(digest)
            key = keys.input_image(self._job, local.facts.sha256, local.facts.extension)
            self._waiting.append(self._pool.submit(self._send, key, local.path, local.facts.bytes))
            if len(self._waiting) > 4 * UPLOADS:
                self._waiting.pop(0).result()

    def finish(self) -> None:
        for future in self._waiting:
            future.result()

    def _send(self, key: str, path: Path, size: int) -> None:
        # The key is the content's hash: one of this size is this one.
        found = self._store.head(key)
        if found is None or found.size != size:
            self._store.put_file(key, path)


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
        task_units=request.task_units or settings.dispatch.task_units,
        task_rows=request.task_rows or settings.dispatch.task_rows,
    )


def _claim(store: ObjectStore, job: str, spec: JobSpec) -> tuple[bool, JobDocument | None]:
    """Take the job id for this manifest, or find that it is ours already. (resumed, the finished submission)."""
    try:
        known = Submission.model_validate_json(store.get(keys.submission(job))).spec
    except ObjectMissing:
        claim = Submission(job=job, spec=spec, submitted_at=_now())
        store.put(keys.submission(job), claim.model_dump_json().encode(), jobs.JSON)
        return False, None
    if known != spec:
        differs = [name for name in JobSpec.model_fields if getattr(known, name) != getattr(spec, name)]
        raise JobConflict(
            f"job id {job!r} is taken: submitted with another {', '.join(differs)}",
            hint="choose another --job-id, or give the same manifest and options to go on",
        )
    try:
        return True, JobDocument.model_validate_json(store.get(keys.job_document(job)))
    except ObjectMissing:
        return True, None


def _source_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:100] or "manifest"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
