"""A vision-language model behind OpenAI's chat completions API: vLLM, SGLang or a hosted server.

Uses the standard library's HTTP client with one blocking request per thread: it takes half the CPU
of httpx, which is the limit with hundreds of requests in flight (benchmarks/caption_client.py).
"""

import base64
import email.utils
import json
import logging
import os
import ssl
import time
import zlib
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from io import BytesIO
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL.Image import Image

from megastyle_cli.core.errors import UNEXPECTED, BadRecord, MegastyleError
from megastyle_cli.models.protocols import VisionPrompt

log = logging.getLogger(__name__)

BASE_URL = "http://localhost:8000/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
JPEG_QUALITY = 90
PREPARED = 16
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
RETRYABLE = {408, 409, 425, 429, 500, 502, 503, 504, 529}
# These servers accept options of the chat template; reasoning would use up max_tokens.
TEMPLATE_SERVERS = {"vllm", "sglang"}
MIN_UNANSWERED = 8  # consecutive requests without any response before the server counts as gone


class HttpResponse(NamedTuple):
    """A response: status, the `Retry-After` header if there is one, body."""

    status: int
    retry_after: str | None
    body: bytes


class ChatClient:
    """Greedy answers by the server at `base_url` (with its /v1), one image per request.

    At most `concurrency` requests are in flight; PREPARED more threads decode and encode the next
    images, so that no slot of the server is idle meanwhile. The key comes from the environment
    variable OPENAI_API_KEY and is only put into the requests. A request that times out, is cut off
    or gets a retryable status is sent again up to `retries` times; then it gives BadRecord.
    Raises MegastyleError if the server cannot be reached, refuses the key, does not have the model,
    or stops responding.
    """

    batch_size = 1

    def __init__(
        self,
        model: str | None = None,
        base_url: str = BASE_URL,
        concurrency: int = 64,
        timeout_s: float = 120.0,
        retries: int = 6,
    ) -> None:
        self.base_url, self.num_threads = base_url, concurrency + PREPARED
        self._slots = BoundedSemaphore(concurrency)
        self.timeout_s, self.retries = timeout_s, retries
        self._scheme, self._host, self._port, self._path = _parse_url(base_url)
        self._tls = ssl.create_default_context() if self._scheme == "https" else None
        self._headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            self._headers["Authorization"] = f"Bearer {key}"
        self._idle: list[HTTPConnection] = []
        self._unanswered = 0
        self._count_lock = Lock()
        self._server_options: dict[str, Any] = {}  # fields of the request that only some accept
        try:
            self.name = self._find_model(model)
        except MegastyleError:
            self.close()
            raise

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | BadRecord]:
        """The server's answer to each prompt, in order; may be called from many threads."""
        encoded: dict[int, str] = {}  # each image once, however many prompts ask about it
        answers: list[str | BadRecord] = []
        for prompt in prompts:
            key = id(prompt.image)
            if key not in encoded:
                encoded[key] = _data_url(prompt.image)
            body = _body(self.name, prompt, encoded[key], self._server_options)
            answers.append(self._answer(body))
        return answers

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _answer(self, body: bytes) -> str | BadRecord:
        reason, has_response = "", False
        for attempt in range(self.retries + 1):
            try:
                with self._slots:
                    response = self._exchange("POST", "/chat/completions", body)
                has_response = True
                if response.status == 200:
                    answer = _message(response.body)
                    self._unanswered = 0
                    return answer
                reason = _status_message(response)
                if response.status not in RETRYABLE:
                    return self._rejected(response.status, reason)
                retry_after = response.retry_after
            except (OSError, HTTPException, ValueError) as error:
                reason, retry_after = _describe(error), None
            log.debug("%s: attempt %d: %s", self.base_url, attempt + 1, reason)
            if attempt < self.retries:
                time.sleep(wait_s(attempt, body, retry_after))
        self._count_unanswered(has_response, reason)
        return BadRecord(
            "model_error",
            f"{self.base_url} gave no answer in {self.retries + 1} attempts: {reason}",
        )

    def _rejected(self, status: int, reason: str) -> BadRecord:
        """The failure of one request. Raises MegastyleError if every request would fail alike."""
        if status in (401, 403):
            raise MegastyleError(
                f"{self.base_url} refuses the key: {reason}",
                hint=f"set {KEY_VARIABLE} in the environment",
            )
        if status == 404:
            raise MegastyleError(
                f"{self.base_url} has no model {self.name!r}: {reason}", hint="check --model"
            )
        return BadRecord("model_error", f"{self.base_url} refuses the request: {reason}")

    def _count_unanswered(self, has_response: bool, reason: str) -> None:
        with self._count_lock:
            self._unanswered = 0 if has_response else self._unanswered + 1
            is_gone = self._unanswered >= max(MIN_UNANSWERED, self.num_threads)
        if is_gone:
            raise MegastyleError(
                f"{self.base_url} has fallen silent: {self._unanswered} requests in a row got no"
                f" answer ({reason})",
                hint="what is done stays; --resume goes on when the server is back",
                exit_code=UNEXPECTED,
            )

    def _find_model(self, model: str | None) -> str:
        """The model to use: `model`, or the only one that the server has."""
        try:
            response = self._exchange("GET", "/models", None)
        except (OSError, HTTPException) as error:
            raise MegastyleError(
                f"{self.base_url} cannot be reached: {_describe(error)}",
                hint="start the server, or give its address by --base-url",
            ) from error
        if response.status in (401, 403):
            self._rejected(response.status, _status_message(response))
        names = _list_models(response, "id")
        if names and TEMPLATE_SERVERS.issuperset(_list_models(response, "owned_by") or [""]):
            self._server_options = {"chat_template_kwargs": {"enable_thinking": False}}
        if model is not None and (names is None or model in names):
            return model
        if model is None and names is not None and len(names) == 1:
            return names[0]
        found = "tells no models" if names is None else f"has {', '.join(names) or 'no models'}"
        wanted = "" if model is None else f", not {model!r}"
        raise MegastyleError(f"{self.base_url} {found}{wanted}", hint="give one by --model")

    def _exchange(self, method: str, path: str, body: bytes | None) -> HttpResponse:
        """Sends one request and reads the whole response. Raises OSError or HTTPException."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new_connection()
        try:
            connection.request(method, self._path + path, body, self._headers)
            with connection.getresponse() as response:
                received = HttpResponse(
                    response.status, response.headers["Retry-After"], response.read()
                )
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return received

    def _new_connection(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self.timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self.timeout_s, context=self._tls)


def wait_s(attempt: int, body: bytes, retry_after: str | None = None) -> float:
    """Seconds to wait before attempt `attempt + 2`: what the server asks, or doubling with jitter.

    The jitter, 50 to 100 %, is derived from the request: different requests wait differently, and
    a repeated run waits the same. No wait is longer than LONGEST_WAIT_S.
    """
    jitter = 0.5 + zlib.crc32(body, attempt) / 2**33
    backoff = FIRST_WAIT_S * 2.0**attempt * jitter
    return min(max(_retry_after_s(retry_after), backoff), LONGEST_WAIT_S)


def _retry_after_s(retry_after: str | None) -> float:
    """`Retry-After` in seconds, from a number or a date; 0 if it is neither."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except ValueError:
        return 0.0


def _parse_url(base_url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path of a URL. Raises MegastyleError if it is not one."""
    try:
        parts = urlsplit(base_url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("http", "https") or not host:
        raise MegastyleError(
            f"--base-url is {base_url!r}, not the address of a server", hint=f"such as {BASE_URL}"
        )
    return scheme, host, port, parts.path.rstrip("/") or "/v1"


def _data_url(picture: Image) -> str:
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _body(model: str, prompt: VisionPrompt, data_url: str, options: Mapping[str, Any]) -> bytes:
    parts = [
        {"type": "text", "text": prompt.instruction},
        {"type": "image_url", "image_url": {"url": data_url}},
        {"type": "text", "text": prompt.question},
    ]
    request = {
        "model": model,
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": prompt.max_tokens,
        "temperature": 0,
        **options,
    }
    return json.dumps(request).encode()


def _message(body: bytes) -> str:
    """The text of a chat completion. Raises ValueError if the body is not one."""
    try:
        message = json.loads(body)["choices"][0]["message"]
        answer = message.get("content") or message.get("refusal") or ""
    except (LookupError, TypeError, AttributeError, RecursionError) as wrong:
        raise ValueError(f"not a chat completion: {body[:80]!r}") from wrong
    if not isinstance(answer, str):
        raise ValueError(f"the answer is no text: {body[:80]!r}")
    return answer


def _list_models(response: HttpResponse, key: str) -> list[str] | None:
    """The value of `key` for each of the server's models; None if it does not list them."""
    try:
        return [str(model[key]) for model in json.loads(response.body)["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _status_message(response: HttpResponse) -> str:
    """The status of an error response and its message, in one line."""
    body = response.body
    try:
        content: Any = json.loads(body)
        error = content.get("error", content)
        message = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        message = body.decode("utf-8", "replace")
    return f"status {response.status}: {' '.join(str(message).split())[:200]}"


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
