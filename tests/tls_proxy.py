"""TLS in front of a server that has none: takes it off, and passes the rest on."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path


class TlsProxy:
    """Listens on a port of its own with a server's certificate; `ca_file` given, clients must show one of it."""

    def __init__(self, server_port: int, chain_file: Path, ca_file: Path | None = None) -> None:
        self._server_port = server_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain_file)
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True, name="tls-proxy").start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            secured = self._context.wrap_socket(client, server_side=True)
        except OSError:
            client.close()
            return
        self.connections += 1
        server = socket.create_connection(("127.0.0.1", self._server_port))
        back = threading.Thread(target=_pump, args=(server, secured), daemon=True)
        back.start()
        _pump(secured, server)
        back.join()
        secured.close()
        server.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
