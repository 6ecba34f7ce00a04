"""A chat completions server in the test's own process: real HTTP, with faults on demand."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image

from megastyle_cli.core import style

MODEL = "tiny-vlm"
CONTENT = "Three flat shapes overlap near a corner"
ATTRIBUTES = dict.fromkeys(style.ATTRIBUTES, "N/A") | {
    "identity": "cut-paper collage",
    "colors": "teal and ivory",
    "accents": "ochre",
    "light": "upper left fading to the right",
    "surface": "matte",
    "edges": "sharp",
    "outline": "thin black",
    "medium": "layered paper",
}

SENTENCE = (
    "In the style of cut-paper collage, teal and ivory spread in wide fields, light from the upper"
    " left fading to the right, layered matte paper, fine grain, no visible strokes."
)
VERDICT = {"relevant": True, "vague": False}


@dataclass
class ChatRequest:
    """One request as the server saw it."""

    body: dict[str, Any]
    headers: dict[str, str]
    attempt: int  # counts requests with the same image and instruction, from 0

    @property
    def text(self) -> str:
        """All text of the request."""
        return "\n".join(part["text"] for part in self._parts if part["type"] == "text")

    @property
    def image(self) -> Image.Image:
        """The image of the request, decoded."""
        (url,) = [p["image_url"]["url"] for p in self._parts if p["type"] == "image_url"]
        head, _, encoded = url.partition(",")
        assert head == "data:image/jpeg;base64"
        return Image.open(BytesIO(base64.b64decode(encoded)))

    @property
    def _parts(self) -> list[dict[str, Any]]:
        (message,) = self.body["messages"]
        return list(message["content"])


@dataclass
class RawResponse:
    """A response byte for byte: its status, headers and body, a delay, or a closed connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0
    closes_connection: bool = False


def answer_well(request: ChatRequest) -> str:
    """A valid answer to any request of `caption`."""
    if "The descriptions of this picture" in request.text:
        names = [
            line[2:].partition(":")[0] for line in request.text.splitlines() if line[:2] == "- "
        ]
        return json.dumps(dict.fromkeys(names, VERDICT))
    if "content phrase" in request.text:
        return CONTENT
    if "style sentence" in request.text:
        return SENTENCE
    if "Write the value" in request.text:
        return ATTRIBUTES[request.text.rpartition("Give ")[2].partition(":")[0]]
    return f"```json\n{json.dumps(ATTRIBUTES)}\n```"


class ChatServer:
    """A running server: its address, its requests, and the most it had at the same time."""

    def __init__(
        self,
        respond: Callable[[ChatRequest], str | RawResponse],
        models: Sequence[str] | RawResponse | None,
        owned_by: str | None,
        port: int,
    ) -> None:
        self.respond, self.models, self.owned_by = respond, models, owned_by
        self.requests: list[ChatRequest] = []
        self.max_concurrent = self._num_open = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else an answer's body waits 40 ms behind its head

            def log_message(self, *args: object) -> None: ...

            def do_GET(self) -> None:
                if isinstance(server.models, RawResponse):
                    self._respond(server.models)
                elif server.models is None:
                    self._send(404, b"not found", {})
                else:
                    owner = {"owned_by": server.owned_by} if server.owned_by else {}
                    listed = {"data": [{"id": name, **owner} for name in server.models]}
                    self._send(200, json.dumps(listed).encode(), {})

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                self._respond(server.handle(json.loads(raw), dict(self.headers)))

            def _respond(self, response: RawResponse) -> None:
                if response.wait_s:
                    time.sleep(response.wait_s)
                if response.closes_connection:
                    self.close_connection = True
                    return
                self._send(response.status, response.body or b"", response.headers)

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *args: object) -> None: ...  # clients that went away

        self.http = Server(("127.0.0.1", port), Handler)
        self.http.socket.settimeout(1)  # select(2): what is ready may be gone when it is accepted
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handle(self, body: dict[str, Any], headers: dict[str, str]) -> RawResponse:
        """The response to one chat request."""
        with self._lock:
            self._num_open += 1
            self.max_concurrent = max(self.max_concurrent, self._num_open)
            key = json.dumps(body["messages"][0]["content"][:2])
            request = ChatRequest(body, headers, self._seen[key])
            self._seen[key] += 1
            self.requests.append(request)
        try:
            response = self.respond(request)
        finally:
            with self._lock:
                self._num_open -= 1
        return response if isinstance(response, RawResponse) else completion(response)


def completion(answer: str) -> RawResponse:
    """An answer in the form of a chat completion."""
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice]}
    return RawResponse(body=json.dumps(body).encode())


@contextmanager
def serving(
    respond: Callable[[ChatRequest], str | RawResponse] = answer_well,
    models: Sequence[str] | RawResponse | None = (MODEL,),
    owned_by: str | None = None,
    port: int = 0,
) -> Iterator[ChatServer]:
    """A running chat server; `models` None: it lists none, `port` 0: any that is free."""
    server = ChatServer(respond, models, owned_by, port)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
