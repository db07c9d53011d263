"""Names of fetched files: `ID.png`, or `ID-K.png` for a row with more than one image.

Where the images of a chain's earlier stages are kept, theirs end with the stage: `ID-s0.png`, `ID-K-s0.png`.

A name depends on the plan alone, never on what lies in the folder. Where two images would get the same name on a
disk that does not tell case (or Unicode's spellings) apart, or on any disk (row `a-1`, and image 1 of row `a`), all
rows concerned get `ID~INDEX` instead: no row id holds a `~`, so that these names are free.
"""

import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.prefetch import prefetch
from schemas import keys
from schemas.job import JobDocument
from schemas.planned import PlannedRow
from services.store import ObjectStore

# File systems take 255 bytes; suffix, extension and the name of a part-written file need some of them.
MAX_STEM_BYTES = 200
_READERS = 4


class FileNames:
    """Names of a job's images. `doubled` holds the hashes (`stem_hash`) of stems that occur more than once."""

    def __init__(self, doubled: frozenset[int]) -> None:
        self._doubled = doubled

    def of(self, row: PlannedRow) -> list[str]:
        """A file name for each image of a row's last stage, in order; then for those of its first one, and so on."""
        earlier = len(row.then) if row.keep == "all" else 0
        stems = _stems(_short(row.id), row.num_images, earlier)
        if self._doubled and not self._doubled.isdisjoint(map(stem_hash, stems)):
            stems = _stems(f"{_short(row.id)}~{row.index:06d}", row.num_images, earlier)
        return [f"{stem}.{keys.EXTENSIONS[row.format]}" for stem in stems]

    def by_image(self, row: PlannedRow) -> dict[tuple[int, int], str]:
        """A file name for each image that a row keeps, by its number and its stage."""
        stages = [len(row.then), *range(len(row.then))]
        places = [(number, stage) for stage in stages for number in range(row.num_images)]
        return dict(zip(places, self.of(row), strict=False))


def file_names(store: ObjectStore, document: JobDocument) -> FileNames:
    """Look through a job's plan for names that would meet. Takes 8 bytes of memory for each image.

    Raises:
        ServiceError: the object store did not answer, or a part of the plan is missing.
    """

    def hashes(part: int) -> pa.Array:
        lines = store.get(keys.plan_part(document.job, part)).splitlines()
        return pa.array([found for line in lines if line for found in _hashes(line)], pa.uint64())

    with ThreadPoolExecutor(_READERS, thread_name_prefix="names") as pool:
        chunks = list(prefetch(pool, hashes, range(document.totals.parts), _READERS))
    found = pa.chunked_array(chunks, pa.uint64()).combine_chunks()
    ordered = found.take(pc.array_sort_indices(found))
    twice = ordered.slice(1).filter(pc.equal(ordered.slice(1), ordered.slice(0, max(0, len(ordered) - 1))))
    return FileNames(frozenset(twice.to_pylist()))


def _hashes(line: bytes) -> Iterator[int]:
    row = orjson.loads(line)
    earlier = len(row.get("then", ())) if row.get("keep") == "all" else 0
    return map(stem_hash, _stems(_short(row["id"]), row.get("num_images", 1), earlier))


def _stems(base: str, images: int, earlier: int) -> list[str]:
    """`earlier`: stages before the last whose images are kept."""
    last = [base] if images == 1 else [f"{base}-{number}" for number in range(images)]
    return last + [f"{stem}{keys.stage_suffix(stage)}" for stage in range(earlier) for stem in last]


def _short(name: str) -> str:
    return name.encode()[:MAX_STEM_BYTES].decode(errors="ignore")


def stem_hash(stem: str) -> int:
    """64 bits that are equal for names that a disk may take for one: case and Unicode's spellings folded."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", stem).casefold())
    return int.from_bytes(blake2b(folded.encode(), digest_size=8).digest(), "big")
