"""A job in an object store in memory: plan, pieces and images, without any process."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from schemas import keys
from schemas.errors import ObjectMissing
from schemas.job import ControlEvent, JobDocument, JobSpec, RoundDocument, Totals
from schemas.planned import PlannedRow
from schemas.result import ImageResult, RenderInfo, ResultLine, RowFailure
from services import jobs
from services.store import ObjectInfo, ObjectStore

JOB = "parti"
RENDER = RenderInfo(
    device="cpu", dtype="float32", versions={"torch": "2"}, model_source="m", model_revision=None, safety="keep"
)
ROUND = "01J00000000000000000000000"


class MemoryStore(ObjectStore):
    """The same verbs over a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.gets: list[str] = []
        self.puts: list[str] = []

    @property
    def place(self) -> str:
        return "memory"

    def get(self, key: str) -> bytes:
        self.gets.append(key)
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissing(f"no object {key!r}") from None

    def put(self, key: str, data: bytes, content_type: str = "", metadata: Mapping[str, str] | None = None) -> None:
        self.puts.append(key)
        self.objects[key] = bytes(data)

    def put_file(self, key: str, path: Path, content_type: str = "") -> None:
        self.put(key, path.read_bytes())

    def download(self, key: str, file: BinaryIO, chunk: int = 1 << 20) -> str:
        data = self.get(key)
        file.write(data)
        return hashlib.sha256(data).hexdigest()

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        for key in sorted(self.objects):
            if key.startswith(folder):
                yield ObjectInfo(key, len(self.objects[key]), "")

    def list_folders(self, folder: str) -> Iterator[str]:
        names = {key.removeprefix(folder).split("/")[0] for key in self.objects if key.startswith(folder)}
        yield from (f"{folder}{name}/" for name in sorted(names))


def planned(index: int, **changes: Any) -> PlannedRow:
    values: dict[str, Any] = {
        "index": index,
        "id": f"row-{index}",
        "pipeline": "txt2img",
        "model": "tiny",
        "prompt": f"prompt {index}",
        "width": 64,
        "height": 32,
        "steps": 4,
        "guidance_scale": 7.5,
        "seed": 100 + index,
        "scheduler": None,
    }
    return PlannedRow.model_validate(values | changes)


def add_job(store: ObjectStore, parts: list[list[PlannedRow]]) -> JobDocument:
    """Write the plan and the document of a job."""
    for number, rows in enumerate(parts):
        _write_part(store, number, rows)
    rows = [row for part in parts for row in part]
    totals = Totals(
        rows=len(rows),
        images=sum(row.num_images for row in rows),
        units=sum(row.units() for row in rows),
        tasks=len(parts),
        parts=len(parts),
    )
    spec = JobSpec(
        manifest_name="m.jsonl", manifest_sha256="0" * 64, manifest_format="jsonl", task_units=1, task_rows=9
    )
    document = JobDocument(job=JOB, spec=spec, totals=totals, submitted_at="2026-01-01T00:00:00+00:00")
    store.put(keys.job_document(JOB), document.model_dump_json().encode())
    return document


def _write_part(store: ObjectStore, number: int, rows: list[PlannedRow], round_id: str | None = None) -> None:
    data = b"".join(row.model_dump_json().encode() + b"\n" for row in rows)
    store.put(keys.plan_part(JOB, number, round_id), data)


def add_round(store: ObjectStore, first_part: int, rows: list[PlannedRow]) -> None:
    """Write a retry of these rows, as one task in one part."""
    _write_part(store, first_part, rows, ROUND)
    totals = Totals(rows=len(rows), images=len(rows), units=1, tasks=1, parts=1)
    found = RoundDocument(round_id=ROUND, first_task=first_part, first_part=first_part, totals=totals, created_at="")
    store.put(keys.round_document(JOB, ROUND), found.model_dump_json().encode())


def add_control(store: ObjectStore, verb: Any) -> None:
    jobs.write_control(store, JOB, ControlEvent(verb=verb))


def done(
    store: ObjectStore, part: int, row: PlannedRow, token: str = "b", drop: tuple[int, ...] = (), **changes: Any
) -> ResultLine:
    """Upload the images of a row and return the line that names them."""
    images = []
    for number in range(row.num_images):
        data = f"image {row.id} {number} {token}".encode()
        key = keys.image(JOB, part, row.index, number, token, row.format)
        dropped = number in drop
        if not dropped:
            store.put(key, data)
        images.append(
            ImageResult(
                image=number,
                seed=row.seed + number,
                key=None if dropped else key,
                sha256=None if dropped else hashlib.sha256(data).hexdigest(),
                bytes=None if dropped else len(data),
                width=64,
                height=32,
                flagged=dropped,
                dropped=dropped,
                batch_size=2,
                slot=1,
            )
        )
    values: dict[str, Any] = {
        "index": row.index,
        "id": row.id,
        "status": "done",
        "images": images,
        "render": RENDER,
        "width": 64,
        "height": 32,
        "worker": "w-1",
        "token": token,
        "seconds": 1.5,
        "finished_at": "2026-01-01T00:00:01+00:00",
    }
    return ResultLine.model_validate(values | changes)


def failed(row: PlannedRow, token: str = "b", error_class: Any = "render_error") -> ResultLine:
    failure = RowFailure(error_class=error_class, message="it broke", attempts=2)
    return ResultLine(index=row.index, id=row.id, status="failed", failure=failure, token=token)


def add_piece(store: ObjectStore, part: int, lines: list[ResultLine], token: str = "b", number: int = 0) -> None:
    jobs.write_piece(store, keys.piece(JOB, part, part, token, number), lines)
