"""A captioner made of a generative model: what is asked of a picture for which schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from megastyle_cli.caption import prompts as instructions
from megastyle_cli.caption.retry import Asker, asked
from megastyle_cli.caption.validate import (
    attribute_value,
    content_phrase,
    style_attributes,
    style_sentence_of,
)
from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.protocols import Description

if TYPE_CHECKING:
    from PIL.Image import Image

PHRASE_TOKENS, SENTENCE_TOKENS, OBJECT_TOKENS = 48, 96, 320


class _Style(NamedTuple):
    """How a whole style is asked for in one request."""

    instruction: str
    request: str
    accept: Callable[..., str | StyleAttributes]
    max_tokens: int


STYLES: dict[StyleSchema, _Style] = {
    "v1": _Style(
        instructions.STYLE_SENTENCE,
        instructions.STYLE_SENTENCE_REQUEST,
        style_sentence_of,
        SENTENCE_TOKENS,
    ),
    "v2": _Style(
        instructions.STYLE_ATTRIBUTES,
        instructions.STYLE_ATTRIBUTES_REQUEST,
        style_attributes,
        OBJECT_TOKENS,
    ),
}


class Interviewer:
    """A captioner that asks for content and style apart, and for the style as `schema` has it.

    `per_attribute` asks for each attribute of v2 alone: slower, and what MegaStyle++ did.
    """

    def __init__(self, asker: Asker, schema: StyleSchema, *, per_attribute: bool = False) -> None:
        self.asker, self.name = asker, asker.model.name
        self.schema, self.per_attribute = schema, per_attribute

    def describe(
        self, pictures: Sequence[Image], kind: CaptionKind
    ) -> list[Description | BadRecord]:
        """One Description a picture, in order; BadRecord where no answer could be used.

        The content is asked first, since the style must name nothing of it.
        """
        found: list[Description | BadRecord] = [Description() for _ in pictures]
        if kind != "style":
            found = self._contents(pictures)
        if kind == "content":
            return found
        left = [
            (picture, seen)
            for picture, seen in zip(pictures, found, strict=True)
            if not isinstance(seen, BadRecord)
        ]
        by_attribute = self.schema == "v2" and self.per_attribute
        styled = iter(self._attributes(left) if by_attribute else self._styles(left))
        return [seen if isinstance(seen, BadRecord) else next(styled) for seen in found]

    def _contents(self, pictures: Sequence[Image]) -> list[Description | BadRecord]:
        told = (instructions.CONTENT, instructions.CONTENT_REQUEST, content_phrase, PHRASE_TOKENS)
        return [
            reply.told
            if isinstance(reply.told, BadRecord)
            else Description(content=reply.told, notes=_notes(reply.attempts))
            for reply in self.asker.ask([asked(picture, *told) for picture in pictures])
        ]

    def _styles(self, rows: Sequence[tuple[Image, Description]]) -> list[Description | BadRecord]:
        how = STYLES[self.schema]
        asks = [
            asked(
                picture,
                how.instruction,
                how.request,
                partial(how.accept, content=seen.content or ""),
                how.max_tokens,
            )
            for picture, seen in rows
        ]
        return [
            _with_style(seen, reply.told, reply.attempts)
            for (_, seen), reply in zip(rows, self.asker.ask(asks), strict=True)
        ]

    def _attributes(
        self, rows: Sequence[tuple[Image, Description]]
    ) -> list[Description | BadRecord]:
        asks = [
            asked(
                picture,
                instructions.ONE_ATTRIBUTE,
                instructions.ONE_ATTRIBUTE_REQUEST.format(name=name, told=told),
                partial(attribute_value, name, content=seen.content or ""),
                PHRASE_TOKENS,
            )
            for picture, seen in rows
            for name, told in instructions.ATTRIBUTES.items()
        ]
        replies = iter(self.asker.ask(asks))
        found = []
        for _, seen in rows:
            ours = {name: next(replies) for name in instructions.ATTRIBUTES}
            values = {name: reply.told for name, reply in ours.items()}
            bad = [value for value in values.values() if isinstance(value, BadRecord)]
            told = bad[0] if bad else StyleAttributes(**values)  # type: ignore[arg-type]
            found.append(_with_style(seen, told, max(reply.attempts for reply in ours.values())))
        return found


def _with_style(
    seen: Description, told: str | StyleAttributes | BadRecord, attempts: int
) -> Description | BadRecord:
    if isinstance(told, BadRecord):
        return told
    notes = _notes(max(attempts, seen.notes.get("attempts", 1)))
    if isinstance(told, str):
        return Description(content=seen.content, sentence=told, notes=notes)
    return Description(content=seen.content, style=told, notes=notes)


def _notes(attempts: int) -> dict[str, object]:
    return {"instructions": instructions.VERSION, "attempts": attempts}
