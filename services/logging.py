"""One way to log: a line an event, on standard error, with the time in UTC."""

import logging
import time

FORMAT = "%(asctime)sZ %(levelname)s %(name)s %(message)s"


def configure_logging(level: str) -> None:
    """Log our own packages from `level` on, and everybody else's warnings."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("schemas", "services", "orchestrator", "workers", "celery.worker", "celery.apps"):
        logging.getLogger(name).setLevel(level)
    # The network's comings and goings are told by our own messages, with what to do.
    logging.getLogger("celery.worker.consumer.connection").setLevel(logging.ERROR)
