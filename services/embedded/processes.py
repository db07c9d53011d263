"""Child processes that end with their parent, whatever ends it: a clean exit, Ctrl-C or kill -9."""

import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from schemas.errors import LocalDiskError, ServiceError, SettingsError

_GUARD = Path(__file__).with_name("guard.py")
_ANSWER_SECONDS = 30.0
_HANDOVER_SECONDS = 15.0  # a killed owner's guard still ends its processes for so long


@dataclass(frozen=True)
class ProcessSpec:
    """What to start.

    `env` is the whole environment (None: this process's own). `log` receives stdout and stderr, appended.
    `stop_seconds` is the grace between TERM and KILL. At the end, processes of one `group` end together.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = field(default=None, repr=False)
    stop_seconds: float = 10.0
    group: str = ""
    cwd: Path | None = None

    def _as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "argv": [str(part) for part in self.argv],
            "log": str(self.log.absolute()),
            "env": dict(os.environ if self.env is None else self.env),
            "stop_seconds": self.stop_seconds,
            "group": self.group,
            "cwd": str(self.cwd) if self.cwd else None,
        }


@dataclass(frozen=True)
class Exit:
    """A process that ended. `status` is its exit status; negative: the signal that ended it."""

    name: str
    pid: int
    status: int


class GuardedProcesses:
    """Processes started by a guard that outlives this process just long enough to end them.

    They run in sessions of their own, so that a terminal's Ctrl-C reaches only this process, which then decides.
    For one thread; a context manager: leaving it ends everything, the last started first.
    """

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._exits: deque[Exit] = deque()
        self._buffer = b""
        # -I: neither the current folder nor PYTHON* decide what the guard imports.
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(_GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._send([])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, spec: ProcessSpec) -> int:
        """Start a process and return its pid. A name can be used again once its process has ended.

        Raises:
            ServiceError: it cannot be started.
        """
        self._send({"start": spec._as_json()})
        answer = self._wait_for(lambda event: event.get("name") == spec.name and event["event"] != "exited")
        if answer["event"] == "failed":
            raise ServiceError(f"{spec.name} cannot be started: {answer['error']}")
        return int(answer["pid"])

    def stop(self, name: str, seconds: float | None = None) -> int | None:
        """End one process and wait for it; `poll_exits` does not report it.

        Args:
            seconds: grace between TERM and KILL instead of the process's own.

        Returns:
            Its status, also where it ended by itself and was not reported yet; None where none of this name ran.
        """
        self._read_events(0)
        if name in self._running:
            self._send({"stop": name, "seconds": seconds})
        while name in self._running:
            self._read_events(None)
        ended = [gone for gone in self._exits if gone.name == name]
        for gone in ended:
            self._exits.remove(gone)
        return ended[-1].status if ended else None

    def poll_exits(self, timeout: float = 0) -> list[Exit]:
        """The processes that ended by themselves since the last call; waits up to `timeout` for the first."""
        if not self._exits:
            self._read_events(timeout)
        exits = list(self._exits)
        self._exits.clear()
        return exits

    def pid(self, name: str) -> int | None:
        """The pid of a running process, or None."""
        self._read_events(0)
        return self._running.get(name)

    def lock(self, path: Path, what: str) -> None:
        """Hold a file's lock until the last of these processes is gone.

        Args:
            path: the lock's file; it names the owner's pid.
            what: what is locked, for the message.

        Raises:
            SettingsError: another process holds it; the message names its pid.
            LocalDiskError: the file cannot be written.
        """
        give_up = time.monotonic() + _HANDOVER_SECONDS
        while True:
            self._send({"lock": str(path), "owner": os.getpid()})
            answer = self._wait_for(lambda event: event.get("path") == str(path))
            if answer["event"] == "locked":
                return
            if not answer["taken"]:
                raise LocalDiskError(f"{path} cannot be locked: {answer['error']}")
            owner = _owner(path)
            if time.monotonic() > give_up or owner is None or _lives(owner):
                raise SettingsError(
                    f"{what} is in use by process {owner or 'unknown'}",
                    hint="end that process, use its services from this folder, or set PROMPTMILL_DATA_DIR",
                )
            time.sleep(0.2)

    def close(self, *, seconds: float | None = None) -> None:
        """End all processes, the last started first, and wait for them. May be called again, with less patience.

        Args:
            seconds: most grace for each instead of its own; 0 kills at once.
        """
        if self._guard.stdout is None or self._guard.stdout.closed:
            return
        with suppress(OSError, ServiceError):
            if self._guard.poll() is None:
                self._send({"end": seconds})
            while True:
                self._read_events(None)
        self._guard.wait()
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _send(self, command: dict[str, Any] | list[dict[str, Any]]) -> None:
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write(json.dumps(command).encode() + b"\n")
            self._guard.stdin.flush()
        except (OSError, ValueError) as error:
            raise ServiceError("the guard of the local processes is gone") from error

    def _wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            for event in self._read_events(left):
                if wanted(event):
                    return event
        raise ServiceError("the guard of the local processes does not answer")

    def _read_events(self, timeout: float | None) -> list[dict[str, Any]]:
        assert self._guard.stdout is not None
        pipe = self._guard.stdout.fileno()
        ready, _, _ = select.select([pipe], [], [], timeout)
        if not ready:
            return []
        data = os.read(pipe, 1 << 16)
        if not data:
            raise ServiceError("the guard of the local processes is gone")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        events = [json.loads(line) for line in lines]
        for event in events:
            if event["event"] == "started":
                self._running[event["name"]] = event["pid"]
            elif event["event"] == "exited":
                del self._running[event["name"]]
                self._exits.append(Exit(event["name"], event["pid"], event["status"]))
        return events


def _owner(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
