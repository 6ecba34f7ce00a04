"""A vision-language model behind OpenAI's chat completions API: vLLM, SGLang or a hosted server."""

import email.utils
import logging
import os
import time
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from threading import BoundedSemaphore, Lock

from megastyle_cli.core.errors import UNEXPECTED, BadRecord, MegastyleError
from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt
from megastyle_cli.models.vlm.chat_protocol import (
    Dialect,
    ServerError,
    data_url,
    parse_completion,
    parse_error,
    parse_models,
)
from megastyle_cli.models.vlm.http_client import HttpClient, Response, describe, hide

log = logging.getLogger(__name__)

BASE_URL = "http://localhost:8000/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
PREPARED = 16
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
RETRYABLE = {408, 409, 425, 429, 500, 502, 503, 504, 529}
# These servers accept options of the chat template; reasoning would use up max_tokens.
TEMPLATE_SERVERS = {"vllm", "sglang"}
MIN_FAILED = 8  # consecutive failed requests before the server counts as gone
SHOWN_MODELS = 5
RAREST_KEY = 12  # shorter keys ("EMPTY", "none") may occur in an answer as ordinary words


class ChatClient:
    """Greedy answers by the server at `base_url` (with its /v1), one image per request.

    At most `concurrency` requests are in flight; PREPARED more threads decode and encode the next
    images, so that no slot of the server is idle meanwhile. The key comes from the environment
    variable OPENAI_API_KEY, is only put into the requests, and is replaced wherever the server
    repeats it. A request that times out, is cut off or gets a retryable status is sent again up to
    `retries` times; then it gives BadRecord. A field that the server refuses is left out from then
    on. Raises MegastyleError if the server cannot be reached, refuses the key or all requests, has
    no quota left, does not have the model, or stops responding.
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
        self.num_threads, self.retries = concurrency + PREPARED, retries
        self._slots = BoundedSemaphore(concurrency)
        self._http = HttpClient(base_url, timeout_s, example=BASE_URL)
        self._http.headers["Content-Type"] = "application/json"
        key = _key_of_environment()
        if key and "Authorization" not in self._http.headers:
            self._http.headers["Authorization"] = f"Bearer {key}"
        self.url, self._secrets = self._http.url, [key, *self._http.secrets]
        self._dialect = Dialect()
        self._unanswered = self._refused = 0  # consecutive requests; refused: of a whole run
        self._has_answered = False
        self._lock = Lock()
        self._end: MegastyleError | None = None  # what ended the run, for requests not yet sent
        try:
            self.name = self._find_model(model)
        except MegastyleError:
            self.close()
            raise

    def generate(self, prompts: Sequence[VisionPrompt]) -> list[str | UnusableAnswer | BadRecord]:
        """The server's answer to each prompt, in order; may be called from many threads."""
        encoded: dict[int, str] = {}  # each image once, however many prompts ask about it
        answers: list[str | UnusableAnswer | BadRecord] = []
        for prompt in prompts:
            key = id(prompt.image)
            if key not in encoded:
                encoded[key] = data_url(prompt.image)
            answers.append(self._answer(prompt, encoded[key]))
        return answers

    def close(self) -> None:
        """Closes the idle connections."""
        self._http.close()

    def _answer(self, prompt: VisionPrompt, image_url: str) -> str | UnusableAnswer | BadRecord:
        dialect = self._dialect
        body = dialect.body(self.name, prompt, image_url)
        reason, has_response, attempt = "", False, 0
        while attempt <= self.retries:
            retry_after = None
            if self._end:
                raise self._end
            try:
                with self._slots:
                    response = self._http.exchange("POST", "/chat/completions", body)
                has_response = True
                if response.status == 200:
                    answer = parse_completion(response.body)
                    self._unanswered, self._has_answered = 0, True
                    return self._without_secrets(answer)
                error = parse_error(response.status, response.body)
                if (field := error.refused_field) and self._adapt(dialect, field):
                    dialect = self._dialect
                    body = dialect.body(self.name, prompt, image_url)
                    continue
                reason, retry_after = str(error), response.retry_after
                if error.status not in RETRYABLE or error.is_about_quota:
                    return self._rejected(error)
            except (OSError, HTTPException, ValueError) as error:
                reason = describe(error)
            except MegastyleError as error:  # a redirect
                raise self._ended(error.message, error.hint) from error
            attempt += 1
            log.debug("%s: attempt %d: %s", self.url, attempt, self._hide(reason))
            if attempt <= self.retries:
                time.sleep(wait_s(attempt - 1, body, retry_after))
        self._count_unanswered(has_response, reason)
        times = "1 attempt" if self.retries == 0 else f"{self.retries + 1} attempts"
        message = f"{self.url} gave no answer in {times}: {self._hide(reason)}"
        return BadRecord("model_error", message)

    def _adapt(self, dialect: Dialect, field: str) -> bool:
        """Whether requests can do without `field`, which the server refused in that dialect."""
        with self._lock:
            if self._dialect is not dialect:
                return True  # another thread has met the refusal first
            adapted = dialect.without(field)
            if adapted is None:
                return False
            self._dialect = adapted
        if field == "temperature":
            log.warning(
                "%s does not accept a temperature: its answers may differ between runs", self.url
            )
        return True

    def _rejected(self, error: ServerError) -> BadRecord:
        """The failure of one request. Raises MegastyleError if every request would fail alike."""
        if error.is_about_quota:
            raise self._ended(
                f"{self.url} has no quota left for this key: {error}",
                "finished records are kept: check plan and billing, then continue with --resume",
            )
        if error.is_about_key:
            raise self._ended(
                f"{self.url} refuses the key: {error}", f"set {KEY_VARIABLE} in the environment"
            )
        if error.is_about_model:
            raise self._ended(f"{self.url} has no model {self.name!r}: {error}", "check --model")
        if error.refused_field:
            raise self._ended(
                f"{self.url} refuses the parameter {error.refused_field!r}: {error}",
                "give another --model or server",
            )
        with self._lock:
            self._refused += 1
            is_hopeless = not self._has_answered and self._refused >= self._many
        if is_hopeless:
            raise self._ended(
                f"{self.url} refused all of the first {self._refused} requests: {error}",
                "check that --model accepts images",
            )
        return BadRecord("model_error", self._hide(f"{self.url} rejected the request: {error}"))

    @property
    def _many(self) -> int:
        return max(MIN_FAILED, self.num_threads)

    def _count_unanswered(self, has_response: bool, reason: str) -> None:
        with self._lock:
            self._unanswered = 0 if has_response else self._unanswered + 1
            is_gone = self._unanswered >= self._many
        if is_gone:
            raise self._ended(
                f"{self.url} stopped responding: {self._unanswered} consecutive requests failed"
                f" ({reason})",
                "finished records are kept: continue with --resume when the server is back",
                UNEXPECTED,
            )

    def _find_model(self, model: str | None) -> str:
        """The model to use: `model`, or the only one that the server has."""
        try:
            response = self._http.exchange("GET", "/models")
        except (TimeoutError, HTTPException) as error:
            raise self._ended(
                f"{self.url} does not list its models (GET /models: {describe(error)})",
                "check --base-url, and give a longer --timeout to a slow server",
            ) from error
        except OSError as error:
            raise self._ended(
                f"{self.url} cannot be reached: {describe(error)}",
                "start the server, or give its address by --base-url",
            ) from error
        names, problem = self._listed(response)
        if model is not None:
            return model  # servers with wildcards have models that they do not list
        if names is not None and len(names) == 1:
            return names[0]
        if names is None:
            found = f"does not list its models ({problem})"
        else:
            more = len(names) - SHOWN_MODELS
            shown = ", ".join(name[:80] for name in names[:SHOWN_MODELS])
            found = f"has {len(names)} models{': ' * bool(names)}{shown}"
            found += f" and {more} more" if more > 0 else ""
        raise self._ended(f"{self.url} {found}", "give one with --model")

    def _listed(self, response: Response) -> tuple[list[str] | None, str]:
        """The names of the server's models, or None and why there are none."""
        if response.status != 200:
            error = parse_error(response.status, response.body)
            if error.is_about_key:
                self._rejected(error)
            return None, f"GET /models: {error}"
        names = parse_models(response.body, "id")
        if names and TEMPLATE_SERVERS.issuperset(parse_models(response.body, "owned_by") or [""]):
            self._dialect = Dialect(options={"chat_template_kwargs": {"enable_thinking": False}})
        return names, "GET /models: no list in the response"

    def _ended(self, message: str, hint: str, exit_code: int | None = None) -> MegastyleError:
        """The error that ends the run, which later requests raise without being sent."""
        code = {} if exit_code is None else {"exit_code": exit_code}
        self._end = MegastyleError(self._hide(message), hint, **code)
        return self._end

    def _hide(self, text: str) -> str:
        return hide(text, self._secrets)

    def _without_secrets(self, answer: str | UnusableAnswer) -> str | UnusableAnswer:
        if isinstance(answer, str):
            return hide(answer, [secret for secret in self._secrets if len(secret) >= RAREST_KEY])
        return answer._replace(message=self._hide(answer.message))


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
    except (ValueError, OverflowError):
        return 0.0


def _key_of_environment() -> str:
    """The key without surrounding blanks. Raises MegastyleError if no header could carry it."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise MegastyleError(
            f"{KEY_VARIABLE} contains a line break or an invalid character",
            hint="set it to the key alone",
        )
    return key
