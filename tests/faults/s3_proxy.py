"""An HTTP proxy in front of the S3 endpoint that fails requests on request. It passes everything else as it is."""

import http.client
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Kind = Literal["status", "cut", "lost", "hang"]
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "expect"}


@dataclass
class StoreFault:
    """What happens to requests.

    | kind     | what happens                                                                         |
    |----------|--------------------------------------------------------------------------------------|
    | `status` | the proxy answers with `status` and S3's error `code`; the endpoint is not asked      |
    | `cut`    | half of the body goes to the endpoint, then both connections are cut                  |
    | `lost`   | the endpoint does as asked; its answer is lost with the connection                    |
    | `hang`   | no answer until the fault is over; then the connection is cut                         |

    Attributes:
        method, word: requests of this method (empty: all) whose path holds the word.
        times: so many requests at most; None: as long as it lasts.
        chance: of each request that matches.
        fired: how many requests it hit.
    """

    kind: Kind
    method: str = ""
    word: str = ""
    status: int = 503
    code: str = "SlowDown"
    times: int | None = None
    chance: float = 1.0
    fired: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def matches(self, method: str, path: str, dice: random.Random) -> bool:
        if self.times is not None and self.fired >= self.times:
            return False
        return self.method in ("", method) and self.word in path and dice.random() < self.chance


class S3Proxy:
    """Listens on a port of its own until `close`."""

    def __init__(self, server_port: int, seed: int = 1) -> None:
        self.server_port = server_port
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[StoreFault] = []
        self.requests = 0

        class Handler(_Handler):
            proxy = self

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True, name="s3-proxy").start()

    @contextmanager
    def during(self, fault: StoreFault) -> Iterator[StoreFault]:
        """The fault holds while the block runs."""
        with self._lock:
            self._faults.append(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)
            fault.over.set()

    def pick(self, method: str, path: str) -> StoreFault | None:
        """The fault that hits a request, counted."""
        with self._lock:
            self.requests += 1
            for fault in self._faults:
                if fault.matches(method, path, self._dice):
                    fault.fired += 1
                    return fault
        return None

    def close(self) -> None:
        """End the proxy."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: S3Proxy

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.server_port, timeout=60)

    def finish(self) -> None:
        self.upstream.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        fault = self.proxy.pick(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault is not None and fault.kind == "cut":
            self._cut(length)
            return
        body = self.rfile.read(length)
        if fault is not None and fault.kind == "hang":
            fault.over.wait()
            self._drop()
        elif fault is not None and fault.kind == "status":
            self._refuse(fault)
        else:
            self._pass_on(body, lost=fault is not None)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, fault: StoreFault) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{fault.code}</Code><Message>as asked for</Message></Error>'.encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _cut(self, length: int) -> None:
        self._send_head()
        self.upstream.send(self.rfile.read(length // 2))
        self.upstream.close()
        self._drop()

    def _send_head(self) -> None:
        # With the client's own Host and everything that it signed.
        self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.upstream.putheader(name, value)
        self.upstream.endheaders()

    def _pass_on(self, body: bytes, *, lost: bool) -> None:
        try:
            self._send_head()
            self.upstream.send(body)
            answer = self.upstream.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self._drop()
            return
        if lost:
            self._drop()
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        head = self.command == "HEAD"
        self.send_header("Content-Length", answer.getheader("Content-Length") or "0" if head else str(len(data)))
        self.end_headers()
        self.wfile.write(data)
