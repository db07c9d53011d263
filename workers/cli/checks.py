"""What `promptmill doctor` looks at on the GPU side: libraries, device, models. Found by `promptmill.checks`."""

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.catalogue import parse_source
from schemas.errors import SettingsError
from services.catalogue import Catalogue
from services.cli.findings import Finding, ok, warning
from services.settings import Settings
from workers.models.inspection import inspect_model

LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "accelerate")
INSTALL = "pip install 'promptmill[worker]'"
SCARCE_BYTES = 10 * 10**9


def check_worker(settings: Settings) -> Iterator[Finding]:
    """Libraries, and where they are installed, device and models."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        todo = f"to render on this machine: {INSTALL}; to submit and fetch, nothing"
        yield warning("worker libraries", f"not installed: {', '.join(missing)}", todo)
        return
    yield ok("worker libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES[:3]))
    yield from check_device(settings)
    yield from check_models(settings)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def check_device(settings: Settings) -> Iterator[Finding]:
    """What torch can render on. Imports torch, which takes seconds."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old driver is told below
            import torch

            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            names = [_describe(torch.cuda, number) for number in range(count)]
    except (ImportError, OSError, RuntimeError) as error:
        yield warning("device", f"torch cannot be used: {error}", "install torch again, as pytorch.org says")
        return
    if count:
        yield ok("device", f"CUDA {torch.version.cuda}: {'; '.join(names)}")
    elif torch.backends.mps.is_available():
        yield ok("device", f"{platform.machine()} GPU (mps)")
    elif not _has_nvidia():
        yield ok("device", f"no GPU here: workers render on the CPU ({os.cpu_count()} cores), slow but for tiny models")
    elif torch.version.cuda is None:
        todo = "install torch with CUDA, as pytorch.org says"
        yield warning("device", f"an NVIDIA GPU, but torch {torch.__version__} is built for the CPU", todo)
    else:
        todo = "does nvidia-smi work? is the driver new enough, and CUDA_VISIBLE_DEVICES right?"
        yield warning("device", f"an NVIDIA GPU, but torch (CUDA {torch.version.cuda}) cannot use it", todo)


def _describe(cuda: Any, number: int) -> str:
    free, total = cuda.mem_get_info(number)
    return f"{number}: {cuda.get_device_name(number)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _has_nvidia() -> bool:
    return (
        Path("/dev/nvidia0").exists()
        or Path("/proc/driver/nvidia/version").exists()
        or bool(shutil.which("nvidia-smi"))
    )


def check_models(settings: Settings) -> Iterator[Finding]:
    """Which models of the catalogue lie on this machine, and whether there is room for more."""
    try:
        catalogue = Catalogue.load(settings.models_file)
    except SettingsError:
        return  # told by the catalogue's own check
    reports = [inspect_model(alias, entry) for alias, entry in catalogue]
    here = [report.alias for report in reports if report.ready]
    others = len(catalogue.entries) - len(here)
    todo = f"; {others} more come with `promptmill models pull NAME`, or when a job first names them" if others else ""
    yield ok("models", f"{', '.join(here) or 'none'} here{todo}")
    for report in reports:
        for source in report.sources:
            gone = source.state == "missing" and parse_source(source.source).kind == "folder"
            if source.state == "broken" or gone:
                yield warning("models", f"{report.alias}: {source.source}: {source.detail}", report.hint)
    yield from _room()


def _room() -> Iterator[Finding]:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    folder = home.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:,.1f} GB free for downloads in {home}"
    if free < SCARCE_BYTES:
        yield warning("model disk", told, "free space, or set HF_HOME to another disk: a model takes 2 to 14 GB")
    else:
        yield ok("model disk", told)
