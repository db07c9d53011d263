"""Starting a server on a free port and waiting for its first answer."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from schemas.errors import ServiceError
from services.embedded.processes import GuardedProcesses, ProcessSpec

READY_SECONDS = 60.0
_TRIES = 3
_TAIL_BYTES = 2000


def start_on_free_port(
    processes: GuardedProcesses,
    make_spec: Callable[[int], ProcessSpec],
    answers: Callable[[int], bool],
    *,
    seconds: float = READY_SECONDS,
) -> int:
    """Start a server and return its port once it answers there.

    Args:
        make_spec: what to start on a given port.
        answers: whether the server on a port is up, and the one that was started.
        seconds: how long to wait for the first answer.

    Raises:
        ServiceError: it ended or gave no answer in time; the message holds the end of its log.
    """
    for left in reversed(range(_TRIES)):
        port = _free_port()
        spec = make_spec(port)
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        before = spec.log.stat().st_size if spec.log.exists() else 0
        processes.start(spec)
        if _wait(processes, spec.name, lambda port=port: answers(port), seconds):  # type: ignore[misc]
            return port
        status = processes.stop(spec.name, 0)
        said = _tail(spec.log, before)
        if left and "address already in use" in said.lower():  # taken between our look and its start
            continue
        raise ServiceError(
            f"{spec.name} did not start within {seconds:.0f} s (status {status}); its log ends with:\n{said}",
            hint=f"the whole log: {spec.log}",
        )
    raise AssertionError("unreachable")


def _wait(processes: GuardedProcesses, name: str, answers: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if processes.pid(name) is None:
            return False
        if answers():
            return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
