"""Where images that were rendered again are kept: never over one that they are compared with."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from orchestrator.fetch_names import FileNames
from orchestrator.importing.free_ids import FreeIds
from orchestrator.local_disk import local_disk, whole_file
from orchestrator.rerender.originals import Original
from schemas.errors import SettingsError
from services.image_metadata.record import planned_row


class KeptFiles:
    """A folder, with a name of its own for each original, known before anything is rendered.

    Args:
        folder: made when the first image is kept.
        force: write over other files that have such a name already.

    Raises:
        SettingsError: there is a file with one of the names.
    """

    def __init__(self, folder: Path, originals: Sequence[Original], *, force: bool) -> None:
        self._force = force
        self._originals = {_identity(one.file) for one in originals}
        names = FreeIds()
        self._places: dict[Path, Path] = {}
        for one in originals:
            name = PurePath(_name(one))
            self._places.setdefault(one.file, folder / (names.take(name.stem) + name.suffix))
        for place in self._places.values():
            self._check(place)

    def keep(self, original: Original, data: bytes) -> Path:
        """Write the image that came out in the place of an original; where it lies.

        Raises:
            SettingsError: there is a file with its name by now.
            LocalDiskError: the disk is full or not writable.
        """
        place = self._places[original.file]
        self._check(place)
        with local_disk(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as file:
            file.write(data)
        return place

    def _check(self, place: Path) -> None:
        if not place.exists():
            return
        if _identity(place) in self._originals:
            raise SettingsError(
                f"{place} is one of the images to compare with", hint="keep the new ones in another folder: -o DIR"
            )
        if not self._force:
            raise SettingsError(f"{place} is there already", hint="name another folder, or --force writes over it")


def _name(original: Original) -> str:
    """As `promptmill fetch` would name it."""
    row = planned_row(original.record)
    return FileNames(frozenset()).by_image(row)[original.record.image, len(row.then)]


def _identity(file: Path) -> tuple[int, int]:
    """Of a file by whatever name."""
    with local_disk(file):
        status = file.stat()
    return status.st_dev, status.st_ino
