"""One way to log: a line an event, on standard error, with the time in UTC."""

import logging
import time

from services.cli.visible import visible

FORMAT = "%(asctime)sZ %(levelname)s %(name)s %(message)s"


class OneLine(logging.Formatter):
    """A line a record, whatever stands in it: what others wrote cannot make a line of its own. Tracebacks follow."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name of the base class
        record.message = visible(record.message).replace("\n", "\\n")
        return super().formatMessage(record)


def configure_logging(level: str) -> None:
    """Log our own packages from `level` on, and everybody else's warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("schemas", "services", "orchestrator", "workers", "celery.worker", "celery.apps"):
        logging.getLogger(name).setLevel(level)
    # The network's comings and goings are told by our own messages, with what to do.
    logging.getLogger("celery.worker.consumer.connection").setLevel(logging.ERROR)
