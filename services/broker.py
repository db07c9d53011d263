"""The broker's queue, looked at and written to directly where Celery has no word for it."""

import json
from collections.abc import Iterable
from typing import Any, cast

from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis

from schemas.queues import RENDER_TASK, parse_task_id, task_id
from schemas.task import TaskMessage
from services.redis_errors import mapped_errors
from services.signing import MessageSigner

BATCH_MESSAGES = 500


class Broker:
    """Publishes task messages, and says which are still waiting."""

    def __init__(self, app: Celery, redis: "Redis", place: str, signer: MessageSigner | None = None) -> None:
        self._app = app
        self._redis = cast(Any, redis)
        self._place = place
        self._signer = signer or MessageSigner(None)

    def publish(self, messages: Iterable[tuple[TaskMessage, str]]) -> None:
        """Send messages by reference, each to its queue; many go with one request.

        Raises:
            LedgerUnavailable: Redis did not take them all. The ledger's grace time brings back what is missing.
        """
        with mapped_errors(self._place):
            try:
                with self._app.producer_or_acquire() as producer, producer.batch(max_size=BATCH_MESSAGES):
                    for message, queue in messages:
                        self._app.send_task(
                            RENDER_TASK,
                            kwargs=self._signer.sealed(message),
                            task_id=task_id(message),
                            queue=queue,
                            producer=producer,
                        )
            except KombuError as error:
                raise ConnectionError(str(error)) from error

    def waiting(self, queue: str) -> set[tuple[str, str]]:
        """Job and member of every message that waits in a queue."""
        with mapped_errors(self._place):
            texts = self._redis.lrange(queue, 0, -1)
        found = set()
        for text in texts:
            try:
                found.add(parse_task_id(str(json.loads(text)["headers"]["id"])))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # junk in the queue is the worker's to refuse
        return found

    def depth(self, queue: str) -> int:
        """Messages that wait in a queue."""
        with mapped_errors(self._place):
            return int(self._redis.llen(queue))

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()
