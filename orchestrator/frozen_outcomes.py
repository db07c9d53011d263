"""Outcomes that an earlier finalize froze: a row that is done in `metadata.parquet` stays as it is there."""

import json
import logging
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from orchestrator.local_disk import local_disk
from orchestrator.metadata_table import LAYOUT
from schemas import keys
from schemas.errors import ObjectMissing
from schemas.result import ImageResult, RenderInfo, ResultLine, StageResult
from services.store import ObjectStore

_IMAGE = tuple(name for name in ImageResult.model_fields if name != "image")
_RENDER = tuple(name for name in RenderInfo.model_fields if name not in ("versions", "adapters"))
_LINE = ("index", "id", "status", "warnings", "worker", "token", "seconds", "finished_at")
_INPUTS = ("image", "mask")
_COLUMNS = (
    *_LINE,
    *_IMAGE,
    *_RENDER,
    "part",
    "image_number",
    "attempts",
    "stages",
    "versions",
    "adapters",
    *(f"input_{name}_sha256" for name in _INPUTS),
)
# Columns that a table may lack: it was written before they came, and their default is what it meant.
_LATER = frozenset({"stage", "stages", "adapters"})

logger = logging.getLogger(__name__)


class FrozenOutcomes:
    """The done rows of an earlier `metadata.parquet`, by part. Safe for use by many threads."""

    def __init__(self, path: Path | None) -> None:
        """`path` is a local copy of the table; None: there was no earlier finalize."""
        self._lock = Lock()
        self._file = None if path is None else pq.ParquetFile(path)
        self._groups: list[tuple[int, int]] = [] if self._file is None else list(_part_ranges(self._file))
        self._cached: tuple[int, pa.Table] | None = None
        names = set() if self._file is None else set(self._file.schema_arrow.names)
        self._columns = [name for name in _COLUMNS if name in names]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def part(self, part: int) -> dict[int, ResultLine]:
        """The done rows of one part, by the row's index."""
        for number, (first, last) in enumerate(self._groups):
            if first <= part <= last:
                table = self._group(number)
                lines = table.filter(pc.equal(table.column("part"), part)).to_pylist()
                return {line.index: line for line in _result_lines(lines)}
        return {}

    def _group(self, number: int) -> pa.Table:
        with self._lock:
            if self._file is None:
                raise RuntimeError("no table, no groups")
            if self._cached is None or self._cached[0] != number:
                self._cached = (number, self._file.read_row_group(number, columns=self._columns))
            return self._cached[1]


def read_frozen(store: ObjectStore, job: str, folder: Path) -> FrozenOutcomes:
    """Copy the job's `metadata.parquet` into `folder` and open it.

    A table that cannot be understood counts as none: every finalize builds it anew.

    Raises:
        LocalDiskError: this machine's disk is full.
        ServiceError: the object store did not answer.
    """
    path = folder / "frozen.parquet"
    try:
        with local_disk(folder), path.open("wb") as file:
            store.download(keys.metadata_table(job), file)
    except ObjectMissing:
        return FrozenOutcomes(None)
    try:
        return FrozenOutcomes(path)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        logger.warning("metadata.parquet of job %s cannot be read and is built anew: %s", job, error)
        return FrozenOutcomes(None)


def _part_ranges(file: pq.ParquetFile) -> Iterator[tuple[int, int]]:
    """First and last part of each row group, from its statistics.

    Raises:
        ValueError: not a table of ours, or one of another version.
    """
    schema = file.schema_arrow
    if (schema.metadata or {}).get(b"promptmill") != LAYOUT[b"promptmill"] or not set(_COLUMNS) - _LATER <= set(
        schema.names
    ):
        raise ValueError("another layout")
    column = schema.names.index("part")
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(column).statistics
        if statistics is None or not statistics.has_min_max:
            raise ValueError("no statistics")
        yield statistics.min, statistics.max


def _result_lines(lines: list[dict[str, Any]]) -> Iterator[ResultLine]:
    done = (line for line in lines if line["status"] == "done")
    for _, images in groupby(done, key=lambda line: line["index"]):
        try:
            yield _result_line(list(images))
        except ValidationError as error:
            logger.warning("a line of metadata.parquet is not understood: %s", error.errors()[0]["msg"])


def _result_line(lines: list[dict[str, Any]]) -> ResultLine:
    first = lines[0]
    stages = [StageResult.model_validate(stage) for stage in json.loads(first.get("stages") or "[]")]
    render = {name: first[name] for name in _RENDER} | {
        "versions": json.loads(first["versions"] or "{}"),
        "adapters": json.loads(first.get("adapters") or "[]"),
    }
    inputs = {name: first[f"input_{name}_sha256"] for name in _INPUTS}
    return ResultLine.model_validate(
        {name: first[name] for name in _LINE}
        | {
            "images": [
                {name: line[name] for name in _IMAGE if name in line} | {"image": line["image_number"]}
                for line in lines
            ],
            "render": render if first["device"] is not None else None,
            "inputs": {name: sha256 for name, sha256 in inputs.items() if sha256},
            "attempts": first["attempts"] or 1,  # null in tables of the first version
            "width": first["width"],
            "height": first["height"],
        }
        | (_of_chain(stages) if stages else {})
    )


def _of_chain(stages: list[StageResult]) -> dict[str, Any]:
    """What a result says of a row with several stages: its last one's, where a line can be an earlier one's."""
    last = stages[-1]
    found = {"stages": stages, "inputs": stages[0].inputs, "width": last.width, "height": last.height}
    reached = [stage.render for stage in stages if stage.render]
    return found | {"render": reached[-1] if reached else None}
