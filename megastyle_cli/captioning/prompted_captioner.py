"""A captioner that prompts a vision-language model and validates its answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from megastyle_cli.captioning import prompts
from megastyle_cli.captioning.retry import ParsedAnswer, Request, RetryingClient
from megastyle_cli.captioning.validate import (
    parse_attribute,
    parse_attributes,
    parse_content,
    parse_style_sentence,
)
from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.style import ATTRIBUTES, StyleAttributes
from megastyle_cli.models.protocols import Description

if TYPE_CHECKING:
    from PIL.Image import Image


class PromptedCaptioner:
    """Asks for content and style separately; the style as one sentence (v1) or as attributes (v2).

    With `per_attribute`, each attribute of v2 is asked for on its own: slower, as in MegaStyle++.
    """

    def __init__(
        self, client: RetryingClient, schema: StyleSchema, *, per_attribute: bool = False
    ) -> None:
        self.client, self.name = client, client.model.name
        self.schema, self.per_attribute = schema, per_attribute

    def describe(
        self, pictures: Sequence[Image], kind: CaptionKind
    ) -> list[Description | BadRecord]:
        """One Description per image, in order; BadRecord where there was no valid answer.

        The content is asked for first, because the style must not mention any of it.
        """
        found: list[Description | BadRecord] = [Description() for _ in pictures]
        if kind != "style":
            found = self._contents(pictures)
        if kind == "content":
            return found
        described = [
            (image, content)
            for image, content in zip(pictures, found, strict=True)
            if not isinstance(content, BadRecord)
        ]
        if self.schema == "v2" and self.per_attribute:
            styled = iter(self._styles_by_attribute(described))
        else:
            styled = iter(self._styles(described))
        return [item if isinstance(item, BadRecord) else next(styled) for item in found]

    def _contents(self, images: Sequence[Image]) -> list[Description | BadRecord]:
        requests = [
            Request(prompt=prompts.CONTENT.about(image), parse=parse_content) for image in images
        ]
        return [
            answer.value
            if isinstance(answer.value, BadRecord)
            else Description(content=answer.value, notes=_notes(answer.attempts))
            for answer in self.client.ask(requests)
        ]

    def _styles(
        self, described: Sequence[tuple[Image, Description]]
    ) -> list[Description | BadRecord]:
        is_sentence = self.schema == "v1"
        template = prompts.STYLE_SENTENCE if is_sentence else prompts.STYLE_ATTRIBUTES
        parse = parse_style_sentence if is_sentence else parse_attributes
        requests: list[Request[str | StyleAttributes]] = [
            Request(
                prompt=template.about(image),
                parse=partial(parse, content=description.content or ""),
            )
            for image, description in described
        ]
        return [
            _with_style(description, answer)
            for (_, description), answer in zip(described, self.client.ask(requests), strict=True)
        ]

    def _styles_by_attribute(
        self, described: Sequence[tuple[Image, Description]]
    ) -> list[Description | BadRecord]:
        requests = [
            Request(
                prompt=prompts.ONE_ATTRIBUTE.about(image, name=name, description=each.description),
                parse=partial(parse_attribute, name, content=description.content or ""),
            )
            for image, description in described
            for name, each in ATTRIBUTES.items()
        ]
        answers = iter(self.client.ask(requests))
        return [
            _with_style(description, _combined({name: next(answers) for name in ATTRIBUTES}))
            for _, description in described
        ]


def _combined(by_name: dict[str, ParsedAnswer[str | None]]) -> ParsedAnswer[str | StyleAttributes]:
    """The answers for one image's attributes as one; the first failed one decides."""
    values: dict[str, str | None] = {}
    attempts = max(answer.attempts for answer in by_name.values())
    for name, answer in by_name.items():
        if isinstance(answer.value, BadRecord):
            return ParsedAnswer(value=answer.value, attempts=attempts)
        values[name] = answer.value
    return ParsedAnswer(value=StyleAttributes(**values), attempts=attempts)


def _with_style(
    description: Description, answer: ParsedAnswer[str | StyleAttributes]
) -> Description | BadRecord:
    style = answer.value
    if isinstance(style, BadRecord):
        return style
    notes = _notes(max(answer.attempts, description.notes.get("attempts", 1)))
    if isinstance(style, str):
        return Description(content=description.content, sentence=style, notes=notes)
    return Description(content=description.content, style=style, notes=notes)


def _notes(attempts: int) -> dict[str, object]:
    return {"instructions": prompts.VERSION, "attempts": attempts}
