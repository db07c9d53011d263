"""The runs of `promptmill rerender`: as `promptmill run`, with workers that are told what the recorded ones had."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from orchestrator.cli.local_stack import LocalStack
from orchestrator.cli.watching import watch
from orchestrator.client import Client
from orchestrator.fetch_folder import FAILED, METADATA
from orchestrator.importing.inputs_by_content import InputFiles
from orchestrator.importing.locating import with_files
from orchestrator.local_disk import local_disk
from orchestrator.manifests.options import ManifestOptions
from orchestrator.rerender.comparing import Verdict, compare
from orchestrator.rerender.kept import KeptFiles
from orchestrator.rerender.originals import OriginalRow
from orchestrator.rerender.plan import Job, WorkerSetup, jobs_of, setup_of
from orchestrator.submit import SubmitRequest
from services.cli.output import counted, say
from services.settings import Settings, load_settings

# A task is not cut: the batches of its rows must be those of the original.
_TASK_ROWS, _TASK_UNITS = 10_000, 1e12


class Rerendering:
    """Renders rows again and compares their images with the originals.

    Args:
        settings: the user's; models and logging count, services are started anew.
        inputs: where input images are found.
        scratch: a folder that is removed afterwards.
        kept: where the new images are kept; None: nowhere.
        gpus: as `--gpus` of `promptmill worker`.
    """

    def __init__(
        self, settings: Settings, inputs: InputFiles, scratch: Path, kept: KeptFiles | None, gpus: str | None
    ) -> None:
        self._settings = settings
        self._inputs = inputs
        self._scratch = scratch
        self._kept = kept
        self._gpus = gpus
        self._catalogue = Client(settings).catalogue
        self._runs = 0

    def run(self, rows: Sequence[OriginalRow]) -> list[Verdict]:
        """A verdict for each image, in the order in which they could be rendered together.

        Raises:
            ManifestError: a recorded row is no row to this version or catalogue.
            ServiceError: a service or a worker did not start.
        """
        verdicts: list[Verdict] = []
        groups: dict[WorkerSetup, list[OriginalRow]] = {}
        for row in rows:
            lacking = self._prepare(row)
            if lacking:
                verdicts += _failed(row, lacking)
            else:
                groups.setdefault(setup_of(row, gpus=self._gpus is not None), []).append(row)
        for setup, together in groups.items():
            verdicts += self._render(setup, together)
        return verdicts

    def _prepare(self, row: OriginalRow) -> str:
        """Put files in the place of the row's inputs; what is lacking, or an empty text."""
        missing: list[str] = []

        def find(sha256: str) -> str | None:
            path = self._inputs.find(sha256)
            if path is None:
                missing.append(sha256)
            return str(path.resolve()) if path else None

        row.values = with_files(row.values, find)
        models = [row.values["model"], *(stage["model"] for stage in row.values.get("then", ()))]
        unknown = [model for model in models if model not in self._catalogue.names]
        if unknown:
            return f"model {unknown[0]} is not in the catalogue: `promptmill models list`, or --models-file"
        return f"its input sha256:{missing[0]} was not found: --inputs DIR, or --job JOB" if missing else ""

    def _render(self, setup: WorkerSetup, rows: Sequence[OriginalRow]) -> list[Verdict]:
        self._runs += 1
        folder = self._scratch / f"run-{self._runs}"
        images = sum(len(row.originals) for row in rows)
        batch = f", {setup.max_batch} in a batch" if setup.max_batch > 1 else ""
        say(f"rendering {counted(images, 'image')} again{batch} ...")
        threads = {"OMP_NUM_THREADS": str(setup.threads)} if setup.threads else {}
        stack = LocalStack(
            self._base(setup, folder), workers=1, gpus=self._gpus, exact=False, safety=None, environment=threads
        )
        verdicts: list[Verdict] = []
        with stack:
            client = Client(stack.settings)
            jobs = jobs_of(rows)
            ids = [self._submit(client, job, folder / f"{number}.jsonl") for number, job in enumerate(jobs)]
            stack.start_work()
            for job, job_id in zip(jobs, ids, strict=True):
                watch(client, job_id, stack.check)
                client.fetch(job_id, folder / job_id)
                verdicts += self._judge(job, folder / job_id)
        return verdicts

    def _base(self, setup: WorkerSetup, folder: Path) -> Settings:
        """The user's settings over a data folder of their own, with their built-in models."""
        worker = {"max_batch": setup.max_batch, "safety": setup.safety, "device": setup.device, "dtype": setup.dtype}
        with local_disk(folder):
            folder.mkdir(parents=True)
            models = (self._settings.data_dir / "models").absolute()
            if models.is_dir():
                (folder / "models").symlink_to(models)
        return load_settings(data_dir=folder, models_file=self._settings.models_file, worker=worker)

    def _submit(self, client: Client, job: Job, path: Path) -> str:
        with local_disk(path):
            path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in job.manifest))
        request = SubmitRequest(
            path=path,
            options=ManifestOptions(),
            job_id=f"rerender-{path.stem}",
            keep_going=True,
            task_rows=_TASK_ROWS,
            task_units=_TASK_UNITS,
        )
        return client.submit_request(request).job

    def _judge(self, job: Job, folder: Path) -> list[Verdict]:
        """Compare what was fetched with the originals."""
        files = {(line["id"], line["image_number"]): line for line in _lines(folder / METADATA)}
        reasons = {line["id"]: f"{line['error_class']}: {line['error_message']}" for line in _lines(folder / FAILED)}
        verdicts: list[Verdict] = []
        for row in job.rows:
            if row.row_id in reasons:
                verdicts += _failed(row, reasons[row.row_id])
                continue
            for original in row.originals:
                line = files.get((row.row_id, original.record.image))
                if line is None:
                    verdicts += _failed(row, "it was dropped by the safety checker")
                    continue
                made = (folder / line["file_name"]).read_bytes()
                verdict = compare(original.label, original.file.read_bytes(), made, line["sha256"])
                if self._kept is not None:  # only now: nothing that is compared may change before
                    verdict = verdict.model_copy(update={"kept": str(self._kept.keep(original, made))})
                verdicts.append(verdict)
        return verdicts


def _failed(row: OriginalRow, reason: str) -> list[Verdict]:
    return [Verdict(file=one.label, outcome="failed", reasons=(reason,)) for one in row.originals]


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
