"""A manifest -> rows, streamed, every fault collected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.manifests.building import CheckModel
from orchestrator.manifests.documents import Places
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.formats import detect_format
from orchestrator.manifests.ids import IdIndex, given_id, report_repeated
from orchestrator.manifests.opening import Manifest
from orchestrator.manifests.options import ManifestOptions
from schemas.errors import ManifestError
from schemas.rows import Row


class AuthoredRow(NamedTuple):
    """A valid row and where it stands: `position` from 0 among the rows, `line` from 1 as an editor counts.

    A row of CSV or TSV that goes over several lines has the first of them; one of Parquet has its number, from 1.
    """

    position: int
    line: int
    row: Row
    coordinates: dict[str, Any] | None = None
    """Where a swept row stands in its parameter space: name -> value."""
    places: Places | None = None
    """Where the values of a document's row stand; None: all on its line."""


def read(
    path: Path,
    options: ManifestOptions,
    faults: Faults,
    *,
    check_model: CheckModel | None = None,
    folder: Path | None = None,
) -> Iterator[AuthoredRow]:
    """Stream the valid rows of a manifest, in its order. Call `faults.raise_if_any()` after the last one.

    Memory is constant in rows and faults. Ids that come twice, and that there are no rows, are known, and added, only
    at the end. A row with faults is left out, but counts in `position`.

    Args:
        check_model: says what is wrong with an alias for a pipeline, or None; asked once for each pair.
        folder: what folders of wildcards are relative to; None: the manifest's own.
    """
    try:
        file_format = detect_format(path, options)
    except ManifestError as error:
        faults.extend(error)
        return
    manifest = Manifest(path, file_format, options, folder or path.parent, check_model)
    opened = manifest.open(faults)
    if opened is None:
        return
    builder, records, placed = opened
    with IdIndex() as ids:
        for position, (line, values, extra, coordinates) in enumerate(records):
            if position >= options.limits.rows:
                faults.add(line, f"more than {options.limits.rows:,} rows: split the manifest (or manifest.max_rows)")
                break
            row = builder.build(line, values, extra)
            if row is None:
                ids.add(given_id(values))
                continue
            ids.add(row.id)
            yield AuthoredRow(position, line, row, coordinates, None if placed is None else placed.places)
        if not len(ids) and not faults.total:
            faults.add(None, "no rows")
        report_repeated(ids, lambda: _again(manifest), faults)


def _again(manifest: Manifest) -> Iterator[tuple[int, dict[str, Any], Any]]:
    """The same records once more, without their faults."""
    opened = manifest.open(Faults())
    assert opened is not None
    return ((line, values, extra) for line, values, extra, _ in opened.records)
