"""One pass over a manifest: every fault and warning in it, and every row as it would be planned."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from orchestrator.collector import seldom_collected
from orchestrator.cost.estimate import CostEstimate, Prices, estimate
from orchestrator.cost.measured import Measured, measured_here
from orchestrator.cost.tally import CostTally
from orchestrator.lint.recipes import Looked
from orchestrator.lint.rows import Lint
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.inputs import InputImages, RowInputs, input_addresses
from orchestrator.manifests.reading import AuthoredRow, read
from orchestrator.manifests.report import SUFFIXES, open_report, refuse_same
from orchestrator.manifests.row_faults import RowFaults, value_of
from orchestrator.manifests.summary import ManifestSummary, Tally
from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.group import cut_tasks, grouped
from orchestrator.planner.lines import LinePlanner, PlannedLine, Prototype
from orchestrator.planner.write import PlanCounter
from orchestrator.request import PROGRESS_ROWS, OnProgress, SubmitProgress, SubmitRequest
from schemas import keys
from schemas.base import Frozen
from schemas.errors import FaultGroup, SettingsError
from schemas.job import Totals
from schemas.planned import InputImage
from schemas.rows import PipelineName
from services.catalogue import Catalogue
from services.settings import Settings

_NO_PRICES = Prices()


class ValidationReport(Frozen):
    """What a manifest would come to."""

    manifest: ManifestSummary
    totals: Totals
    warnings: tuple[FaultGroup, ...] = ()
    notes: tuple[str, ...] = Field((), description="what could not be looked at, and what helps")
    cost: CostEstimate


class Checked(NamedTuple):
    """What a pass found in a manifest without faults."""

    manifest: ManifestSummary
    warnings: tuple[FaultGroup, ...]
    notes: tuple[str, ...]
    costs: CostTally


class Plan(NamedTuple):
    """Who takes the plan of a pass.

    Attributes:
        job: the job's id, from which missing seeds and the keys of inputs are derived.
        task: takes each task's rows, in order.
        inputs: takes each row with its inputs, before its task.
        lines: rows come with their lines; without, only their cost is known.
    """

    job: str
    task: Callable[[list[PlannedLine]], None]
    inputs: Callable[[RowInputs], None] = lambda _: None
    lines: bool = True


def validate(
    request: SubmitRequest,
    catalogue: Catalogue,
    settings: Settings,
    *,
    measured: Measured | None = None,
    prices: Prices = _NO_PRICES,
    on_progress: OnProgress = lambda _: None,
) -> ValidationReport:
    """Check a manifest and say what it would come to. Needs no service.

    Args:
        measured: what earlier jobs took; None: the runs on this machine.
        prices: what is known of the machines that will render it.

    Raises:
        ManifestError: faults, all of them.
    """
    counter = PlanCounter()
    plan = Plan("validate", counter.add, lines=False)
    found = check(request, catalogue, settings, plan, on_progress=on_progress)
    costs, totals = found.costs, counter.totals()
    known = measured or measured_here(settings.data_dir)
    return ValidationReport(
        manifest=found.manifest,
        totals=totals,
        warnings=found.warnings,
        notes=found.notes,
        cost=estimate(totals, costs.units, costs.pixels, costs.unknown_sizes, known, prices),
    )


def check(
    request: SubmitRequest, catalogue: Catalogue, settings: Settings, plan: Plan, *, on_progress: OnProgress
) -> Checked:
    """Read a manifest once; rows go to `plan` as they come, faults or not, in constant memory.

    Raises:
        ManifestError: faults, all of them.
    """
    spec = settings.dispatch
    units, rows = request.task_units or spec.task_units, request.task_rows or spec.task_rows
    with seldom_collected(), open_report(request.report, [request.path]) as sink:
        faults, tally, planner = Faults(strict=request.strict, sink=sink), Tally(), LinePlanner(plan.job, catalogue)
        costs = CostTally()
        with Lint(catalogue, faults) as lint:
            checked = _checked(request, catalogue, settings, faults, tally)
            if request.report is not None:
                checked = _apart(checked, request.report)
            planned = _planned(checked, planner, plan, _Watching(faults, lint, costs, on_progress))
            for task in cut_tasks(grouped(planned), task_units=units, task_rows=rows):
                plan.task(task)
            lint.finish(lambda: _again(_checked(request, catalogue, settings, Faults(), Tally()), planner, plan.job))
    faults.raise_if_any(hint="mend the manifest and give the same command again")
    return Checked(tally.summary(), faults.warnings.groups(), lint.notes(), costs)


def _apart(rows: Iterator[RowInputs], report: Path) -> Iterator[RowInputs]:
    """The same rows; an input image that the report would be written over is refused."""
    for checked in rows:
        for local in checked.local().values():
            if local.path.suffix.lower() in SUFFIXES:  # an image's name can be anything
                refuse_same(report, local.path)
        yield checked


def _again(rows: Iterator[RowInputs], planner: LinePlanner, job: str) -> Iterator[Looked]:
    for checked in rows:
        inputs = planned_inputs(job, checked)
        yield checked.authored, planner.prototype(checked.authored.row, inputs), inputs


class _Watching(NamedTuple):
    """Who looks at every row that passes."""

    faults: Faults
    lint: Lint
    costs: CostTally
    on_progress: OnProgress


def _planned(rows: Iterator[RowInputs], planner: LinePlanner, plan: Plan, watching: _Watching) -> Iterator[PlannedLine]:
    faults, lint, costs, on_progress = watching
    found = RowFaults(faults)
    for count, checked in enumerate(rows):
        if count % PROGRESS_ROWS == 0:
            on_progress(SubmitProgress(stage="checking", rows=count))
        authored = checked.authored
        position, _, row, coordinates, _ = authored
        inputs = planned_inputs(plan.job, checked)
        prototype = planner.prototype(row, inputs)
        if prototype.broken:
            _report_broken(authored, prototype, found)
        lint.look(authored, prototype, inputs)
        costs.add(prototype)
        plan.inputs(checked)
        if plan.lines and not faults.total:
            yield planner.plan(row, prototype, position, inputs, coordinates)
        else:
            yield PlannedLine(prototype, b"")


def _report_broken(authored: AuthoredRow, prototype: Prototype, faults: RowFaults) -> None:
    for field, message, value in prototype.broken:
        given = value_of(authored.row, field) if value is None else value
        faults.add(authored, message, field=field, value=given)


def _checked(
    request: SubmitRequest, catalogue: Catalogue, settings: Settings, faults: Faults, tally: Tally
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

    options = replace(request.options, limits=request.options.limits.within(settings.manifest))
    base = request.base_folder or request.path.parent
    rows = tally.count(read(request.path, options, faults, check_model=check_model, folder=base))
    return InputImages(base, settings.worker.image_limits, settings.input_rules).attach(rows, faults)


_NONE: dict[str, PlannedInput] = {}


def planned_inputs(job: str, checked: RowInputs) -> dict[str, PlannedInput]:
    """The inputs of a row and of its stages as the plan names them, by the name of their field."""
    row = checked.authored.row
    if row.pipeline == "txt2img" and not row.then:
        return _NONE
    found = {name: PlannedInput(InputImage(address=text), None) for name, text in input_addresses(row).items()}
    for name, local in checked.local().items():
        facts = local.facts
        key = keys.input_image(job, facts.sha256, facts.extension)
        found[name] = PlannedInput(InputImage(address=key, sha256=facts.sha256), facts.size)
    return found
