"""What one worker process stands on, made from its settings."""

import os
import socket
import threading

from services.catalogue import Catalogue
from services.ledger import Ledger
from services.redis_client import connect, place
from services.settings import Settings
from services.store import ObjectStore
from services.version import promptmill_version
from workers.batches import BatchSizes
from workers.engines.room import open_room
from workers.input_source import InputSource
from workers.runner import Workplace

NAME_VARIABLE = "PROMPTMILL_WORKER_NAME"
FLEET_VARIABLE = "PROMPTMILL_FLEET_PID"


def make_workplace(settings: Settings, stopping: threading.Event) -> Workplace:
    """Open the store, the ledger and the engine room. Models load with the first task that needs them."""
    renderer = open_room(settings)
    store = ObjectStore(settings.s3)
    return Workplace(
        store=store,
        ledger=Ledger(connect(settings.redis), prefix=settings.redis.key_prefix, place=place(settings.redis)),
        renderer=renderer,
        sizes=BatchSizes(renderer),
        settings=settings.worker,
        worker=worker_name(),
        version=promptmill_version(),
        stopping=stopping,
        inputs=InputSource.of(store, settings),
        max_pixels=Catalogue.load(settings.models_file).max_pixels(),
    )


def worker_name() -> str:
    """Unique among living workers: given by whoever started the process, and the process id."""
    return f"{os.environ.get(NAME_VARIABLE, socket.gethostname())}-{os.getpid()}"
