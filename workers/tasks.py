"""The Celery task. It only translates: a message in, `runner.run_task` out."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from celery import Task, shared_task, signals
from pydantic import ValidationError

from schemas.queues import RENDER_TASK
from services.logging import configure_logging
from services.settings import load_settings
from services.signing import MessageSigner, NotSigned
from workers.presence import Presence
from workers.runner import Workplace, run_task
from workers.workplace import make_workplace

log = logging.getLogger(__name__)
CANNOT_START = 78  # EX_CONFIG of sysexits.h


@dataclass
class _Process:
    """What a pool process holds between its tasks; attached to its Celery app."""

    place: Workplace
    presence: Presence
    signer: MessageSigner
    current: tuple[str, str] = ("", "")


def start_process(app: Any) -> _Process:
    """Make this pool process ready for work."""
    settings = load_settings()
    configure_logging(settings.log_level)
    stopping = threading.Event()
    place = make_workplace(settings, stopping)
    process: _Process
    device = str(getattr(place.renderer, "device", settings.worker.device))
    presence = Presence(place.ledger, place.worker, device, lambda: process.current)
    process = _Process(place, presence, MessageSigner(settings.redis.signing_key))
    presence.start()
    app.promptmill = process
    return process


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _on_process_init(**_: object) -> None:
    from celery import current_app

    try:
        start_process(current_app)
    except BaseException:
        # Celery would only log it, and this process would take messages that it cannot render.
        log.critical("this worker cannot start", exc_info=True)
        os.kill(os.getppid(), signal.SIGTERM)
        logging.shutdown()
        os._exit(CANNOT_START)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _on_process_shutdown(**_: object) -> None:
    from celery import current_app

    current_app.promptmill.presence.stop()


@shared_task(name=RENDER_TASK, bind=True)  # type: ignore[untyped-decorator]
def render(self: Task, **fields: Any) -> None:
    """Render what a message names. Junk is refused with a line in the log, and never raises."""
    process: _Process = self.app.promptmill
    try:
        message = process.signer.opened(fields)
    except NotSigned as error:
        log.error("message %.100r refused: %s", self.request.id, error)
        return
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        log.error("message %.100r refused: %.1000s", self.request.id, faults)
        return
    process.current = (message.job, message.member)
    try:
        with _term_stops(process.place.stopping):
            run_task(message, process.place)
    finally:
        process.current = ("", "")
    if process.place.stopping.is_set():
        # A TERM to this process alone, as from `kill` with a pid that nvidia-smi shows: the pool makes another. Staying
        # would mean to give back every task from now on.
        raise SystemExit(0)


@contextmanager
def _term_stops(stopping: threading.Event) -> Iterator[None]:
    """Let TERM end the task at its next step. The pool's own handler, set after every initializer, would end the
    process in the middle of it; between tasks that is right.
    """

    def on_term(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
