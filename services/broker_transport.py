"""kombu's Redis transport, which neither junk in the queue nor a full Redis ends (kombu 5.7).

Whoever can write to the queue could otherwise end every worker: kombu reads an entry of the list as JSON of a certain
shape, and what that raises is fatal to Celery's consumer. The entry is out of the queue by then; it is dropped, with a
line in the log.

So would a Redis that takes no more writes: kombu notes each message that it takes, and each consumer that starts. Here
that counts as a broken connection: Celery connects again until there is room. A message that was taken in that moment
is gone; the dispatcher publishes its task again.
"""

import logging
import time
from contextlib import suppress
from queue import Empty
from typing import Any

from kombu.transport import redis
from redis.exceptions import OutOfMemoryError

log = logging.getLogger(__name__)
NO_MESSAGE = (AttributeError, KeyError, LookupError, TypeError, ValueError)
FULL_SECONDS = 2.0  # Celery itself would try again at once, several times a second
TRANSPORT = f"{__name__}:SteadyTransport"


class SteadyChannel(redis.Channel):
    """Drops entries of the queue that are no messages."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except NO_MESSAGE:
            log.error("an entry of the queue is no message: dropped", exc_info=True)
            raise Empty from None
        except OutOfMemoryError:
            time.sleep(FULL_SECONDS)
            raise


class SteadyTransport(redis.Transport):
    """The transport of all our apps."""

    Channel = SteadyChannel
    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError)

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """What a consumer does first once it is connected.

        Raises:
            OutOfMemoryError: Redis is full.
        """
        try:
            super().register_with_event_loop(connection, loop)  # type: ignore[no-untyped-call]
        except OutOfMemoryError:
            with suppress(Exception):  # nobody else would close it
                self.close_connection(connection)  # type: ignore[no-untyped-call]
            time.sleep(FULL_SECONDS)
            raise
