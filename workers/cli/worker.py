"""`promptmill worker`: one worker process for each device."""

import os
import socket
import sys
from importlib.util import find_spec
from typing import Any

import rich_click as click

from schemas.errors import SettingsError
from services.cli.options import service_options, take_settings
from services.logging import configure_logging
from services.settings import Settings, as_environment
from workers.fleet import Fleet
from workers.workplace import NAME_VARIABLE


@click.command()
@click.option("--gpus", metavar="all|0,1,...", help="one worker for each of these GPUs")
@click.option("--count", type=click.IntRange(1, 64), help="workers on the CPU; default 1")
@click.option("--exact", is_flag=True, help="batches of one: bit-equal images on the same device and versions")
@click.option("--max-batch", type=click.IntRange(1), help="most images in one denoising loop; default: by memory")
@click.option("--safety", type=click.Choice(["keep", "blur", "drop", "off"]), help="what to do with flagged images")
@click.option("--engine", metavar="NAME", hidden=True, help="what renders: diffusers, or module:attribute")
@service_options
def worker(gpus: str | None, count: int | None, engine: str | None, **options: Any) -> None:
    """Render tasks until TERM or Ctrl-C.

    Without options: one worker, on the GPU if there is one, else on the CPU. When told to end, it stops the
    running task at its next denoising step; finished images are kept.

    Examples:

        promptmill worker
        promptmill worker --gpus all
        promptmill worker --count 2
    """
    given = {
        "exact": options.pop("exact") or None,
        "max_batch": options.pop("max_batch"),
        "safety": options.pop("safety"),
        "engine": engine,
    }
    settings = take_settings(options, worker=given)
    configure_logging(settings.log_level)
    if settings.worker.engine == "diffusers" and find_spec("diffusers") is None:
        raise SettingsError(
            "this installation cannot render: diffusers is not installed", hint="pip install 'promptmill[worker]'"
        )
    sys.exit(Fleet(_environments(settings, gpus, count)).run())


def _environments(settings: Settings, gpus: str | None, count: int | None) -> list[dict[str, str]]:
    if gpus and count:
        raise SettingsError("--gpus and --count exclude each other", hint="--count is for workers on the CPU")
    base = dict(os.environ) | as_environment(settings)
    host = os.environ.get(NAME_VARIABLE, socket.gethostname())
    if gpus:
        base["PROMPTMILL_WORKER__DEVICE"] = "cuda"
        return [base | {"CUDA_VISIBLE_DEVICES": gpu, NAME_VARIABLE: f"{host}-gpu{gpu}"} for gpu in _gpu_names(gpus)]
    number = count or 1
    # Threads that spin while they wait take the cores from other workers of this machine.
    threads = {"OMP_WAIT_POLICY": base.get("OMP_WAIT_POLICY", "PASSIVE")}
    if number > 1 and "OMP_NUM_THREADS" not in base:
        # Several processes that each use every core are slower together than one.
        threads["PROMPTMILL_WORKER__DEVICE"] = "cpu"
        threads["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // number))
    return [base | threads | {NAME_VARIABLE: f"{host}-{place}"} for place in range(number)]


def _gpu_names(gpus: str) -> list[str]:
    if gpus != "all":
        return [name.strip() for name in gpus.split(",") if name.strip()]
    import torch  # only here: the processes that render import it themselves

    found = torch.cuda.device_count()
    if not found:
        raise SettingsError("--gpus all: no CUDA device is visible", hint="promptmill doctor tells what is")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(found)]
