"""The device, its number format and its memory."""

import gc
from pathlib import Path

import psutil
import torch

from schemas.errors import SettingsError

_CGROUP = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",  # torch's CPU allocator
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def pick_device(name: str) -> torch.device:
    """The device that a setting names: auto, cpu, cuda, cuda:1, mps.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"worker.device {name!r} is no device", hint="auto, cpu, cuda, cuda:1, mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"worker.device {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here",
            hint="promptmill doctor",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("worker.device 'mps' is not available here", hint="auto, cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format that a setting names; auto is float16 on a GPU, float32 elsewhere."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[name]


def device_name(device: torch.device) -> str:
    """What results record: the GPU's product name, or cpu and its threads, whose number decides the last bits."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors on the device can have, in bytes; torch's own unused cache counts as free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return min(psutil.virtual_memory().available, _free_in_container())


def _free_in_container() -> int:
    """What cgroup v2 still allows this container; without a limit, more than any machine has."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        return max(0, limit - int((_CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):
        return 2**62


def give_back_memory(device: torch.device) -> None:
    """Let go of what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether an error leaves the CUDA context of this process unusable for good."""
    if is_out_of_memory(error):
        return False
    kind = getattr(torch, "AcceleratorError", None)  # torch 2.8
    if kind is not None and isinstance(error, kind):
        return True
    return isinstance(error, RuntimeError) and str(error).startswith(("CUDA error:", "HIP error:"))
