"""`promptmill orchestrator`: the dispatcher as a service."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import rich_click as click

from orchestrator.dispatch.dispatcher import Dispatcher
from services.broker import Broker
from services.celery_app import make_app
from services.cli.options import service_options, take_settings
from services.ledger import Ledger
from services.logging import configure_logging
from services.redis_client import connect, place
from services.signing import MessageSigner
from services.store import ObjectStore

log = logging.getLogger(__name__)


@click.command()
@service_options
def orchestrator(**options: Any) -> None:
    """Run the dispatcher, which hands out tasks.

    It finds jobs in the store, sends their tasks to the workers and finalizes them.

    It holds nothing that it cannot read again: stop it, kill it or start a second one at any time.
    """
    settings = take_settings(options)
    configure_logging(settings.log_level)
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(130)  # a second signal: what runs in the background can be repeated
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    redis, where = connect(settings.redis), place(settings.redis)
    ledger = Ledger(redis, prefix=settings.redis.key_prefix, place=where)
    broker = Broker(make_app(settings), redis, where, MessageSigner(settings.redis.signing_key))
    store = ObjectStore(settings.s3)
    log.info("dispatching the jobs of %s, by Redis at %s", store.place, where)
    Dispatcher(settings, store, ledger, broker).run(stop)
    broker.close()
