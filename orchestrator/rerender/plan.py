"""Which rows are rendered together: by what their workers are told, and one job for each row that needs fillers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestrator.importing.free_ids import FreeIds
from orchestrator.rerender.originals import OriginalRow

_THREADS = re.compile(r"cpu \((\d+) threads\)")


class WorkerSetup(NamedTuple):
    """What a worker is told, so that it renders as the recorded one did; None: as it finds best."""

    max_batch: int  # 0: by size and memory
    safety: str
    device: str | None
    dtype: str | None
    threads: int | None


@dataclass
class Job:
    """Rows of one submission, and what its manifest says: the rows, and fillers around a row of a larger batch."""

    rows: list[OriginalRow] = field(default_factory=list)
    manifest: list[dict[str, Any]] = field(default_factory=list)


def setup_of(row: OriginalRow, *, gpus: bool) -> WorkerSetup:
    """The worker for a row. A recorded dtype is only asked for where the recorded kind of device is."""
    render = row.originals[0].record.render
    threads = _THREADS.fullmatch(render.device)
    on_cpu = render.device.startswith("cpu") and not gpus
    return WorkerSetup(
        max_batch=row.max_batch,
        safety=render.safety,
        device="cpu" if on_cpu else None,
        dtype=render.dtype if on_cpu or (gpus and not render.device.startswith("cpu")) else None,
        threads=int(threads[1]) if threads and on_cpu else None,
    )


def jobs_of(rows: Iterable[OriginalRow]) -> list[Job]:
    """Rows of one worker's setup as jobs: those that were alone in their batches share one as far as ids allow."""
    shared: list[Job] = []
    own: list[Job] = []
    for row in rows:
        layout = row.layout()
        if row.max_batch != 1:
            own.append(Job([row], _with_fillers(row.values, layout.before, layout.behind)))
            continue
        free = (job for job in shared if row.row_id not in {other.row_id for other in job.rows})
        job = next(free, None)
        if job is None:
            job = Job()
            shared.append(job)
        job.rows.append(row)
        job.manifest.append(row.values)
    return [*shared, *own]


def _with_fillers(values: dict[str, Any], before: int, behind: int) -> list[dict[str, Any]]:
    """The row between others of its batch key, one image each."""
    ids = FreeIds()
    ids.take(str(values["id"]))
    alone = {name: value for name, value in values.items() if name != "num_images"}
    fillers: Sequence[dict[str, Any]] = [alone | {"id": ids.take("filler")} for _ in range(before + behind)]
    return [*fillers[:before], values, *fillers[before:]]
