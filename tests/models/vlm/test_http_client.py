"""Exchanges with a server: deadline, size, redirects, proxies, and how an address is shown."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import BadStatusLine, HTTPException, IncompleteRead
from itertools import takewhile
from typing import BinaryIO

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.vlm import http_client
from megastyle_cli.models.vlm.http_client import HttpClient, describe, hide

Connection = socket.socket
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def read_head(received: BinaryIO) -> bytes:
    """The lines up to an empty one; empty at the end of a connection."""
    return b"".join(takewhile(lambda line: line.strip(), iter(received.readline, b"")))


@contextmanager
def listening(respond: Callable[[Connection, bytes], None]) -> Iterator[tuple[str, list[bytes]]]:
    """The address of a raw server, and the heads of the requests that it got."""
    heads: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = server.accept()
                with accepted, suppress(OSError), accepted.makefile("rb") as received:
                    while head := read_head(received):
                        heads.append(head)
                        respond(accepted, head)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", heads
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def client(address: str, timeout_s: float = 5.0, scheme: str = "http") -> HttpClient:
    return HttpClient(f"{scheme}://{address}", timeout_s, example="http://x/v1")


def drip(connection: Connection, text: bytes) -> None:
    for number in range(len(text)):
        connection.sendall(text[number : number + 1])
        time.sleep(0.05)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"HTTP/1.1 "])
def test_the_deadline_is_for_the_whole_exchange(start: bytes) -> None:
    def slow(connection: Connection, head: bytes) -> None:
        connection.sendall(start)
        drip(connection, b" " * 100)

    with listening(slow) as (address, _), pytest.raises(TimeoutError) as error:
        client(address, timeout_s=0.3).exchange("GET", "/models")

    assert describe(error.value) == "no whole response within --timeout"


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n",  # endless, without a length
        b"Content-Length: 99999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n",
        b"X: ",  # an endless head
    ],
)
def test_a_response_has_a_largest_size(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_RESPONSE_BYTES", 2**17)

    def endless(connection: Connection, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        for _ in range(100):
            connection.sendall(b"a" * 2**14)

    with listening(endless) as (address, _), pytest.raises(HTTPException):
        client(address).exchange("GET", "/models")


def test_a_cut_response_is_an_error() -> None:
    def cut(connection: Connection, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
        connection.shutdown(socket.SHUT_RDWR)

    with listening(cut) as (address, _), pytest.raises(HTTPException, match="IncompleteRead"):
        client(address).exchange("GET", "/models")


def test_what_a_server_sends_instead_of_http_reaches_no_terminal() -> None:
    with (
        listening(lambda connection, _: connection.sendall(b"\x1b]0;title\x07\r\n")) as (
            address,
            _,
        ),
        pytest.raises(HTTPException) as error,
    ):
        client(address).exchange("GET", "/models")

    assert describe(error.value).isprintable()


def test_a_connection_is_kept_and_a_query_is_part_of_every_request() -> None:
    with listening(lambda connection, _: connection.sendall(OK)) as (address, heads):
        http = client(f"{address}/openai/v1?api-version=3")
        assert [http.exchange("GET", "/models").body for _ in range(2)] == [b"{}"] * 2
        assert len(http._idle) == 1
        http.close()

    assert [head.split()[1] for head in heads] == [b"/openai/v1/models?api-version=3"] * 2
    assert http.url == f"http://{address}/openai/v1"


def test_user_and_password_are_sent_as_basic_authorization_and_not_shown() -> None:
    with listening(lambda connection, _: connection.sendall(OK)) as (address, heads):
        http = client(f"me:PASS%40WORD@{address}/v1")
        http.exchange("GET", "/models")
        http.close()

    assert b"Basic " + base64.b64encode(b"me:PASS@WORD") in heads[0]
    assert "PASS" not in http.url and hide("PASS@WORD", http.secrets) == "***"


def redirect(status: int, location: str) -> Callable[[Connection, bytes], None]:
    def respond(connection: Connection, head: bytes) -> None:
        there = f"HTTP/1.1 {status} Moved\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
        is_there = head.split()[1].startswith(b"/api")
        connection.sendall(OK if is_there else there.encode())

    return respond


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_server_is_followed_and_remembered(status: int) -> None:
    with listening(redirect(status, "/api/v1/models")) as (address, heads):
        http = client(address)
        for _ in range(2):
            assert http.exchange("GET", "/models").status == 200
        http.close()

    assert [head.split()[1] for head in heads] == [b"/v1/models", *[b"/api/v1/models"] * 2]


@pytest.mark.parametrize(
    "status, location",
    [(302, "/api/v1/models"), (307, "http://other/v1/models"), (308, "file:///etc/passwd")],
)
def test_other_redirects_are_named_and_not_followed(status: int, location: str) -> None:
    with (
        listening(redirect(status, location)) as (address, heads),
        closing(client(address)) as http,
        pytest.raises(MegastyleError, match=f"redirects to .* .status {status}") as error,
    ):
        http.exchange("GET", "/models")

    assert "--base-url" in error.value.hint and len(heads) == 1


def test_a_proxy_of_the_environment_is_used_but_for_hosts_of_no_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening(lambda connection, _: connection.sendall(OK)) as (address, heads):
        monkeypatch.setenv("http_proxy", f"http://me:secret@{address}")
        http = client("captions.invalid:8000/v1")
        assert http.exchange("GET", "/models").status == 200
        http.close()
        assert "secret" in http.secrets
        monkeypatch.setenv("no_proxy", "captions.invalid")
        with pytest.raises(OSError):
            client("captions.invalid:8000/v1", timeout_s=1).exchange("GET", "/models")
        http = client(address)  # on this machine: direct
        assert http.exchange("GET", "/models").status == 200
        http.close()

    assert heads[0].startswith(b"GET http://captions.invalid:8000/v1/models HTTP/1.1")
    assert b"Proxy-Authorization: Basic " in heads[0] and heads[1].startswith(b"GET /v1/models")


def test_a_tunnel_is_asked_of_the_proxy_of_an_https_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: Connection, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")

    with listening(refuse) as (address, heads):
        monkeypatch.setenv("https_proxy", f"http://{address}")
        with pytest.raises(OSError, match="407"):
            client("captions.invalid/v1", scheme="https").exchange("GET", "/models")

    assert heads[0].startswith(b"CONNECT captions.invalid:443")


def test_a_proxy_of_another_kind_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://me:secret@proxy:1080")
    with pytest.raises(MegastyleError, match="ALL_PROXY .* 'proxy:1080'"):
        client("captions.invalid/v1")


@pytest.mark.parametrize("address", ["", "host:0", "host/v1#part", "host/v1\r\nX: 1", "[", "a b"])
def test_what_is_no_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(MegastyleError, match="not the address of a server") as error:
        client(f"me:secret@{address}")

    assert "secret" not in error.value.message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IncompleteRead(b"{", 9), "the response is cut off"),
        (BadStatusLine("SSH-2.0"), "the response is not HTTP: SSH-2.0"),
        (HTTPException("got more than 100 headers"), "got more than 100 headers"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ValueError("the response is not JSON: <html>"), "the response is not JSON: <html>"),
    ],
)
def test_reasons_are_words_without_names_of_classes(error: Exception, words: str) -> None:
    assert describe(error) == words
