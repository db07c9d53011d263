"""A TCP proxy in front of Redis that cuts, goes silent or loses a reply on request."""

import socket
import threading
from contextlib import suppress


class _Link:
    """One client's connection and the one to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.silent = False
        self.mute = False  # the next reply is lost, and the connection with it

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class RedisProxy:
    """Listens on a port of its own. Every fault counts how often it happened, so that a test can assert it."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._swallow: tuple[bytes, int] = (b"", 0)
        self.swallowed = 0
        self.silenced = 0
        threading.Thread(target=self._accept, daemon=True, name="redis-proxy").start()

    def cut(self) -> int:
        """Close every connection; returns how many there were."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.close()
        return len(links)

    def silence(self) -> int:
        """Drop what the present connections send from now on, both ways: half-open, as when a router forgot them."""
        with self._lock:
            for link in self._links:
                link.silent = True
            self.silenced += len(self._links)
            return len(self._links)

    def swallow_reply(self, word: bytes, times: int = 1) -> None:
        """The next commands that hold `word` reach the server, and their replies are lost with the connection."""
        with self._lock:
            self._swallow = (word, times)

    def close(self) -> None:
        """End the proxy."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
            except OSError:
                client.close()  # as a server that is not there
                continue
            server.settimeout(None)
            link = _Link(client, server)
            with self._lock:
                self._links.append(link)
            for pump in (self._requests, self._replies):
                threading.Thread(target=pump, args=(link,), daemon=True).start()

    def _requests(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(1 << 16):
                if link.silent:
                    continue
                with self._lock:
                    word, times = self._swallow
                    if times and word in data.upper():
                        self._swallow = (word, times - 1)
                        link.mute = True
                link.server.sendall(data)
        self._forget(link)

    def _replies(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(1 << 16):
                if link.silent:
                    continue
                if link.mute:
                    self.swallowed += 1
                    break
                link.client.sendall(data)
        self._forget(link)

    def _forget(self, link: _Link) -> None:
        if link.silent:
            return  # it stays open, and says nothing
        with self._lock:
            if link in self._links:
                self._links.remove(link)
        link.close()
