"""A chat server that does everything wrong: `caption --base-url` must end soon, in words.

It must not follow a redirect, nor write the key of the server anywhere.
"""

import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.torture.lab import Lab, Workplace
from benchmarks.torture.trial import Outcome, Trial

KEY = "sk-torture-5ecret"
PASSWORD = "pa55word"
TIMEOUT_S = 2
LIMIT_S = 90.0  # one wait that a server asks for is 60 s at most
MAX_GROWTH_MIB = 500
Respond = Callable[[socket.socket, str], None]  # the connection, and the key that was sent


def body(content: object) -> bytes:
    """A chat completion that answers `content`."""
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


GOOD = body("A red boat on a calm sea")


def reply(content: bytes, status: str = "200 OK", headers: str = "") -> Respond:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode()
    return lambda client, key: client.sendall(head + content)


def raw(content: bytes) -> Respond:
    """Bytes as they are; then the connection is closed."""

    def respond(client: socket.socket, key: str) -> None:
        client.sendall(content)
        client.shutdown(socket.SHUT_WR)

    return respond


def drip(content: bytes) -> Respond:
    """One byte in half a second: never silent for as long as a timeout."""

    def respond(client: socket.socket, key: str) -> None:
        for byte in content:
            client.sendall(bytes([byte]))
            time.sleep(0.5)

    return respond


def endless(head: bytes, piece: bytes) -> Respond:
    def respond(client: socket.socket, key: str) -> None:
        client.sendall(head)
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            client.sendall(piece)

    return respond


def reset(client: socket.socket, key: str) -> None:
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"cho')
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def silent(client: socket.socket, key: str) -> None:
    time.sleep(LIMIT_S)


def echo(status: str) -> Respond:
    """An error that repeats the key."""

    def respond(client: socket.socket, key: str) -> None:
        reply(json.dumps({"error": {"message": f"bad key: {key}"}}).encode(), status)(client, key)

    return respond


OK = b"HTTP/1.1 200 OK\r\n"
JSON_START = b'{"choices":[{"message":{"content":"'
RESPONSES: dict[str, Respond] = {
    "good": reply(GOOD),
    "drip-body": drip(OK + b"Content-Length: 900\r\n\r\n" + b" " * 900),
    "drip-head": drip(OK + b"X: " + b"a" * 900),
    "endless-body": endless(OK + b"\r\n" + JSON_START, b"a" * (1 << 20)),
    "endless-chunks": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"a" * 4096 + b"\r\n"
    ),
    "endless-head": endless(OK, b"X: " + b"a" * 4000 + b"\r\n"),
    "endless-100": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "long-answer": reply(body("a boat " * 1_500_000)),
    "huge-length": raw(OK + b"Content-Length: 99999999999999\r\n\r\n{}"),
    "negative-length": raw(OK + b"Content-Length: -5\r\n\r\n{}"),
    "two-lengths": raw(OK + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n" + GOOD),
    "cut": raw(OK + b"Content-Length: 5000\r\n\r\n" + GOOD[:20]),
    "bad-chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nhello\r\n0\r\n\r\n"),
    "huge-chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\nhello"),
    "http-1.0": raw(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
    "garbage": raw(random.Random(0).randbytes(2000)),
    "close": raw(b""),
    "reset": reset,
    "silent": silent,
    "many-headers": raw(OK + b"".join(b"X%d: a\r\n" % n for n in range(500)) + b"\r\n"),
    "status-999999": raw(b"HTTP/1.1 999999 Odd\r\nContent-Length: 2\r\n\r\n{}"),
    "204": raw(b"HTTP/1.1 204 No\r\n\r\n"),
    "html": reply(b"<html>\x1b[31mred\x1b]0;title\x07</html>"),
    "html-400": reply(b"\x1b[2J\x1b]0;title\x07<b>no</b>", "400 Bad"),
    "500": reply(b"{}", "500 Broken"),
    "429": reply(b"{}", "429 Slow"),
    **{
        f"429-after-{number}": reply(b"{}", "429 Slow", f"Retry-After: {value}\r\n")
        for number, value in enumerate(
            ("1e9", "9" * 500, "-6", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "nan")
        )
    },
    "nested": reply(b"[" * 100_000 + b"]" * 100_000),
    "nested-400": reply(b"[" * 100_000 + b"]" * 100_000, "400 Bad"),
    "big-number": reply(JSON_START[:-1] + b"9" * 10_000 + b"}}]}"),
    "nan": reply(JSON_START[:-1] + b"NaN}}]}"),
    "surrogate": reply(JSON_START + b'boat \\ud800 \\u0000 \\u001b[31m"}}]}'),
    "not-utf-8": reply(JSON_START + b'boat \xff\xfe on sea"}}]}'),
    "list": reply(b"[1,2]"),
    "null": reply(b"null"),
    "empty": reply(b""),
    "no-choices": reply(b'{"choices":[]}'),
    "odd-choices": reply(b'{"choices":{"0":1}}'),
    "odd-message": reply(b'{"choices":[{"message":[]}]}'),
    "odd-content": reply(body({"a": [1]})),
    "parts": reply(body([{"type": "text", "text": "x"}, 5, None])),
    "error-200": reply(b'{"error":{"message":["no"]}}'),
    "echo-400": echo("400 Bad"),
    "echo-401": echo("401 No"),
    "echo-500": echo("500 Broken"),
    "echo-answer": lambda client, key: reply(body(f"A boat {key}"))(client, key),
}

MODELS = reply(b'{"data":[{"id":"m"}]}')


def trials(count: int, rng: random.Random) -> Iterator[Trial]:
    """Each response to chats and to the question for models, and odd addresses and keys."""
    found = [
        *((f"chat.{name}", partial(ask, name=name)) for name in RESPONSES),
        *((f"models.{name}", partial(ask, name=name, models=True)) for name in RESPONSES),
        *((f"redirect.{code}", partial(redirect, code=code)) for code in (301, 302, 307, 308)),
        *((f"address.{number}", partial(odd_address, number=number)) for number in range(7)),
        *((f"key.{number}", partial(odd_key, number=number)) for number in range(3)),
    ]
    for name, run in rng.sample(found, min(count, len(found))):
        yield Trial("hostile-server", name, run)


class Server:
    """Answers requests for models well and chats with `chat`, or the other way round."""

    def __init__(self, chat: Respond, models: Respond | None = None) -> None:
        self.chat, self.models, self.num_requests = chat, models or MODELS, 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client = self._socket.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as stream:
            while line := stream.readline():
                headers = {}
                while header := stream.readline().strip():
                    key, _, value = header.decode("latin-1").partition(":")
                    headers[key.lower()] = value.strip()
                stream.read(int(headers.get("content-length", 0)))
                self.num_requests += 1
                respond = self.models if b"/models" in line else self.chat
                respond(client, headers.get("authorization", ""))


def ask(
    lab: Lab,
    place: Workplace,
    outcome: Outcome,
    rng: random.Random,
    name: str,
    models: bool = False,
) -> None:
    """One question to a server that answers with RESPONSES[name]."""
    respond = RESPONSES[name]
    with Server(reply(GOOD), respond) if models else Server(respond) as server:
        _caption(lab, place, outcome, rng, server.url)
    if "\x1b" in place.stderr.read_text(errors="replace"):
        outcome.add("leak", "an escape sequence on stderr")


def redirect(lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, code: int) -> None:
    """The key and the picture stay with the server that was named."""
    with Server(reply(GOOD)) as other:
        location = f"Location: http://127.0.0.1:{other.port}/v1/chat/completions\r\n"
        with Server(reply(b"", f"{code} Moved", location)) as server:
            _caption(lab, place, outcome, rng, server.url)
        if other.num_requests:
            outcome.add("leak", "a redirect to another address was followed")


def odd_address(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, number: int
) -> None:
    with Server(reply(GOOD)) as server:
        address = (
            f"http://user:{PASSWORD}@127.0.0.1:{server.port}/v1",
            f"http://user:{PASSWORD}@127.0.0.1:1/v1",
            f"{server.url}?api-version=3",
            f"{server.url}\r\nX-More: 1",
            f"{server.url}/go od",
            f"https://127.0.0.1:{server.port}/v1",
            "http://[::1/v1",
        )[number]
        _caption(lab, place, outcome, rng, address)


def odd_key(lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, number: int) -> None:
    key = (f"{KEY}\nX-More: 1", f"{KEY}\u2026", f" {KEY}\r")[number]
    with Server(reply(GOOD)) as server:
        _caption(lab, place, outcome, rng, server.url, key)


def _caption(
    lab: Lab,
    place: Workplace,
    outcome: Outcome,
    rng: random.Random,
    url: str,
    key: str = KEY,
) -> None:
    limits = ["--timeout", TIMEOUT_S, "--retries", 1, "--attempts", 1, "--concurrency", 2]
    words = ["caption", lab.inputs / "images" / "1.png", "--kind", "content", "--base-url", url]
    debugging = ["-vv"] if rng.random() < 0.5 else []  # says more; may show tracebacks
    process = place.start([*words, *limits, *debugging, "-o", "out.jsonl"], OPENAI_API_KEY=key)
    ended = place.wait(process, LIMIT_S, MAX_GROWTH_MIB)
    outcome.tried = 1
    outcome.steps.append(f"{ended.code}, {ended.growth_mib} MiB: {ended.last_words}")
    if not debugging or ended.code is None:
        outcome.check_words(ended)
    if ended.growth_mib > MAX_GROWTH_MIB:
        outcome.add("memory", f"more than {MAX_GROWTH_MIB} MiB")
    else:
        outcome.check_code(ended, (0, 2, 3), "its answer")
    for path in (place.stderr, *_files(place.folder)):
        if any(secret in path.read_text(errors="replace") for secret in (KEY, PASSWORD)):
            outcome.add("leak", f"a secret is in {path.name}")


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root) / name for name in names)
