"""A server of chat completions in the test's own process: real HTTP, faults on demand."""

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

MODEL = "tiny-vlm"
CONTENT = "Three flat shapes overlap near a corner"
ATTRIBUTES = {
    "identity": "cut-paper collage",
    "colors": "teal and ivory",
    "accents": "ochre",
    "light": "upper left fading to the right",
    "pattern": "N/A",
    "surface": "matte",
    "edges": "sharp",
    "outline": "thin black",
    "brushwork": "N/A",
    "medium": "layered paper",
}

SENTENCE = (
    "In the style of cut-paper collage, teal and ivory spread in wide fields, light from the upper"
    " left fading to the right, layered matte paper, fine grain, no visible strokes."
)
VERDICT = {"relevant": True, "vague": False}


@dataclass
class Asked:
    """One request as the server saw it."""

    body: dict[str, Any]
    headers: dict[str, str]
    number: int  # of the requests with this very picture and instruction, from 0

    @property
    def text(self) -> str:
        """All the words of the request."""
        return "\n".join(part["text"] for part in self._parts if part["type"] == "text")

    @property
    def picture(self) -> Image.Image:
        """The picture of the request, decoded."""
        (url,) = [p["image_url"]["url"] for p in self._parts if p["type"] == "image_url"]
        head, _, encoded = url.partition(",")
        assert head == "data:image/jpeg;base64"
        return Image.open(BytesIO(base64.b64decode(encoded)))

    @property
    def _parts(self) -> list[dict[str, Any]]:
        (message,) = self.body["messages"]
        return list(message["content"])


@dataclass
class Fault:
    """Something else than an answer: a status, raw bytes for a body, a wait, a cut connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0
    drop: bool = False


def well(asked: Asked) -> str:
    """The answer of a model that follows its instructions."""
    if "The descriptions of this picture" in asked.text:
        names = [line[2:].partition(":")[0] for line in asked.text.splitlines() if line[:2] == "- "]
        return json.dumps(dict.fromkeys(names, VERDICT))
    if "content phrase" in asked.text:
        return CONTENT
    if "style sentence" in asked.text:
        return SENTENCE
    if "Write the value" in asked.text:
        return ATTRIBUTES[asked.text.rpartition("Give ")[2].partition(":")[0]]
    return f"```json\n{json.dumps(ATTRIBUTES)}\n```"


class ChatServer:
    """A running server: its address, what it was asked, how many requests it held at once."""

    def __init__(
        self,
        behave: Callable[[Asked], str | Fault],
        models: Sequence[str] | None,
        owned_by: str | None,
        port: int,
    ) -> None:
        self.behave, self.models, self.owned_by = behave, models, owned_by
        self.asked: list[Asked] = []
        self.most_at_once = self._now = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None: ...

            def do_GET(self) -> None:
                if server.models is None:
                    self._send(404, b"not found", {})
                else:
                    owner = {"owned_by": server.owned_by} if server.owned_by else {}
                    listed = {"data": [{"id": name, **owner} for name in server.models]}
                    self._send(200, json.dumps(listed).encode(), {})

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                fault = server.handle(json.loads(raw), dict(self.headers))
                if fault.wait_s:
                    time.sleep(fault.wait_s)
                if fault.drop:
                    self.close_connection = True
                    return
                self._send(fault.status, fault.body or b"", fault.headers)

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
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def handle(self, body: dict[str, Any], headers: dict[str, str]) -> Fault:
        """The response to one chat request."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            key = json.dumps(body["messages"][0]["content"][:2])
            asked = Asked(body, headers, self._seen[key])
            self._seen[key] += 1
            self.asked.append(asked)
        try:
            answer = self.behave(asked)
        finally:
            with self._lock:
                self._now -= 1
        return answer if isinstance(answer, Fault) else completion(answer)


def completion(answer: str) -> Fault:
    """An answer in the form of a chat completion."""
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice]}
    return Fault(body=json.dumps(body).encode())


@contextmanager
def serving(
    behave: Callable[[Asked], str | Fault] = well,
    models: Sequence[str] | None = (MODEL,),
    owned_by: str | None = None,
    port: int = 0,
) -> Iterator[ChatServer]:
    """A running chat server; `models` None: it lists none, `port` 0: any that is free."""
    server = ChatServer(behave, models, owned_by, port)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
