"""OpenAI's chat completions: the body of a request, the text of an answer, the kind of an error.

Servers differ in the fields they take, in how they wrap an answer, and in how they refuse.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, NamedTuple

from PIL.Image import Image

from megastyle_cli.models.protocols import UnusableAnswer, VisionPrompt

JPEG_QUALITY = 90
MAX_MESSAGE_CHARACTERS = 200
# Fields that some servers refuse, and the words of their errors.
REFUSABLE = ("max_tokens", "temperature", "chat_template_kwargs")
_REFUSED_FIELD = re.compile(
    r"unsupported|not support|not permitted|not allowed|unrecogni[sz]ed|unknown|unexpected"
    r"|invalid.{0,9} (?:parameter|field|argument)|deprecated|only the default"
    r"|extra (?:input|field)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"api[ _-]?key|(?:bad|invalid|wrong|incorrect) key|\bcredential|unauthori[sz]ed|authentication",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model.{0,80}(?:not found|does not exist|doesn't exist|unknown|not a valid|invalid)"
    r"|(?:invalid|unknown|no such|no) model",
    re.IGNORECASE,
)
_MODERATION = re.compile(r"moderat|flagged|content.?policy", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The optional fields of a request as the server takes them."""

    tokens: str = "max_tokens"
    has_temperature: bool = True
    options: Mapping[str, Any] | None = None

    def without(self, field: str) -> "Dialect | None":
        """The dialect for a server that refuses `field`; None if there is no alternative."""
        if field == self.tokens == "max_tokens":
            return replace(self, tokens="max_completion_tokens")
        if field == "temperature" and self.has_temperature:
            return replace(self, has_temperature=False)
        if field == "chat_template_kwargs" and self.options:
            return replace(self, options=None)
        return None

    def body(self, model: str, prompt: VisionPrompt, image_url: str) -> bytes:
        """The JSON of a request: the image between the instruction and the question."""
        parts = [
            {"type": "text", "text": prompt.instruction},
            {"type": "image_url", "image_url": {"url": image_url}},
            {"type": "text", "text": prompt.question},
        ]
        request: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": parts}]}
        request[self.tokens] = prompt.max_tokens
        if self.has_temperature:
            request["temperature"] = 0
        return json.dumps({**request, **(self.options or {})}).encode()


class ServerError(NamedTuple):
    """What an error response says: status, the code and parameter it names, message in one line."""

    status: int
    code: str
    parameter: str
    message: str

    def __str__(self) -> str:
        return f"status {self.status}: {self.message}" if self.message else f"status {self.status}"

    @property
    def is_about_key(self) -> bool:
        """Whether the key is refused, for which some servers use status 400."""
        if self.status == 403:
            return not _MODERATION.search(self.message)
        words = f"{self.code} {self.message}"
        return self.status == 401 or (self.status == 400 and bool(_KEY.search(words)))

    @property
    def is_about_quota(self) -> bool:
        """Whether the quota of the account is used up, in contrast to a rate limit."""
        return self.status == 402 or (self.status == 429 and self.code == "insufficient_quota")

    @property
    def is_about_model(self) -> bool:
        """Whether the server does not have the model."""
        if self.status in (400, 422):
            return "model_not_found" in self.code or bool(_MODEL.search(self.message))
        return self.status == 404

    @property
    def refused_field(self) -> str | None:
        """The field of a request that the server refuses, if the error is about one."""
        if self.status not in (400, 422):
            return None
        words = f"{self.code} {self.parameter} {self.message}"
        if not _REFUSED_FIELD.search(words):
            return None
        if self.parameter in (*REFUSABLE, "max_completion_tokens"):
            return self.parameter
        named = (field for field in REFUSABLE if re.search(rf"\b{field}\b", words))
        unsupported = self.parameter if self.code.startswith("unsupported_") else ""
        return next(named, unsupported) or None


def data_url(picture: Image) -> str:
    """A picture as JPEG in a data URL."""
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def parse_completion(body: bytes) -> str | UnusableAnswer:
    """The text of a chat completion. Raises ValueError if the body is not one."""
    found = parse_json(body)
    try:
        choice = found["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        finish = choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError) as wrong:
        raise ValueError(_not_a_completion(found, body)) from wrong
    text = _joined(content)
    if text is None:
        raise ValueError(f"the answer is not a text: {_start(body)}")
    if finish == "length":
        what = "the reasoning before it" if thoughts and not text.strip() else "it"
        return UnusableAnswer("truncated", f"{what} was cut off at the limit of tokens")
    if finish == "content_filter":
        return UnusableAnswer("refusal", "the server's content filter withheld it")
    if not text.strip() and isinstance(refusal, str) and refusal:
        return UnusableAnswer("refusal", f"the model refused: {_one_line(refusal)}")
    if not text.strip() and thoughts:
        return UnusableAnswer("empty", "the model only reasoned and gave no answer")
    return text


def parse_error(status: int, body: bytes) -> ServerError:
    """What the body of an error response says."""
    content = parse_json(body)
    error = content.get("error", content) if isinstance(content, dict) else content
    fields = error if isinstance(error, dict) else {}
    message = fields.get("message", error)
    if content is None:
        message = body[: 8 * MAX_MESSAGE_CHARACTERS].decode("utf-8", "replace")
    codes = {str(fields[key]) for key in ("code", "type") if fields.get(key)}
    code = "insufficient_quota" if "insufficient_quota" in codes else str(fields.get("code") or "")
    parameter = str(fields.get("param") or "")
    return ServerError(status, code, parameter, _one_line(str(message)) if body else "")


def parse_models(body: bytes, key: str) -> list[str] | None:
    """The value of `key` for each of the server's models; None if it does not list them."""
    try:
        return [_one_line(str(model[key])) for model in parse_json(body)["data"]]
    except (KeyError, TypeError):
        return None


def parse_json(body: bytes) -> Any:
    """The JSON value of a body; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _joined(content: object) -> str | None:
    """The text of a message: itself, or its typed parts; None if it is something else."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(str(part.get("text") or "") for part in parts)
    return "" if content is None else content if isinstance(content, str) else None


def _not_a_completion(found: object, body: bytes) -> str:
    if isinstance(found, dict) and "error" in found:
        return str(parse_error(200, body))
    is_json = found is not None or body.strip() == b"null"
    what = "is not a chat completion" if is_json else "is not JSON"
    return f"the response {what}: {_start(body)}"


def _start(body: bytes) -> str:
    return _one_line(body[:80].decode("utf-8", "replace")) or "it is empty"


def _one_line(text: str) -> str:
    """The beginning of a server's words, without line breaks and control characters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:2000])
    return " ".join(shown.split())[:MAX_MESSAGE_CHARACTERS]
