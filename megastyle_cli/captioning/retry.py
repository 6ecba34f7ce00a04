"""Asks a vision-language model until its answers are valid or the attempts are used up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from megastyle_cli.captioning.prompts import RETRY
from megastyle_cli.captioning.validate import InvalidAnswer, ValidationError
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import UnusableAnswer, VisionLanguageModel, VisionPrompt

T = TypeVar("T")

# After a truncated answer the token limit grows by this factor, up to a maximum.
MORE_TOKENS, MOST_TOKENS = 4, 16


@dataclass(frozen=True, kw_only=True)
class Request(Generic[T]):
    """A prompt, and the parser that turns an answer into a value or raises InvalidAnswer."""

    prompt: VisionPrompt
    parse: Callable[[str], T]


@dataclass(frozen=True, kw_only=True)
class ParsedAnswer(Generic[T]):
    """The value parsed from an answer, or why there is none, and the number of attempts made."""

    value: T | BadRecord
    attempts: int


class RetryingClient:
    """Sends `model` each prompt up to `attempts` times; a retry states what was wrong before.

    `invalid_answers` counts the rejected answers by kind of error. Thread-safe.
    """

    def __init__(self, model: VisionLanguageModel, attempts: int) -> None:
        self.model, self.attempts = model, attempts
        self.invalid_answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def ask(self, requests: Sequence[Request[T]]) -> list[ParsedAnswer[T]]:
        """The parsed answer to each request, in order.

        Its value is BadRecord("bad_answer", ...) if no answer was valid, and the model's own
        BadRecord, without a retry, if there was no answer.
        """
        results: list[ParsedAnswer[T] | None] = [None] * len(requests)
        errors: list[tuple[ValidationError, ...]] = [()] * len(requests)
        truncated = [0] * len(requests)
        for attempt in range(1, self.attempts + 1):
            pending = [row for row, result in enumerate(results) if result is None]
            if not pending:
                break
            prompts = [
                _with_errors(requests[row].prompt, errors[row], truncated[row]) for row in pending
            ]
            for row, answer in zip(pending, self.model.generate(prompts), strict=True):
                try:
                    value = _parsed(answer, requests[row])
                    results[row] = ParsedAnswer(value=value, attempts=attempt)
                except InvalidAnswer as invalid:
                    errors[row] = invalid.errors
                    truncated[row] += invalid.errors[0].kind == "truncated"
                    self._count(invalid.errors)
        return [
            result or ParsedAnswer(value=self._no_valid_answer(last), attempts=self.attempts)
            for result, last in zip(results, errors, strict=True)
        ]

    def remarks(self) -> list[str]:
        """The counts as one line for the summary of a run; empty if every answer was valid."""
        by_count = sorted(self.invalid_answers.items(), key=lambda item: (-item[1], item[0]))
        counts = ", ".join(f"{count:,} {kind}" for kind, count in by_count)
        return [f"invalid answers: {counts}"] if counts else []

    def _count(self, errors: Sequence[ValidationError]) -> None:
        with self._lock:
            self.invalid_answers.update({error.kind for error in errors})

    def _no_valid_answer(self, errors: Sequence[ValidationError]) -> BadRecord:
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return BadRecord("bad_answer", f"no valid answer in {times}; the last: {_joined(errors)}")


def _parsed(answer: str | UnusableAnswer | BadRecord, request: Request[T]) -> T | BadRecord:
    if isinstance(answer, UnusableAnswer):
        raise InvalidAnswer([ValidationError(answer.kind, answer.message)])
    return answer if isinstance(answer, BadRecord) else request.parse(answer)


def _with_errors(
    prompt: VisionPrompt, errors: Sequence[ValidationError], truncated: int
) -> VisionPrompt:
    """`prompt`, with what was wrong with the previous answer appended to its question.

    After `truncated` answers that were cut off, a longer answer is allowed.
    """
    if not errors:
        return prompt
    factor = min(MORE_TOKENS**truncated, MOST_TOKENS)
    question = f"{prompt.question}\n{RETRY.format(errors=_joined(errors))}"
    return replace(prompt, question=question, max_tokens=factor * prompt.max_tokens)


def _joined(errors: Sequence[ValidationError]) -> str:
    return "; ".join(error.message for error in errors)
