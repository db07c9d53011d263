"""An HTTPS server on 127.0.0.1 with a certificate authority of its own, which behaves as its paths say."""

import datetime as dt
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class HttpsServer(ThreadingHTTPServer):
    """`asked` holds host and path of every request, `names` the name that each client's TLS asked for."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, ca_file: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.names: list[str | None] = []
        self.ca_file = ca_file
        context.sni_callback = lambda sock, name, _: self.names.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def trusting(self) -> ssl.SSLContext:
        """A client's context that knows the server's authority."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: HttpsServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append((self.headers["Host"], self.path))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        getattr(self, parts.path.strip("/").split("/")[0], self.missing)(query)

    def missing(self, query: dict[str, str]) -> None:
        self._answer(404)

    def image(self, query: dict[str, str]) -> None:
        self._answer(200, self.server.bodies["image"], {"Content-Type": "text/html"})

    def moved(self, query: dict[str, str]) -> None:
        self._answer(302, headers={"Location": unquote(query.get("to", ""))})

    def status(self, query: dict[str, str]) -> None:
        """503 to the first request, the image to the next."""
        first = sum("/status" in path for _, path in self.server.asked) == 1
        self._answer(503) if first else self.image(query)

    def large(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "999999999999")
        self.end_headers()

    def endless(self, query: dict[str, str]) -> None:
        """No length, and bytes for as long as anybody reads."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(bytes(65536))

    def drip(self, query: dict[str, str]) -> None:
        """A byte now and then: no single wait is long."""
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def headers_drip(self, query: dict[str, str]) -> None:
        while True:
            self.wfile.write(b"HTTP/1.1 200 OK"[:1])
            self.wfile.flush()
            time.sleep(0.05)

    def gzip(self, query: dict[str, str]) -> None:
        self._answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})

    def cut(self, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        self.close_connection = True

    def junk(self, query: dict[str, str]) -> None:
        self.wfile.write(b"no http at all\r\n\r\n")
        self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """No lines on standard error."""


@contextmanager
def https_server(folder: Path, host: str) -> Iterator[HttpsServer]:
    """A server whose certificate is `host`'s."""
    ca_file, chain_file = certificates(folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_file)
    server = HttpsServer(context, ca_file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificates(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate authority, and a server's key and certificate by it, as PEM files."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
    now = dt.datetime.now(dt.UTC)

    def builder(subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public_key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = builder(name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    authority = authority.add_extension(usage, True)
    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = authority.add_extension(ski, False).sign(ca_key, hashes.SHA256())
    own = builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key.public_key())
    own = own.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    certificate = own.add_extension(aki, False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca_file, chain_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(pem))
    chain_file.write_bytes(private + certificate.public_bytes(pem))
    return ca_file, chain_file
