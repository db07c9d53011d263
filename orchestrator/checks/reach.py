"""Whether anything listens at an address: a quick look, before clients that try again for a minute."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_SECONDS = 3.0
_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


def why_unreachable(url: str) -> str | None:
    """Why no connection to an address can be made, or None where one can, or where only the client can tell."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port or _PORTS.get(address.scheme)
    except ValueError:
        return None
    if not host or not port:
        return None
    if address.scheme in getproxies() and not proxy_bypass(host):
        return None
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except socket.gaierror:
        return f"the name {host} is not known"
    except ConnectionRefusedError:
        return f"nothing listens on {host}:{port}"
    except TimeoutError:
        return f"no answer from {host}:{port} in {CONNECT_SECONDS:.0f} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


def is_loopback(url: str) -> bool:
    """Whether an address can be reached from its own machine only."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or not host
