"""Images over HTTPS: what a hostile address, host, redirect or server cannot do to a worker."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from schemas.errors import InvalidInput
from services.input_addresses import InputRules
from tests.https_server import HttpsServer, https_server
from workers import web_images
from workers.web_images import WebImages, is_public, resolve_host

HOST = "images.example"
BODY = b"\x89PNG and so on" * 100
Reader = Callable[..., WebImages]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    with https_server(tmp_path_factory.mktemp("https"), HOST) as server:
        server.bodies["image"] = BODY
        yield server


@pytest.fixture
def server(running: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> HttpsServer:
    monkeypatch.setattr(web_images, "PAUSES", (0.0, 0.0))
    running.asked.clear()
    running.names.clear()
    return running


@pytest.fixture
def web(server: HttpsServer) -> Reader:
    """A reader to which `images.example` is the server and 127.0.0.1 a public address; all else is as it is."""

    def make(seconds: float = 10.0, numbers: dict[str, list[str]] | None = None, **changes: object) -> WebImages:
        known = {HOST: ["127.0.0.1"]} | (numbers or {})
        rules = InputRules(https=True, https_ports=frozenset({443, server.port}), https_seconds=seconds)
        options: dict[str, object] = {
            "resolve": lambda host, port: known[host],
            "is_allowed": lambda number: str(number) == "127.0.0.1" or is_public(number),
            "context": server.trusting(),
        }
        return WebImages(rules, **(options | changes))  # type: ignore[arg-type]

    return make


def at(server: HttpsServer, path: str, host: str = HOST) -> str:
    return f"https://{host}:{server.port}{path}"


def refusal(web: WebImages, address: str, limit: int = 10_000) -> str:
    with pytest.raises(InvalidInput) as caught:
        web.read(address, limit)
    return caught.value.message


class TestNumbers:
    @pytest.mark.parametrize(
        "number",
        ["127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "169.254.170.2",
         "100.64.0.1", "100.100.100.200", "0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "198.18.0.1", "224.0.0.1",
         "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "::127.0.0.1", "::8.8.8.8",
         "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
         "2002:7f00:1::1", "2002:808:808::1", "2001:0:7f00:1::1", "2001:db8::1", "fe80::1", "fec0::1", "fc00::1",
         "fd00:ec2::254", "ff02::1", "ff0e::1", "100::1"],
    )  # fmt: skip
    def test_what_is_no_host_of_the_public_internet(self, number: str) -> None:
        assert not is_public(ipaddress.ip_address(number))

    @pytest.mark.parametrize(
        "number", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
    )
    def test_what_is(self, number: str) -> None:
        assert is_public(ipaddress.ip_address(number))

    def test_this_machines_resolver_gives_numbers_without_zones(self) -> None:
        assert "127.0.0.1" in resolve_host("localhost", 443) or "::1" in resolve_host("localhost", 443)


class TestReading:
    def test_the_body_comes_whatever_its_type_is_said_to_be(self, server: HttpsServer, web: Reader) -> None:
        assert web().read(at(server, "/image?x=1"), len(BODY)) == BODY
        assert server.names == [HOST]
        assert server.asked == [(f"{HOST}:{server.port}", "/image?x=1")]

    def test_a_fault_that_passes_is_met_with_another_try(self, server: HttpsServer, web: Reader) -> None:
        assert web().read(at(server, "/status"), 10_000) == BODY
        assert len(server.asked) == 2

    def test_a_refusal_is_not(self, server: HttpsServer, web: Reader) -> None:
        assert refusal(web(), at(server, "/gone")) == "the server answered 404"
        assert len(server.asked) == 1

    @pytest.mark.parametrize("path", ["/cut", "/junk"])
    def test_a_server_that_never_gets_it_right_is_given_up(self, server: HttpsServer, web: Reader, path: str) -> None:
        assert refusal(web(), at(server, path))
        assert len(server.asked) == len(web_images.PAUSES) + 1

    def test_the_certificate_is_of_that_host(self, server: HttpsServer, web: Reader) -> None:
        told = refusal(web(numbers={"other.example": ["127.0.0.1"]}), at(server, "/image", "other.example"))
        assert "certificate of other.example" in told
        unknown = web(context=ssl.create_default_context())
        assert "certificate of images.example" in refusal(unknown, at(server, "/image"))
        assert server.asked == []


class TestWhereItConnects:
    def test_it_resolves_once_and_connects_to_what_it_checked(self, server: HttpsServer, web: Reader) -> None:
        answers = [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]]

        def rebinding(host: str, port: int) -> list[str]:
            return answers.pop(0)

        assert web(resolve=rebinding).read(at(server, "/image"), 10_000) == BODY
        assert len(answers) == 2

    @pytest.mark.parametrize(
        "numbers", [["169.254.169.254"], ["10.0.0.1"], ["::1"], ["fd00:ec2::254"], ["8.8.8.8", "127.0.0.2"], []]
    )
    def test_a_host_with_one_number_that_is_not_public_is_never_connected_to(
        self, web: Reader, numbers: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connections: list[object] = []
        monkeypatch.setattr(socket, "create_connection", lambda *args, **_: connections.append(args))
        told = refusal(web(numbers={"evil.example": numbers}), "https://evil.example/x")
        assert told == "host evil.example is not on the public internet"
        assert connections == []

    def test_with_its_own_rules_it_never_reaches_this_machine(self, server: HttpsServer, web: Reader) -> None:
        assert "not on the public internet" in refusal(web(is_allowed=None), at(server, "/image"))
        assert server.asked == []

    @pytest.mark.parametrize(
        ("target", "told"),
        [
            ("https://127.0.0.1/latest/meta-data", "is not the name of a public host"),
            ("https://2852039166/", "is not the name of a public host"),
            ("http://images.example/", "of the web only https://"),
            ("file:///etc/passwd", "expected a file, s3"),
            ("s3://bucket/key", "not allowed"),
            ("https://inside.example/", "host inside.example is not on the public internet"),
            ("https://images.example:22/", "port 22 is not allowed"),
            ("//inside.example/x", "host inside.example is not on the public internet"),
            ("https://a:b@images.example/", "a user or password"),
            ("", "a redirect that leads nowhere"),
        ],
    )
    def test_a_redirect_is_checked_as_any_address(
        self, server: HttpsServer, web: Reader, target: str, told: str
    ) -> None:
        reader = web(numbers={"inside.example": ["192.168.0.1"]})
        assert told in refusal(reader, at(server, f"/moved?to={quote(target, safe='')}"))
        assert {path.split("?")[0] for _, path in server.asked} == {"/moved"}

    def test_redirects_are_followed_a_few_times(self, server: HttpsServer, web: Reader) -> None:
        path = "/image"
        for _ in range(web_images.REDIRECTS):
            path = f"/moved?to={quote(path, safe='')}"
        assert web().read(at(server, path), 10_000) == BODY
        assert "more than 3 redirects" in refusal(web(), at(server, f"/moved?to={quote(path, safe='')}"))

    def test_no_proxy_is_used(self, server: HttpsServer, web: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        assert web().read(at(server, "/image"), 10_000) == BODY


class TestSizeAndTime:
    def test_a_length_over_the_limit_is_not_read(self, server: HttpsServer, web: Reader) -> None:
        assert refusal(web(), at(server, "/large")) == "999,999,999,999 bytes; at most 10,000 are accepted"

    def test_bytes_are_counted_as_they_come(self, server: HttpsServer, web: Reader) -> None:
        assert refusal(web(), at(server, "/endless"), 200_000) == "larger than 200,000 bytes"

    def test_what_comes_compressed_is_not_unpacked(self, server: HttpsServer, web: Reader) -> None:
        assert "came compressed (gzip)" in refusal(web(), at(server, "/gzip"))

    @pytest.mark.parametrize("path", ["/drip", "/headers_drip"])
    def test_a_server_that_drips_is_cut_off(self, server: HttpsServer, web: Reader, path: str) -> None:
        began = time.monotonic()
        assert refusal(web(seconds=0.4), at(server, path)) == "it took longer than 0.4 s"
        assert time.monotonic() - began < 3
        assert len(server.asked) == 1

    def test_tries_share_the_time_of_one_image(
        self, server: HttpsServer, web: Reader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_images, "PAUSES", (0.5, 2.0))
        assert refusal(web(seconds=0.4), at(server, "/cut"))
        assert len(server.asked) == 1, "a second try would begin too late"

    def test_one_that_never_shakes_hands_is_cut_off_too(self, web: Reader, server: HttpsServer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            rules = InputRules(https=True, https_ports=frozenset({port}), https_seconds=0.4)
            reader = WebImages(rules, resolve=lambda *_: ["127.0.0.1"], is_allowed=lambda _: True)
            assert refusal(reader, f"https://{HOST}:{port}/x") == "it took longer than 0.4 s"


def test_nothing_of_a_query_stands_in_what_is_told(tmp_path: Path, server: HttpsServer, web: Reader) -> None:
    for path in ("/gone", "/large", "/cut", "/gzip"):
        assert "SECRET" not in refusal(web(), at(server, f"{path}?signature=SECRET"))
