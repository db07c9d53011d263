"""The built-in LoRAs and textual inversions of the tiny models: random, made locally by code, the same everywhere."""

import os
import tempfile
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from schemas.errors import LocalDiskError, ModelUnavailable

NAMES = ("tiny-lora", "tiny-xl-lora", "tiny-word", "tiny-xl-word")


def builtin_file(name: str, cache: Path) -> Path:
    """The safetensors file of a built-in LoRA or embedding, made if it is not there yet.

    Raises:
        ModelUnavailable: none of that name, or the worker's libraries are not installed.
        LocalDiskError: the cache cannot be written.
    """
    if name not in NAMES:
        raise ModelUnavailable(f"nothing built in is called {name!r}", hint="promptmill models list")
    try:
        from workers.models.libraries import quiet_libraries
        from workers.models.tiny_adapters import RECIPE, build
    except ImportError as error:
        raise ModelUnavailable(f"builtin:{name}: {error}", hint="pip install 'promptmill[worker]'") from None
    made_by = f"{RECIPE} {version('diffusers')} {version('transformers')}"
    final = cache.absolute() / f"{name}-{sha256(made_by.encode()).hexdigest()[:10]}.safetensors"
    if final.is_file():
        return final
    quiet_libraries()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(prefix=f".{name}-", dir=cache)
        os.close(handle)
        try:
            build(name, Path(fresh))
            Path(fresh).chmod(0o644)
            Path(fresh).replace(final)  # another process may have been faster: its bytes are the same
        finally:
            Path(fresh).unlink(missing_ok=True)
    except OSError as error:
        raise LocalDiskError(f"{cache}: {error.strerror or error}", hint="data_dir names a writable folder") from None
    return final
