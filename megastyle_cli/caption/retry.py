"""Asks a generative model until its answers can be used, or a number of attempts is spent."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from megastyle_cli.caption.prompts import AGAIN
from megastyle_cli.caption.validate import Fault, Refused
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import VisionLanguageModel, VisionPrompt

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ask(Generic[T]):
    """A prompt, and `accept`, which makes of an answer what is wanted or raises Refused."""

    prompt: VisionPrompt
    accept: Callable[[str], T]


@dataclass(frozen=True, kw_only=True)
class Reply(Generic[T]):
    """What an answer told, or why none could be used; how often the model was asked for it."""

    told: T | BadRecord
    attempts: int


class Asker:
    """Asks `model` each question at most `attempts` times, from the second on with the reason.

    `refused` counts the answers that were not used, by kind of fault. Usable from many threads.
    """

    def __init__(self, model: VisionLanguageModel, attempts: int) -> None:
        self.model, self.attempts = model, attempts
        self.refused: Counter[str] = Counter()
        self._counting = threading.Lock()

    def ask(self, asks: Sequence[Ask[T]]) -> list[Reply[T]]:
        """A reply to each of `asks`, in order; BadRecord("bad_answer", ...) where none will do."""
        replies: list[Reply[T] | None] = [None] * len(asks)
        faults: list[tuple[Fault, ...]] = [()] * len(asks)
        for attempt in range(1, self.attempts + 1):
            waiting = [row for row, reply in enumerate(replies) if reply is None]
            if not waiting:
                break
            prompts = [_with_reason(asks[row].prompt, faults[row]) for row in waiting]
            for row, answer in zip(waiting, self.model.generate(prompts), strict=True):
                try:
                    told = answer if isinstance(answer, BadRecord) else asks[row].accept(answer)
                    replies[row] = Reply(told=told, attempts=attempt)
                except Refused as refused:
                    faults[row] = refused.faults
                    self._count(refused.faults)
        return [
            reply or Reply(told=_given_up(why, self.attempts), attempts=self.attempts)
            for reply, why in zip(replies, faults, strict=True)
        ]

    def remarks(self) -> list[str]:
        """The counts as a line for people; none if every answer was used."""
        by_count = sorted(self.refused.items(), key=lambda kept: (-kept[1], kept[0]))
        told = ", ".join(f"{count:,} {kind}" for kind, count in by_count)
        return [f"answers not used: {told}"] if told else []

    def _count(self, faults: Sequence[Fault]) -> None:
        with self._counting:
            self.refused.update({fault.kind for fault in faults})


def asked(
    picture: Image,
    instruction: str,
    request: str,
    accept: Callable[[str], T],
    max_tokens: int,
) -> Ask[T]:
    """The Ask for `picture` of these words."""
    prompt = VisionPrompt(
        image=picture, instruction=instruction, question=request, max_tokens=max_tokens
    )
    return Ask(prompt=prompt, accept=accept)


def _with_reason(prompt: VisionPrompt, faults: Sequence[Fault]) -> VisionPrompt:
    """`prompt`, which says what was wrong with the answer before, if there was one."""
    if not faults:
        return prompt
    again = AGAIN.format(faults=_listed(faults))
    return replace(prompt, question=f"{prompt.question}\n{again}")


def _given_up(faults: Sequence[Fault], attempts: int) -> BadRecord:
    times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return BadRecord("bad_answer", f"no usable answer in {times}; the last: {_listed(faults)}")


def _listed(faults: Sequence[Fault]) -> str:
    return "; ".join(fault.sentence for fault in faults)
