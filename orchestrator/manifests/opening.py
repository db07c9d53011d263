"""A manifest of any format -> what builds its rows, and the values that they are built of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from orchestrator.manifests.a1111 import WRITTEN, a1111_records
from orchestrator.manifests.building import CheckModel, RowBuilder
from orchestrator.manifests.columns import Columns
from orchestrator.manifests.delimited import csv_records, text_records, tsv_records
from orchestrator.manifests.documents import PlacedFaults, Sweeper, read_outline
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.jsonl import jsonl_records
from orchestrator.manifests.names import TEMPLATE
from orchestrator.manifests.options import Format, ManifestOptions
from orchestrator.manifests.parquet import parquet_records
from orchestrator.manifests.records import Produced, Values
from orchestrator.manifests.source import Record, iter_lines, read_text
from orchestrator.manifests.templates import Templates

_HANDWRITTEN: tuple[Format, ...] = ("csv", "tsv", "a1111")


class Opened(NamedTuple):
    """What builds the rows of a manifest, and their values, streamed.

    `placed` knows where the values of the row in hand stand; None: a row is a line.
    """

    builder: RowBuilder
    records: Iterator[Values]
    placed: PlacedFaults | None = None


@dataclass(frozen=True)
class Manifest:
    """A file to be read, once or again.

    Args:
        folder: what folders of wildcards are relative to.
    """

    path: Path
    file_format: Format
    options: ManifestOptions
    folder: Path
    check_model: CheckModel | None = None

    def open(self, faults: Faults) -> Opened | None:
        """Open it; None where it is no manifest, which is a fault."""
        if self.file_format == "yaml" or self.file_format == "json":
            return self._document(self.file_format, faults)
        strip = self.file_format in _HANDWRITTEN
        keys = WRITTEN if self.file_format == "a1111" else {}
        builder = RowBuilder(self.options, faults, check_model=self.check_model, strip=strip, keys=keys)
        templates = Templates(self.options.defaults.get(TEMPLATE), self.folder, faults)
        return Opened(builder, _flat(self._records(faults), templates))

    def _document(self, file_format: Literal["yaml", "json"], faults: Faults) -> Opened | None:
        options = self.options
        columns, placed = Columns(options), PlacedFaults(faults)
        text = read_text(self.path, options.limits, placed)
        outline = None if text is None else read_outline(text, file_format, columns, options.limits, placed)
        if outline is None:
            return None
        for name in sorted(options.defaults.keys() & outline.defaults.keys()):
            message = f"the document gives this default itself, so that --set {name} is not used"
            placed.warn(outline.lines.get(name), message, field=name, value=outline.defaults[name])
        # The document's defaults are nearer to its rows than those of the command line.
        nearer = replace(options, defaults={**options.defaults, **outline.defaults})
        builder = RowBuilder(nearer, placed, check_model=self.check_model)
        templates = Templates(options.defaults.get(TEMPLATE), self.folder, placed)
        records = Sweeper(outline, columns, placed, builder.build, most_rows=options.limits.rows).records()
        return Opened(builder, _templated(records, templates), placed)

    def _records(self, faults: Faults) -> Iterator[Record]:
        columns, limits = Columns(self.options), self.options.limits
        if self.file_format == "parquet":
            return parquet_records(self.path, columns, limits, faults)
        lines = iter_lines(self.path, limits, faults)
        if self.file_format == "jsonl":
            return jsonl_records(lines, columns, limits, faults)
        readers = {"csv": csv_records, "tsv": tsv_records, "text": text_records, "a1111": a1111_records}
        return readers[self.file_format](lines, columns, faults)


def _templated(records: Iterator[Produced], templates: Templates) -> Iterator[Values]:
    """The values of records that can have templates. Written for speed: it runs once a row."""
    by_default = templates.by_default
    for record in records:
        line, values, extra, coordinates, template, _ = record
        if by_default or template is not None:
            yield from templates.of(record)
        else:
            yield line, values, extra, coordinates


def _flat(records: Iterator[Record], templates: Templates) -> Iterator[Values]:
    """The values of a format whose lines are rows. Written for speed: it runs once a row."""
    by_default = templates.by_default
    for number, (line, values, extra) in enumerate(records):
        if by_default or TEMPLATE in values:
            template = values.pop(TEMPLATE, None)
            record = Produced(line, values, extra, None, template, str(values.get("id", number)))
            yield from templates.of(record)
        else:
            yield line, values, extra, None
