"""kombu's Redis transport, which a message that is none does not end, and a full Redis does not hurry.

Whoever can write to the queue could otherwise end every worker: kombu reads an entry of the list as JSON of a certain
shape, and what that raises is fatal to Celery's consumer (kombu 5.7, `Channel._brpop_read`). The entry is out of the
queue by then; it is dropped, with a line in the log.
"""

import logging
import time
from queue import Empty
from typing import Any

from kombu.transport import redis
from redis.exceptions import OutOfMemoryError

log = logging.getLogger(__name__)
FULL_SECONDS = 2.0
NO_MESSAGE = (AttributeError, KeyError, LookupError, TypeError, ValueError)
TRANSPORT = f"{__name__}:JunkProofTransport"


class JunkProofChannel(redis.Channel):
    """Drops entries of the queue that are no messages."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except NO_MESSAGE:
            log.error("an entry of the queue is no message: dropped", exc_info=True)
            raise Empty from None


class JunkProofTransport(redis.Transport):
    """The transport of all our apps."""

    Channel = JunkProofChannel

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """What a consumer does first once it is connected.

        Raises:
            OutOfMemoryError: Redis is full. Celery tries again at once, so it is raised after a pause.
        """
        try:
            super().register_with_event_loop(connection, loop)  # type: ignore[no-untyped-call]
        except OutOfMemoryError:
            time.sleep(FULL_SECONDS)
            raise
