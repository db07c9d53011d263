"""The images among files and folders, and their names as texts."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from schemas.errors import SettingsError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp"})


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given, folders with everything in them, by name. What is hidden is passed over.

    Raises:
        SettingsError: a path does not exist.
    """
    for path in paths:
        if path.is_dir():
            yield from _in_folder(path)
        elif path.exists():
            yield path
        else:
            raise SettingsError(f"no such file or folder: {path}")


def _in_folder(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place, name)


def name_text(path: Path | str) -> str:
    """A file's name as a text that every format can hold: bytes of it that are not UTF-8 become U+FFFD."""
    return str(path).encode(errors="surrogateescape").decode(errors="replace")
