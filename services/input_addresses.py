"""Where an input image may come from. The client checks before anything is sent, and the worker again before it reads:
whoever wrote the manifest is not trusted by the worker, and the plan between them is only an object in a store.

An address is a file of the submitting user's (read by the client alone, and uploaded), `s3://bucket/key` in a bucket
that the settings name, or `https://host/path` where the settings allow it.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from schemas.errors import InvalidInput

HTTPS_PORT = 443
_S3_ADDRESS = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])/[^\x00-\x1f\x7f]+")
_BY_CONTENT = re.compile(r"sha256:[0-9a-f]{64}")
_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://|(data):)")
# A name of the DNS, not a number in any of the spellings that a resolver takes for an address: its last label begins
# with a letter (RFC 3696), and it has at least two.
_HOST = re.compile(r"(?=.{4,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True)
class InputRules:
    """Which addresses a row may name.

    `buckets`: of `s3://`; None: every bucket that the credentials reach. `https_hosts`: empty for every public host;
    `.example.com` stands for all below it.
    """

    buckets: frozenset[str] | None = frozenset()
    https: bool = False
    https_hosts: frozenset[str] = frozenset()
    https_ports: frozenset[int] = frozenset({HTTPS_PORT})
    https_seconds: float = 30.0

    def problem(self, address: str) -> str | None:
        """What is against reading an address that is no file's, or None. Its shape is checked too."""
        shape = address_problem(address)
        if shape is not None:
            return shape
        if is_s3(address):
            return self._bucket_problem(address.removeprefix("s3://").partition("/")[0])
        return self._web_problem(address) if is_web(address) else None

    def check(self, address: str) -> None:
        """As `problem`.

        Raises:
            InvalidInput: the address may not be read.
        """
        problem = self.problem(address)
        if problem is not None:
            raise InvalidInput(problem)

    def _bucket_problem(self, bucket: str) -> str | None:
        if self.buckets is None or bucket in self.buckets:
            return None
        return f"bucket {bucket!r} is not allowed: inputs.buckets names those that rows may read"

    def _web_problem(self, address: str) -> str | None:
        if not self.https:
            return "web addresses are off here (inputs.https): download it first, or put it into a bucket"
        parts = urlsplit(address)
        host = parts.hostname or ""
        if (parts.port or HTTPS_PORT) not in self.https_ports:
            return f"port {parts.port} is not allowed"
        if self.https_hosts and not any(_is_below(host, allowed) for allowed in self.https_hosts):
            return f"host {host} is not allowed: inputs.https_hosts names those that rows may read"
        return None


def address_problem(address: str) -> str | None:
    """What is wrong with the shape of an image address, or None. Nothing is opened."""
    if is_s3(address):
        return None if _S3_ADDRESS.fullmatch(address) else "expected s3://bucket/key"
    if _BY_CONTENT.fullmatch(address):
        return "an image by its content: give its file; `promptmill import` finds it with --inputs DIR or --job JOB"
    scheme = _SCHEME.match(address)
    if scheme is None:
        return "a NUL character" if "\0" in address else None
    if is_web(address):
        return _web_shape(address)
    if (scheme[1] or "").lower() in ("http", "https"):
        return (
            "of the web only https:// (in small letters) is read, where inputs.https is on: "
            "download it first, or put it into a bucket"
        )
    return "expected a file, s3://bucket/key or https://host/path"


def _web_shape(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        return f"not an address: {error}"
    if parts.username is not None or parts.password is not None:
        return "a user or password in an address would stand in every result: put the image into a bucket"
    if not _HOST.fullmatch(host) or _is_number(host):
        return f"{host!r} is not the name of a public host (one outside ASCII is written xn--...)"
    if port == 0 or not _PATH.fullmatch(address):
        return "not an address: only printable ASCII, other characters as %XX"
    return None


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_below(host: str, allowed: str) -> bool:
    return host == allowed or (allowed.startswith(".") and host.endswith(allowed))


def is_s3(address: str) -> bool:
    """Whether an address names an object in some bucket."""
    return address.startswith("s3://")


def is_web(address: str) -> bool:
    """Whether an address is read over HTTPS."""
    return address.startswith("https://")


def is_local(address: str) -> bool:
    """Whether an address names a file of the submitting user's own."""
    return _SCHEME.match(address) is None


def shown(address: str) -> str:
    """An address as messages tell it: without its query, which may hold a signature."""
    return address.partition("?")[0] if is_web(address) else address
