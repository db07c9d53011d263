"""The guard: a small process that starts others and ends every one of them when its parent is gone.

`python -m services.embedded.guard` reads JSON lines on stdin. The first is a list of processes to start, in order:
`[{"name", "argv", "env", "log", "stop_seconds", "group", "cwd"}]` (stdin, because `env` may hold secrets). Later lines:

    {"start": {...}}                         start one more
    {"stop": name, "seconds": n or null}     end one
    {"lock": path, "owner": pid}             hold an exclusive lock on a file for as long as the guard lives
    {"end": n or null}                       end all, with at most n seconds for each

It answers on stdout with JSON lines: `started` (name, pid), `failed` (name, error), `exited` (name, pid, status),
`locked` and `refused` (path). When stdin closes, which the kernel sees to however the parent dies, or on TERM, it
ends the processes in reverse order: TERM to the process group, `stop_seconds` of grace, then KILL. Processes of
the same non-empty `group` end together.

Only the standard library, one file and one thread: it starts at once, it has nothing that can break, and what it
runs between fork and exec is safe.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.5  # how often the parent's death is looked for, where a forked child keeps the pipe open


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    stop_seconds: float
    group: str
    deadline: float | None = None  # of the KILL, once it was told to end


class _Guard:
    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._locks: list[int] = []
        self._parent = os.getppid()
        self._wakeup = _signal_pipe(self._on_term)
        self._buffer = b""
        self._reading = True
        self._ending = False
        self._most_seconds: float | None = None

    def run(self) -> None:
        """Serve until the end was ordered and all processes are gone."""
        while self._children or not self._ending:
            self._wait()
            self._reap()
            self._kill_overdue()
            if self._ending:
                self._end_next()

    def _on_term(self, *_: object) -> None:
        self._ending = True

    def _wait(self) -> None:
        deadlines = [child.deadline for child in self._children.values() if child.deadline is not None]
        timeout = min([_LOOK_SECONDS, *(max(0.0, at - time.monotonic()) for at in deadlines)])
        watched = [self._wakeup, 0] if self._reading else [self._wakeup]
        ready, _, _ = select.select(watched, [], [], timeout)
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if 0 in ready:
            self._read_commands()
        if os.getppid() != self._parent:
            self._reading, self._ending = False, True

    def _read_commands(self) -> None:
        data = os.read(0, 1 << 16)
        if not data:
            self._reading, self._ending = False, True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                command = json.loads(line)
            except ValueError:  # the parent was interrupted while it wrote
                self._ending = True
                continue
            if isinstance(command, list):
                for spec in command:
                    self._start(spec)
            else:
                self._obey(command)

    def _obey(self, command: dict[str, Any]) -> None:
        if "start" in command:
            self._start(command["start"])
        elif "stop" in command:
            if child := self._children.get(command["stop"]):
                self._stop(child, command.get("seconds"))
        elif "lock" in command:
            self._lock(Path(command["lock"]), int(command["owner"]))
        elif "end" in command:
            self._ending, self._most_seconds = True, command["end"]
            for child in self._children.values():
                if child.deadline is not None:  # told before: now with less patience
                    self._stop(child, None)

    def _start(self, spec: dict[str, Any]) -> None:
        name = spec["name"]
        try:
            if self._ending or name in self._children:
                raise OSError("the guard is ending" if self._ending else "a process of this name runs")
            process = _spawn(spec)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            _report(event="failed", name=name, error=str(error))
            return
        self._children[name] = _Child(process, float(spec["stop_seconds"]), spec.get("group", ""))
        _report(event="started", name=name, pid=process.pid)

    def _stop(self, child: _Child, seconds: float | None) -> None:
        patience = [child.stop_seconds if seconds is None else seconds]
        if self._most_seconds is not None:
            patience.append(self._most_seconds)
        deadline = time.monotonic() + min(patience)
        if child.deadline is None:
            _signal_group(child, signal.SIGTERM)
        child.deadline = deadline if child.deadline is None else min(deadline, child.deadline)

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.deadline is not None and child.deadline <= now:
                _signal_group(child, signal.SIGKILL)
                child.deadline = now + _LOOK_SECONDS

    def _reap(self) -> None:
        for name, child in list(self._children.items()):
            status = child.process.poll()
            if status is None:
                continue
            # What it started and left behind (a pool's children) must not outlive it.
            _signal_group(child, signal.SIGKILL)
            del self._children[name]
            _report(event="exited", name=name, pid=child.process.pid, status=status)

    def _end_next(self) -> None:
        if not self._children:
            return
        last = list(self._children.values())[-1]
        for child in self._children.values():
            if child.deadline is None and (child is last or (last.group and child.group == last.group)):
                self._stop(child, None)

    def _lock(self, path: Path, owner: int) -> None:
        # The guard holds it, not its parent: its processes outlive a killed parent by some seconds.
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(owner).encode())
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            _report(event="refused", path=str(path), taken=isinstance(error, BlockingIOError), error=str(error))
            return
        self._locks.append(descriptor)
        _report(event="locked", path=str(path))


def _spawn(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd=spec.get("cwd"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_death_signal(),
        )
    finally:
        os.close(log)


def _death_signal() -> Callable[[], None] | None:
    """What makes the kernel send TERM to a child when the guard is gone; only Linux has it."""
    if sys.platform != "linux":
        return None
    prctl, guard = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
        if os.getppid() != guard:  # it died in between
            os._exit(1)

    return before_exec


def _signal_group(child: _Child, number: signal.Signals) -> None:
    # The child leads its session, so its pid is the group's; PermissionError is macOS's word for a dead group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def _signal_pipe(on_term: Callable[..., None]) -> int:
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_term)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _report(**event: Any) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more
        os.write(1, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    _Guard().run()
