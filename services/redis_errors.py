"""Foreign errors of Redis, mapped to ours in this one place."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, RedisError

from schemas.errors import LedgerUnavailable


@contextmanager
def mapped_errors(place: str) -> Iterator[None]:
    """Turn redis-py's errors into `LedgerUnavailable`. `place` names host and port, never a password.

    Raises:
        LedgerUnavailable: no answer, or a refusal; the hint says what to do.
    """
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise LedgerUnavailable(
            f"Redis at {place} refused: wrong password or rights", hint="check PROMPTMILL_REDIS__URL"
        ) from error
    except (RedisError, OSError) as error:
        if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):  # also from a script
            raise LedgerUnavailable(
                f"Redis at {place} is full", hint="raise its maxmemory; its policy must be noeviction"
            ) from error
        untrusted = _tls_fault(error)
        if untrusted is not None:
            raise LedgerUnavailable(
                f"Redis at {place}: TLS failed: {untrusted}",
                hint="set redis.ca_file (PROMPTMILL_REDIS__CA_FILE) to the authority of its certificate",
            ) from error
        raise LedgerUnavailable(
            f"Redis at {place} does not answer ({type(error).__name__})",
            hint="is it running, and is PROMPTMILL_REDIS__URL right? run `promptmill doctor`",
        ) from error


def _tls_fault(error: BaseException | None) -> str | None:
    """What TLS said, anywhere in the chain of what was raised."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError):
            return error.reason or "no TLS there"
        error = error.__cause__ or error.__context__
    return None
