"""The worker processes of one machine: one for each device, started again when one dies, ended together."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

import psutil

from workers.workplace import FLEET_VARIABLE, NAME_VARIABLE

log = logging.getLogger(__name__)
RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
STEADY_SECONDS = 120.0  # a process that lived for so long starts again at once
POLL_SECONDS = 0.5


@dataclass
class _Member:
    name: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0
    told: bool = False  # to end


class Fleet:
    """Starts one `python -m workers.process` for each environment, and keeps them running until told to stop."""

    def __init__(self, environments: list[dict[str, str]]) -> None:
        self._members = [_Member(env[NAME_VARIABLE], env) for env in environments]
        self._stop = threading.Event()
        self._terms = 0

    def run(self) -> int:
        """Run until TERM or INT; returns the exit status. A second signal ends the tasks at once."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        parent = os.getppid()
        while not self._stop.is_set():
            for member in self._members:
                if not self._stop.is_set():
                    self._tend(member)
            self._stop.wait(POLL_SECONDS)
            if os.getppid() != parent and parent != 1:
                log.warning("the parent process is gone: ending")
                self._on_signal(signal.SIGTERM, None)
        return self._wait()

    def _tend(self, member: _Member) -> None:
        now = time.monotonic()
        if member.process is None:
            if now >= member.due:
                # A session of its own: a terminal's Ctrl-C reaches this process alone, which passes on a TERM.
                environment = member.environment | {FLEET_VARIABLE: str(os.getpid())}
                member.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "workers.process"], env=environment, start_new_session=True
                )
                member.started = now
            return
        status = member.process.poll()
        if status is None:
            return
        member.failures = 0 if now - member.started > STEADY_SECONDS else member.failures + 1
        pause = RESTART_SECONDS[min(member.failures, len(RESTART_SECONDS)) - 1] if member.failures else 0.0
        log.error("worker %s ended with status %d; starting again in %.0f s", member.name, status, pause)
        member.process, member.due = None, now + pause

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._terms += 1
        self._stop.set()
        self._tell_all()
        for member in self._members:
            if self._terms > 1 and member.process is not None and member.process.poll() is None:
                _kill_tree(member.process.pid)

    def _tell_all(self) -> None:
        for member in self._members:
            if member.process is not None and not member.told:
                member.told = True
                member.process.send_signal(signal.SIGTERM)

    def _wait(self) -> int:
        self._tell_all()  # also a process that was being started when the signal came
        for member in self._members:
            while member.process is not None and member.process.poll() is None:
                time.sleep(0.05)  # not wait(): a second signal must be heard
        return 0


def _kill_tree(pid: int) -> None:
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
