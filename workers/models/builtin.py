"""The models that need no network: made once per machine in a cache folder, or shipped with the package."""

import shutil
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from schemas.errors import LocalDiskError, ModelUnavailable

TINY = ("tiny", "tiny-2", "tiny-xl")
SHIPPED = ("shapes",)
_PACKAGED = Path(__file__).parents[1] / "builtin"


def builtin_folder(place: str, cache: Path) -> Path:
    """The folder of a built-in source (`tiny`, `tiny/inpaint`), found in the package, or built if it is not there yet.

    Raises:
        ModelUnavailable: no such model, or the worker's libraries are not installed.
        LocalDiskError: the cache cannot be written.
    """
    name, _, part = place.partition("/")
    if name not in TINY + SHIPPED:
        raise ModelUnavailable(f"no built-in model {name!r}", hint="promptmill models list")
    folder = (_PACKAGED / name if name in SHIPPED else _tiny(name, cache)) / (part or "base")
    if not folder.is_dir():
        raise ModelUnavailable(f"the built-in model {name} has no {part}")
    return folder


def _tiny(name: str, cache: Path) -> Path:
    try:
        from workers.models.libraries import quiet_libraries
        from workers.models.tiny import RECIPE, build
    except ImportError as error:
        raise ModelUnavailable(f"builtin:{name}: {error}", hint="pip install 'promptmill[worker]'") from None
    # The libraries write their versions into the configurations: other versions, another folder.
    made_by = f"{RECIPE} {version('diffusers')} {version('transformers')}"
    final = cache.absolute() / f"{name}-{sha256(made_by.encode()).hexdigest()[:10]}"
    if final.is_dir():
        return final
    try:
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
        try:
            quiet_libraries()
            build(name, fresh)
            fresh.chmod(0o755)
            _put_in_place(fresh, final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise LocalDiskError(f"{cache}: {error.strerror or error}", hint="data_dir names a writable folder") from None
    return final


def _put_in_place(fresh: Path, final: Path) -> None:
    """Rename, whole or not at all. Another process may have been faster: its bytes are the same."""
    try:
        fresh.rename(final)
    except OSError:
        if not final.is_dir():
            raise
