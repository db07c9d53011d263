"""Input images over HTTPS, for workers whose settings allow it. The address comes from somebody who is not trusted.

A host is resolved once, every address it has must be public, and the connection goes to one of those very addresses:
an answer of the DNS that changes afterwards changes nothing. A redirect is an address like any other and checked from
the start. Bytes are counted while they come, and time from the first packet on; what the server calls its content
does not matter, as an image is told by its first bytes. No proxy is used: it would resolve the host itself.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urljoin, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from schemas.errors import InvalidInput
from services.input_addresses import HTTPS_PORT, InputRules
from services.version import promptmill_version

REDIRECTS = 3
PAUSES = (0.5, 2.0)  # before another try
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0
CHUNK = 64 * 1024
_MOVED = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
# Public by its number, and yet the host's own service for the machines on it: Azure's wire server.
_HOST_SERVICES = {ipaddress.ip_address("168.63.129.16")}
_RESERVED = (ipaddress.ip_network("192.0.0.0/24"),)  # RFC 6890; older Pythons know a part of it
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")  # RFC 3056: holds an IPv4 address that nobody checked

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]


class _Passing(Exception):
    """A fault that another try may not meet."""


class WebImages:
    """Reads images over HTTPS by the rules. Safe for use by many threads.

    Args:
        rules: which addresses, and how long one image may take.
        resolve: a host and port -> the numbers of its addresses.
        is_allowed: whether a number may be connected to.
        context: of TLS; None: this machine's certificate authorities.
    """

    def __init__(
        self,
        rules: InputRules,
        *,
        resolve: Resolve | None = None,
        is_allowed: Callable[[Address], bool] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._resolve = resolve or resolve_host
        self._is_allowed = is_allowed or is_public
        self._context = context or ssl.create_default_context()

    def read(self, address: str, limit: int) -> bytes:
        """The bytes at an address, at most `limit` of them.

        Raises:
            InvalidInput: it may not be read, or cannot be. Faults that may pass are met with two more tries.
        """
        deadline = time.monotonic() + self._rules.https_seconds
        for pause in (*PAUSES, None):
            try:
                return self._follow(address, limit, deadline)
            except _Passing as error:
                if pause is None or time.monotonic() + pause >= deadline:
                    raise InvalidInput(str(error)) from None
                time.sleep(pause)
        raise AssertionError("a try returns or raises")

    def _follow(self, address: str, limit: int, deadline: float) -> bytes:
        for _ in range(REDIRECTS + 1):
            self._rules.check(address)
            found = self._get(address, limit, deadline)
            if isinstance(found, bytes):
                return found
            if not found:
                raise InvalidInput("a redirect that leads nowhere")
            address = urljoin(address, found)
        raise InvalidInput(f"more than {REDIRECTS} redirects")

    def _get(self, address: str, limit: int, deadline: float) -> bytes | str:
        """One request: the body, or where it was moved to."""
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with self._connected(host, port, deadline) as connection:
            headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
            headers["User-Agent"] = f"promptmill/{promptmill_version()}"
            connection.request("GET", path, headers=headers, preload_content=False)
            with closing(connection.getresponse()) as answer:
                if answer.status in _MOVED:
                    return str(answer.headers.get("Location") or "")
                if answer.status in _PASSING:
                    raise _Passing(f"the server answered {answer.status}")
                if answer.status != 200:
                    raise InvalidInput(f"the server answered {answer.status}")
                return _body(answer, limit)

    @contextmanager
    def _connected(self, host: str, port: int, deadline: float) -> Iterator[HTTPSConnection]:
        """A connection that is cut at the deadline, wherever it is then."""
        numbers = self._checked_numbers(host, port)
        sock = _connect(numbers, port, deadline)
        overdue = threading.Event()
        with sock.dup() as handle:  # TLS takes the socket over; a shutdown by this one ends it all the same

            def cut() -> None:
                overdue.set()
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

            timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
            timer.daemon = True
            timer.start()
            try:
                with closing(_Pinned(host, port, sock, self._context)) as connection:
                    yield connection
                if overdue.is_set():  # an end of the body that was none
                    raise TimeoutError
            except InvalidInput:
                raise
            except ssl.SSLCertVerificationError as error:
                raise InvalidInput(f"the certificate of {host}: {error.verify_message}") from None
            except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                if overdue.is_set():
                    seconds = self._rules.https_seconds
                    raise InvalidInput(f"it took longer than {seconds:g} s") from None
                raise _Passing(_told(error)) from None
            finally:
                timer.cancel()
                sock.close()

    def _checked_numbers(self, host: str, port: int) -> list[str]:
        try:
            numbers = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise _Passing(f"host {host} cannot be resolved: {getattr(error, 'strerror', None) or error}") from None
        # One that is not public spoils all: nobody has an honest reason to mix them.
        if not numbers or not all(self._is_allowed(ipaddress.ip_address(number)) for number in numbers):
            raise InvalidInput(f"host {host} is not on the public internet")
        return numbers


class _Pinned(HTTPSConnection):
    """A connection to a host by name (for TLS and the request) over a socket that is connected already."""

    def __init__(self, host: str, port: int, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=SILENCE_SECONDS, ssl_context=context)
        self._connected_socket = sock

    def _new_conn(self) -> socket.socket:
        return self._connected_socket


def _connect(numbers: list[str], port: int, deadline: float) -> socket.socket:
    trouble = ""
    for number in numbers[:2]:
        try:
            left = max(0.001, deadline - time.monotonic())
            sock = socket.create_connection((number, port), timeout=min(CONNECT_SECONDS, left))
        except OSError as error:
            trouble = error.strerror or str(error)
            continue
        sock.settimeout(SILENCE_SECONDS)
        return sock
    raise _Passing(f"no connection: {trouble}")


def _body(answer: BaseHTTPResponse, limit: int) -> bytes:
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise InvalidInput(f"it came compressed ({encoding[:20]}), which was not asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > limit:
        raise InvalidInput(f"{int(length):,} bytes; at most {limit:,} are accepted")
    chunks, total = [], 0
    while chunk := answer.read1(CHUNK, decode_content=False):
        chunks.append(chunk)
        total += len(chunk)
        if total > limit:
            raise InvalidInput(f"larger than {limit:,} bytes")
    if length.isdecimal() and total < int(length):
        raise _Passing(f"cut off after {total:,} of {int(length):,} bytes")
    return b"".join(chunks)


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {SILENCE_SECONDS:.0f} s"
    return getattr(error, "strerror", None) or type(error).__name__


def resolve_host(host: str, port: int) -> list[str]:
    """The numbers of a host's addresses, by this machine's resolver.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found))


def is_public(address: Address) -> bool:
    """Whether an address is a single host of the public internet: not private, loopback, link-local, multicast,
    reserved, or one that stands for another address which is (RFC 4291's mapped and compatible ones, NAT64, 6to4).
    """
    if address in _HOST_SERVICES:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        reserved = any(address in network for network in _RESERVED)
        return address.is_global and not address.is_multicast and not reserved
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST and address.is_global and address not in _SIX_TO_FOUR
