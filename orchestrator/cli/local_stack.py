"""The processes of `promptmill run`: embedded services, one orchestrator and the workers, ended with it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from schemas.errors import ServiceError
from services.cli.output import say
from services.embedded.processes import GuardedProcesses, ProcessSpec
from services.embedded.stack import start_local_services
from services.local_state import withdraw_services
from services.settings import Settings, as_environment, load_settings

LOG_LINES = 15


class LocalStack:
    """A context. The services start when it is entered; `start_work` starts the rest, once a job is submitted."""

    def __init__(
        self,
        base: Settings,
        *,
        workers: int,
        gpus: str | None,
        exact: bool,
        safety: str | None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._base = base
        self._environment = environment
        self._processes = GuardedProcesses()
        self._logs = base.data_dir / "logs"
        self._fleet = ["--gpus", gpus] if gpus else ["--count", str(workers)]
        self._fleet += ["--exact"] if exact else []
        self._fleet += ["--safety", safety] if safety else []
        self.settings = base

    def __enter__(self) -> Self:
        try:
            services = start_local_services(self._base.data_dir, self._processes)
        except BaseException:
            self._processes.close()
            raise
        given = self._base.model_dump(exclude_unset=True, exclude={"redis", "s3"})
        self.settings = load_settings(**given, **services)
        return self

    def __exit__(self, *exc: object) -> None:
        say("ending the workers and services of this run ...", style="dim")
        withdraw_services(self._base.data_dir)  # first: a run that starts right after this one publishes its own
        self._processes.close()

    def start_work(self) -> None:
        """Start the orchestrator and the workers."""
        environment = dict(os.environ) | as_environment(self.settings) | dict(self._environment)
        self._start("orchestrator", ["orchestrator"], environment, 10)
        self._start("worker", ["worker", *self._fleet], environment, 30)

    def check(self) -> None:
        """Raise where one of the processes ended.

        Raises:
            ServiceError: with the end of its log.
        """
        for ended in self._processes.poll_exits():
            log = self._log(ended.name)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]) if log.exists() else ""
            raise ServiceError(f"{ended.name} ended with status {ended.status}:\n{tail}", hint=f"see {log}")

    def _start(self, name: str, command: list[str], environment: dict[str, str], stop_seconds: float) -> None:
        argv = [sys.executable, "-P", "-m", "orchestrator.cli.main", *command]
        self._processes.start(
            ProcessSpec(name=name, argv=argv, env=environment, log=self._log(name), stop_seconds=stop_seconds)
        )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"
