"""`metadata.parquet`: one line per image, and one line for each row without images (failed, cancelled).

Lines stand in the order of the plan; `index` is the row's place in the manifest. Opens with pandas, DuckDB and
Polars. Ours are plain columns (see `SCHEMA`); `status` is done, failed or cancelled, and `image_number` is null where
a line stands for a row without images. `key` is below the store's prefix, null for an image that the safety checker
dropped. `seed`, `width` and `height` are the image's (the row's where there is none); `seconds` is the row's share of
denoising, the same on each of its images. `versions` is JSON, and so are `adapters` (LoRAs and embeddings
that took part, by source and sha256) and `coordinates`: where a swept row stands in its
parameter space, name by name; null for all others.

Columns of the user's own come twice: all of them as one JSON object in `extra`, exactly as given, and each as a
column of its own (numbers, booleans and text as they are; nested or mixed values as JSON text), `extra_NAME` where
the name is one of ours.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.extra_columns import ExtraColumns
from schemas.planned import PlannedRow
from schemas.result import ImageResult, ResultLine
from schemas.units import units

LAYOUT = {b"promptmill": b"1"}
SCHEMA = pa.schema(
    [
        ("part", pa.int32()),
        ("index", pa.int64()),
        ("id", pa.string()),
        ("status", pa.string()),
        ("image_number", pa.int32()),
        ("stage", pa.int32()),
        ("key", pa.string()),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("seed", pa.int64()),
        ("flagged", pa.bool_()),
        ("dropped", pa.bool_()),
        ("pipeline", pa.string()),
        ("model", pa.string()),
        ("prompt", pa.string()),
        ("negative_prompt", pa.string()),
        ("steps", pa.int32()),
        ("guidance_scale", pa.float64()),
        ("scheduler", pa.string()),
        ("strength", pa.float64()),
        ("noise_level", pa.int32()),
        ("clip_skip", pa.int32()),
        ("weighting", pa.string()),
        ("loras", pa.list_(pa.struct([("name", pa.string()), ("weight", pa.float64())]))),
        ("embeddings", pa.list_(pa.string())),
        ("num_images", pa.int32()),
        ("format", pa.string()),
        ("quality", pa.int32()),
        ("input_image", pa.string()),
        ("input_image_sha256", pa.string()),
        ("input_mask", pa.string()),
        ("input_mask_sha256", pa.string()),
        ("units", pa.float64()),
        ("error_class", pa.string()),
        ("error_message", pa.string()),
        ("attempts", pa.int32()),
        ("batch_size", pa.int32()),
        ("slot", pa.int32()),
        ("device", pa.string()),
        ("dtype", pa.string()),
        ("versions", pa.string()),
        ("model_source", pa.string()),
        ("model_revision", pa.string()),
        ("safety", pa.string()),
        ("adapters", pa.string()),
        ("warnings", pa.list_(pa.string())),
        ("seconds", pa.float64()),
        ("worker", pa.string()),
        ("token", pa.string()),
        ("finished_at", pa.string()),
        ("coordinates", pa.string()),
        ("tiled", pa.bool_()),
        ("then", pa.string()),
        ("keep", pa.string()),
        ("stages", pa.string()),
        ("extra", pa.string()),
    ],
    metadata=LAYOUT,
)
# Names that a column of the user's own never gets. Fetch adds `file_name`, and an imagefolder the picture as `image`:
# a column of that name would hide the picture.
RESERVED = (*SCHEMA.names, "file_name", "image")
_JSON_COLUMNS = ("coordinates", "then", "stages", "extra")
# A row group holds whole parts. Few large groups read fast; this much is held in memory until one is written.
GROUP_LINES = 10_000
GROUP_BYTES = 16 * 2**20


def row_lines(part: int, row: PlannedRow, outcome: ResultLine | None) -> list[dict[str, Any]]:
    """The lines of one row; without an outcome it was cancelled. `extra` is the row's own dictionary."""
    if outcome is None or outcome.status == "failed":
        return [_planned(part, row, 0) | _rendered(outcome, 0)]
    stages = sorted({image.stage for image in outcome.images})
    base = {stage: _planned(part, row, stage) | _rendered(outcome, stage) for stage in stages}
    return [base[image.stage] | _image(row, outcome, image) for image in outcome.images]


def _planned(part: int, row: PlannedRow, stage: int) -> dict[str, Any]:
    """What was planned for one stage; `image` is that of the first."""
    view = row.at_stage(stage)
    copied = view.model_dump(exclude={"v", "image", "mask", "then"})
    inputs = {"image": row.image, "mask": view.mask}
    return {
        "part": part,
        **copied,
        "coordinates": row.coordinates or None,
        "tiled": view.tiling is not None,
        "then": [later.model_dump(mode="json", exclude_none=True) for later in row.then] or None,
        "keep": row.keep,
        "stages": None,
        **{f"input_{name}": found.address if found else None for name, found in inputs.items()},
        **{f"input_{name}_sha256": found.sha256 if found else None for name, found in inputs.items()},
    }


def _rendered(outcome: ResultLine | None, stage: int) -> dict[str, Any]:
    if outcome is None:
        return {"status": "cancelled"}
    found: dict[str, Any] = {"status": outcome.status}
    for name in ("warnings", "seconds", "attempts", "worker", "token", "finished_at"):
        found[name] = getattr(outcome, name)
    # Of a row with one stage the line itself says it.
    made = outcome.stages[stage] if stage < len(outcome.stages) else None
    inputs = outcome.inputs | made.inputs if made else outcome.inputs
    found |= {f"input_{name}_sha256": sha256 for name, sha256 in inputs.items()}
    found["stages"] = [each.model_dump(mode="json", exclude_defaults=True) for each in outcome.stages] or None
    if outcome.failure:
        failure = outcome.failure
        found |= {
            "error_class": failure.error_class,
            "error_message": failure.message,
            "attempts": failure.attempts,
        }
    render = made.render if made else outcome.render
    if render:
        found |= render.model_dump(exclude={"versions", "adapters"})
        found["versions"] = json.dumps(render.versions, sort_keys=True)
        adapters = [adapter.model_dump() for adapter in render.adapters]
        found["adapters"] = json.dumps(adapters) if adapters else None
    return found


def _image(row: PlannedRow, outcome: ResultLine, image: ImageResult) -> dict[str, Any]:
    found = image.model_dump(exclude={"image"})
    return found | {"image_number": image.image, "units": image_units(row, outcome, image)}


def image_units(row: PlannedRow, outcome: ResultLine, image: ImageResult) -> float:
    """What one image cost: its own stage, and those before it whose images were not kept and have no line."""
    own = units(image.width, image.height, row.at_stage(image.stage).steps)
    if row.keep == "all":
        return own
    before = enumerate(outcome.stages[: image.stage])
    return own + sum(units(stage.width, stage.height, row.at_stage(number).steps) for number, stage in before)


class MetadataWriter:
    """Writes the table to a folder on this machine, part by part, in constant memory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lines.parquet"
        self._flat = folder / "metadata.parquet"
        self._writer = pq.ParquetWriter(self._path, SCHEMA, compression="zstd")
        self._extras = ExtraColumns()
        self._tables: list[pa.Table] = []

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Add all lines of one part.

        Raises:
            OSError: the disk is full.
        """
        for line in lines:
            self._extras.learn(line["extra"])
        texts = [line | {name: _json(line[name]) for name in _JSON_COLUMNS} for line in lines]
        self._tables.append(pa.Table.from_pylist(texts, schema=SCHEMA))
        if sum(table.num_rows for table in self._tables) >= GROUP_LINES or self._held() >= GROUP_BYTES:
            self._flush()

    def _held(self) -> int:
        return sum(table.nbytes for table in self._tables)

    def _flush(self) -> None:
        if self._tables:
            table = pa.concat_tables(self._tables)
            self._writer.write_table(table, row_group_size=table.num_rows)
            self._tables = []

    def finish(self) -> Path:
        """The finished file.

        Which columns the users' own need is known only now, so that they are added in a second pass over the file.

        Raises:
            OSError: the disk is full.
        """
        self._flush()
        self._writer.close()
        if not self._extras:
            return self._path
        writer: pq.ParquetWriter | None = None
        with pq.ParquetFile(self._path) as file:
            for number in range(file.num_row_groups):
                table = self._extras.added_to(file.read_row_group(number), RESERVED)
                if writer is None:
                    writer = pq.ParquetWriter(self._flat, table.schema, compression="zstd")
                writer.write_table(table, row_group_size=table.num_rows)
        if writer is not None:
            writer.close()
        return self._flat

    def close(self) -> None:
        """Let go of the file; needed only where `finish` was never reached."""
        self._writer.close()


def _json(value: dict[str, Any] | list[Any] | None) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None
