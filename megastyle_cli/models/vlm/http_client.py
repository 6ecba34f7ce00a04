"""HTTP with one server: kept connections, one deadline and one size limit per exchange, proxies.

The standard library's client with one blocking request per thread: it takes half the CPU of httpx,
which is the limit with hundreds of requests in flight (benchmarks/caption_client.py).
"""

import base64
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
    RemoteDisconnected,
    UnknownProtocol,
)
from io import BufferedReader, RawIOBase
from ipaddress import ip_address
from socket import socket
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from megastyle_cli.core.errors import MegastyleError

MAX_RESPONSE_BYTES = 4 * 2**20
PART_BYTES = 2**16
REDIRECTS = {301, 302, 303, 307, 308}
KEEPING_REDIRECTS = {307, 308}  # they keep the method and the body of a request
MAX_REDIRECTS = 4
MIN_SECRET_LENGTH = 4  # shorter ones would match inside ordinary words
ADDRESS_LETTERS = "/:@!$&'()*+,;=%-._~"


class Response(NamedTuple):
    """A response: status, the `Retry-After` header if there is one, body."""

    status: int
    retry_after: str | None
    body: bytes


class HttpClient:
    """Exchanges with the server at `base_url`, from many threads.

    `user:password@` in the URL is sent as Basic authorization, a query with every request. The
    environment's HTTP_PROXY, HTTPS_PROXY and NO_PROXY apply, but to a server on this machine.
    `url` is the address without secrets, for messages; `secrets` are texts not to be shown.
    """

    def __init__(self, base_url: str, timeout_s: float, example: str) -> None:
        parts = _split(base_url, example)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port
        self._path = quote(parts.path.rstrip("/"), ADDRESS_LETTERS) or "/v1"
        self._query = f"?{quote(parts.query, ADDRESS_LETTERS + '?')}" if parts.query else ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._netloc = f"{host}:{self._port}" if self._port else host
        self.url = f"{self._scheme}://{self._netloc}{parts.path.rstrip('/')}"
        self.timeout_s = timeout_s
        self.headers, self.secrets = _authorization(parts, "Authorization")
        self._proxy = _proxy_of(self._scheme, self._host, self._netloc)
        self._proxy_headers: dict[str, str] = {}
        if self._proxy:
            self._proxy_headers, secrets = _authorization(self._proxy, "Proxy-Authorization")
            self.secrets += secrets
        self._tls = ssl.create_default_context() if self._scheme == "https" else None
        self._idle: list[HTTPConnection] = []

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Response:
        """The response to a request for the base path plus `path`.

        A redirect within the server that keeps the method is followed, and remembered. Raises
        OSError or HTTPException if there is no whole response within `timeout_s` and
        MAX_RESPONSE_BYTES, and MegastyleError if the server redirects anywhere else.
        """
        deadline = time.monotonic() + self.timeout_s
        for _ in range(MAX_REDIRECTS):
            response, location = self._exchange_once(method, path, body, deadline)
            if response.status not in REDIRECTS:
                return response
            self._follow(response.status, location, path)
        raise MegastyleError(f"{self.url} redirects in a loop", hint="check --base-url")

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange_once(
        self, method: str, path: str, body: bytes | None, deadline: float
    ) -> tuple[Response, str]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new_connection()
        try:
            connection.timeout = max(deadline - time.monotonic(), 0.001)
            connection.response_class = _timed_response(deadline)  # type: ignore[assignment]
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            connection.request(method, self._target(path), body, self._request_headers())
            with connection.getresponse() as response:
                retry_after = response.headers["Retry-After"]
                location = response.headers["Location"] or ""
                received = Response(response.status, retry_after, _read(response))
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return received, location

    def _target(self, path: str) -> str:
        target = f"{self._path}{path}{self._query}"
        is_relayed = self._proxy is not None and self._scheme == "http"
        return f"http://{self._netloc}{target}" if is_relayed else target

    def _request_headers(self) -> dict[str, str]:
        return self.headers | self._proxy_headers if self._scheme == "http" else self.headers

    def _follow(self, status: int, location: str, path: str) -> None:
        """Makes the address of a redirect the base path. Raises MegastyleError if it may not."""
        target = urlsplit(urljoin(f"{self._scheme}://{self._netloc}{self._target('')}", location))
        is_here = (target.scheme, target.netloc) == (self._scheme, self._netloc)
        if status not in KEEPING_REDIRECTS or not is_here or not target.path.endswith(path):
            shown = target._replace(netloc=target.netloc.rpartition("@")[2], query="").geturl()
            raise MegastyleError(
                f"{self.url} redirects to {shown.removesuffix(path)!r} (status {status})",
                hint="if you trust that address, give it as --base-url",
            )
        self._path = target.path.removesuffix(path)

    def _new_connection(self) -> HTTPConnection:
        host, port = (self._host, self._port)
        if self._proxy:
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        if self._tls is None:
            return HTTPConnection(host, port)
        connection = HTTPSConnection(host, port, context=self._tls)
        if self._proxy:
            connection.set_tunnel(self._host, self._port or 443, self._proxy_headers)
        return connection


class _TimedReader(RawIOBase):
    """Bytes of a socket until the deadline of a response, and up to MAX_RESPONSE_BYTES of them."""

    def __init__(self, source: socket, deadline: float) -> None:
        self.source, self.deadline, self.room = source, deadline, MAX_RESPONSE_BYTES
        self._file = source.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.source.settimeout(left_s)
        size = self._file.readinto(buffer)
        self.room -= size or 0
        if self.room < 0:
            raise _too_large()
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _TimedSocket:
    """What HTTPResponse reads from: a socket whose files have a deadline."""

    def __init__(self, source: socket, deadline: float) -> None:
        self.source, self.deadline = source, deadline

    def makefile(self, mode: str) -> BufferedReader:
        return BufferedReader(_TimedReader(self.source, self.deadline))


def _timed_response(deadline: float) -> Callable[..., HTTPResponse]:
    def make(source: socket, method: str) -> HTTPResponse:
        return HTTPResponse(cast(socket, _TimedSocket(source, deadline)), method=method)

    return make


def _read(response: HTTPResponse) -> bytes:
    """The whole body, read in parts: a size that a server claims is not allocated."""
    if (response.length or 0) > MAX_RESPONSE_BYTES:
        raise _too_large()
    parts = []
    while part := response.read(PART_BYTES):
        parts.append(part)
    body = b"".join(parts)
    if response.length:
        raise IncompleteRead(body, response.length)
    return body


def _too_large() -> HTTPException:
    return HTTPException(f"the response is larger than {MAX_RESPONSE_BYTES // 2**20} MiB")


def hide(text: str, secrets: Sequence[str]) -> str:
    """`text` with *** in place of each secret."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:
            text = text.replace(secret, "***")
    return text


def describe(error: Exception) -> str:
    """An error of an exchange in words, without the control characters that a server sent."""
    if isinstance(error, TimeoutError):
        return "no whole response within --timeout"
    if isinstance(error, IncompleteRead):
        return "the response is cut off"
    if isinstance(error, RemoteDisconnected):
        return "the connection was closed without a response"
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    reason = "".join(letter for letter in words[:300] if letter.isprintable())
    is_no_http = isinstance(error, BadStatusLine | UnknownProtocol)
    return f"the response is not HTTP: {reason}" if is_no_http else reason or "no reason given"


def _split(base_url: str, example: str) -> SplitResult:
    """The parts of a URL. Raises MegastyleError, without its password, if it is not one."""
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_address &= parts.port != 0 and not parts.fragment and base_url.isprintable()
        is_address &= " " not in parts.netloc
    except ValueError:
        is_address = False
    if not is_address:
        shown = base_url.rpartition("@")[2]
        raise MegastyleError(
            f"--base-url is {shown!r}, not the address of a server",
            hint=f"give one such as {example}",
        )
    return parts


def _authorization(parts: SplitResult, header: str) -> tuple[dict[str, str], list[str]]:
    """The header for user and password of a URL, and the texts in it that must not be shown."""
    if parts.username is None:
        return {}, []
    password = unquote(parts.password or "")
    encoded = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
    return {header: f"Basic {encoded}"}, [encoded, password, parts.password or ""]


def _proxy_of(scheme: str, host: str, netloc: str) -> SplitResult | None:
    """The proxy that the environment names for the server; None for one on this machine."""
    proxies: Mapping[str, str] = getproxies_environment()
    address = proxies.get(scheme) or proxies.get("all")
    if not address or _is_this_machine(host) or proxy_bypass(netloc):
        return None
    name = f"{scheme if proxies.get(scheme) else 'all'}_proxy".upper()
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        is_usable = proxy.scheme == "http" and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise MegastyleError(
            f"{name} in the environment is {address.rpartition('@')[2]!r}, not an http:// proxy",
            hint=f"set one, or add {host} to NO_PROXY",
        )
    return proxy


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
