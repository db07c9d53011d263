"""Signed task messages, for a Redis that others can write to as well.

With `redis.signing_key` the dispatcher signs what it publishes, and workers refuse what nobody signed: HMAC-SHA256 over
the message as canonical JSON. Signatures do not expire. A message is a hint that names rows by reference; played again
it finds them counted, and a worker does nothing. Without a key signatures are not looked at, so that the dispatcher can
be given the key first.
"""

import hashlib
import hmac
import json
from typing import Any

from pydantic import SecretStr

from schemas.task import TaskMessage

FIELD = "signature"
_DOMAIN = b"promptmill task message\n"  # a signature of this key for anything else is none for a message


class NotSigned(ValueError):
    """A message without a signature, or with one that another key made."""


class MessageSigner:
    """Signs and opens messages with one key, or with none."""

    def __init__(self, key: SecretStr | None) -> None:
        self._key = key.get_secret_value().encode() if key else None

    def sealed(self, message: TaskMessage) -> dict[str, Any]:
        """What Celery carries: the message's fields, and the signature where there is a key."""
        fields = message.model_dump(exclude_defaults=True)
        return fields if self._key is None else fields | {FIELD: self._signature(message)}

    def opened(self, fields: dict[str, Any]) -> TaskMessage:
        """The message in what came.

        Raises:
            ValidationError: it is none.
            NotSigned: there is a key, and nobody who has it signed this.
        """
        message = TaskMessage.model_validate({name: value for name, value in fields.items() if name != FIELD})
        if self._key is not None:
            given = fields.get(FIELD)
            if not isinstance(given, str) or not hmac.compare_digest(given.encode(), self._signature(message).encode()):
                raise NotSigned("not signed with redis.signing_key")
        return message

    def _signature(self, message: TaskMessage) -> str:
        assert self._key is not None
        # Without defaults, so that a field that a later version adds changes no signature.
        text = json.dumps(message.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return hmac.new(self._key, _DOMAIN + text.encode(), hashlib.sha256).hexdigest()
