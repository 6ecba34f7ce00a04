"""Questions about pictures to a server of OpenAI's chat completions: vLLM, SGLang, a hosted one.

The standard library's HTTP client on purpose, one blocking request a thread: it takes half the CPU
of httpx, and with hundreds in flight that is what limits us (benchmarks/caption_client.py).
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
KEY = "OPENAI_API_KEY"
JPEG_QUALITY = 90
AHEAD = 16
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # what another attempt may mend
# These render the chat template themselves, and models that think would use up max_tokens with it.
TEMPLATES = {"vllm", "sglang"}
FEWEST_UNHEARD = 8  # so many requests in a row without any answer: the server is gone


class Response(NamedTuple):
    """What a server said: status, `Retry-After` if it gave one, body."""

    status: int
    retry_after: str | None
    body: bytes


class ChatClient:
    """Answers by a server under `base_url` (with its /v1), one picture a request, greedily.

    `concurrency` requests are in flight at most; AHEAD more lanes prepare the next ones, so that no
    place of the server stands empty while a picture is decoded. The key comes from the environment
    variable OPENAI_API_KEY and goes nowhere but into the request. A request that times out, breaks
    off or gets a passing status is sent again up to `retries` times; then it gives BadRecord.
    Raises MegastyleError if the server cannot be reached, refuses the key, does not know the model,
    or falls silent for good.
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
        self.base_url, self.num_threads = base_url, concurrency + AHEAD
        self._places = BoundedSemaphore(concurrency)
        self.timeout_s, self.retries = timeout_s, retries
        self._scheme, self._host, self._port, self._path = _parts(base_url)
        self._tls = ssl.create_default_context() if self._scheme == "https" else None
        self._headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            self._headers["Authorization"] = f"Bearer {key}"
        self._idle: list[HTTPConnection] = []
        self._unheard = 0
        self._counting = Lock()
        self._more: dict[str, Any] = {}  # what this server is told beside the prompt
        try:
            self.name = self._served(model)
        except MegastyleError:
            self.close()
            raise

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | BadRecord]:
        """What the server answers to each prompt, in order; usable from many threads."""
        shown: dict[int, str] = {}  # a picture that is asked about several times is encoded once
        answers: list[str | BadRecord] = []
        for prompt in prompts:
            key = id(prompt.image)
            shown.setdefault(key, _data_url(prompt.image))
            body = _body(self.name, prompt, shown[key], self._more)
            answers.append(self._answered(body))
        return answers

    def close(self) -> None:
        """Closes the connections that wait for a further request."""
        while self._idle:
            self._idle.pop().close()

    def _answered(self, body: bytes) -> str | BadRecord:
        fault, heard = "", False
        for attempt in range(self.retries + 1):
            try:
                with self._places:
                    response = self._exchange("POST", "/chat/completions", body)
                heard = True
                if response.status == 200:
                    answer = _message(response.body)
                    self._unheard = 0
                    return answer
                fault = f"status {response.status}: {_said(response.body)}"
                if response.status not in PASSING:
                    return self._refused(response.status, fault)
                asked_wait = response.retry_after
            except (OSError, HTTPException, ValueError) as error:
                fault, asked_wait = _named(error), None
            log.debug("%s: attempt %d: %s", self.base_url, attempt + 1, fault)
            if attempt < self.retries:
                time.sleep(wait_s(attempt, body, asked_wait))
        self._count_unheard(heard, fault)
        return BadRecord(
            "model_error", f"{self.base_url} gave no answer in {self.retries + 1} attempts: {fault}"
        )

    def _refused(self, status: int, fault: str) -> BadRecord:
        """A request that no other attempt would mend. Raises MegastyleError if none ever will."""
        if status in (401, 403):
            raise MegastyleError(
                f"{self.base_url} refuses the key: {fault}", hint=f"set {KEY} in the environment"
            )
        if status == 404:
            raise MegastyleError(
                f"{self.base_url} has no model {self.name!r}: {fault}", hint="check --model"
            )
        return BadRecord("model_error", f"{self.base_url} refuses the request: {fault}")

    def _count_unheard(self, heard: bool, fault: str) -> None:
        with self._counting:
            self._unheard = 0 if heard else self._unheard + 1
            is_gone = self._unheard >= max(FEWEST_UNHEARD, self.num_threads)
        if is_gone:
            raise MegastyleError(
                f"{self.base_url} has fallen silent: {self._unheard} requests in a row got no"
                f" answer ({fault})",
                hint="what is done stays; --resume goes on when the server is back",
                exit_code=UNEXPECTED,
            )

    def _served(self, model: str | None) -> str:
        """The model to ask: `model`, or the only one the server has."""
        try:
            response = self._exchange("GET", "/models", None)
        except (OSError, HTTPException) as error:
            raise MegastyleError(
                f"{self.base_url} cannot be reached: {_named(error)}",
                hint="start the server, or give its address by --base-url",
            ) from error
        if response.status in (401, 403):
            self._refused(response.status, f"status {response.status}: {_said(response.body)}")
        names = _listed(response, "id")
        if names and TEMPLATES.issuperset(_listed(response, "owned_by") or [""]):
            self._more = {"chat_template_kwargs": {"enable_thinking": False}}
        if model is not None and (names is None or model in names):
            return model
        if model is None and names is not None and len(names) == 1:
            return names[0]
        told = "tells no models" if names is None else f"has {', '.join(names) or 'no models'}"
        wanted = "" if model is None else f", not {model!r}"
        raise MegastyleError(f"{self.base_url} {told}{wanted}", hint="give one by --model")

    def _exchange(self, method: str, path: str, body: bytes | None) -> Response:
        """One request and its whole response. Raises OSError or HTTPException."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._new_connection()
        try:
            connection.request(method, self._path + path, body, self._headers)
            with connection.getresponse() as response:
                said = Response(response.status, response.headers["Retry-After"], response.read())
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return said

    def _new_connection(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self.timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self.timeout_s, context=self._tls)


def wait_s(attempt: int, body: bytes, retry_after: str | None = None) -> float:
    """Seconds until attempt `attempt + 2`: what the server asks for, else doubling with jitter.

    The jitter, 50 to 100 %, is drawn from the request itself: two never wait alike, and the same
    run waits the same. No wait is longer than LONGEST_WAIT_S.
    """
    jitter = 0.5 + zlib.crc32(body, attempt) / 2**33
    backed_off = FIRST_WAIT_S * 2.0**attempt * jitter
    return min(max(_asked_wait_s(retry_after), backed_off), LONGEST_WAIT_S)


def _asked_wait_s(retry_after: str | None) -> float:
    """`Retry-After` in seconds, whether it is a number or a date; 0 if it is neither."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except ValueError:
        return 0.0


def _parts(base_url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path of an address. Raises MegastyleError if it is none."""
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


def _body(model: str, prompt: VisionPrompt, data_url: str, more: Mapping[str, Any]) -> bytes:
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
        **more,
    }
    return json.dumps(request).encode()


def _message(body: bytes) -> str:
    """The text of a chat completion. Raises ValueError if the body is none."""
    try:
        message = json.loads(body)["choices"][0]["message"]
        answer = message.get("content") or message.get("refusal") or ""
    except (LookupError, TypeError, AttributeError, RecursionError) as wrong:
        raise ValueError(f"not a chat completion: {body[:80]!r}") from wrong
    if not isinstance(answer, str):
        raise ValueError(f"the answer is no text: {body[:80]!r}")
    return answer


def _listed(response: Response, key: str) -> list[str] | None:
    """What a server tells under `key` of each of its models; None if it does not."""
    try:
        return [str(model[key]) for model in json.loads(response.body)["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _said(body: bytes) -> str:
    """The sentence of an error response."""
    try:
        told: Any = json.loads(body)
        error = told.get("error", told)
        sentence = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        sentence = body.decode("utf-8", "replace")
    return " ".join(str(sentence).split())[:200]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
