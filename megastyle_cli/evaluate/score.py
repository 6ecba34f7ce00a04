"""Score records one by one: style against references, picture against prompt, content leaked."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import PROVENANCE, Failure, Record
from megastyle_cli.evaluate.features import Looks, Remembered, Sights, look, only
from megastyle_cli.evaluate.references import Matched, References
from megastyle_cli.io.record_images import ReadPictures
from megastyle_cli.models.protocols import StyleEncoder, TextImageModel
from megastyle_cli.retrieve.nearest import BATCH, Array, batched, finite, rounded

log = logging.getLogger(__name__)
MOST_REMEMBERED = 4096
STYLE, TEXT, CONTENT = "style", "text", "content"  # roles of models, and of their vectors
SCORES = ("style_score", "text_score")


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models that score, and what opens pictures for them.

    `text` compares pictures and prompts (under `text_key`); `content` tells what a picture shows,
    and may be the same. Either may be None. `read` opens pictures for `style` and `content`,
    `read_whole` at their full size for `text`.
    """

    style: StyleEncoder
    read: ReadPictures
    read_whole: ReadPictures
    text: TextImageModel | None = None
    content: StyleEncoder | None = None
    text_key: str = "content"

    @property
    def content_role(self) -> str | None:
        """Which vectors tell what a picture shows."""
        if self.content is None:
            return None
        return TEXT if self.content is self.text else CONTENT

    @property
    def sights(self) -> Sights:
        """All eyes; a picture is opened once if all want it whole."""
        near: dict[str, StyleEncoder] = {STYLE: self.style}
        if self.content is not None and self.content is not self.text:
            near[CONTENT] = self.content
        whole: dict[str, StyleEncoder] = {TEXT: self.text} if self.text is not None else {}
        if self.read is self.read_whole:
            return [(self.read, near | whole)]
        return [(self.read, near), (self.read_whole, whole)] if whole else [(self.read, near)]

    @property
    def reference_sights(self) -> Sights:
        """The eyes that look at references too."""
        return only(self.sights, [STYLE, *([self.content_role] if self.content_role else [])])

    @property
    def facts(self) -> Record:
        """The names of the models, as records note them."""
        named = {"model": self.style, "text_model": self.text, "content_model": self.content}
        return {role: model.name for role, model in named.items() if model is not None}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A record with its scores, the key of its references, and all vectors (d,) of it."""

    record: Record
    key: str | None
    looks: Looks
    prompt: Array | None = None


def score_records(
    records: Iterable[Record], *, models: Models, references: References
) -> Iterator[Scored | Failure]:
    """Each record with the scores that its keys allow, 4 digits, in order.

    `style_score`: the mean cosine with its references; with references given for all also
    `prototype_score`, the cosine with their mean, and `references`, their number. `text_score`: the
    cosine of picture and prompt. `prompt_loss` (ours): the text score of the content picture less
    the picture's, so what the style cost the prompt. `content_similarity` (ours): the mean cosine
    of its content and its references'. Scores a record carries from the same models are kept.
    Pictures that cannot be read are Failures; for a content picture `prompt_loss` is left out.
    """
    contents = Remembered(only(models.sights, [TEXT]), MOST_REMEMBERED)
    for batch in batched(records, BATCH):
        seen = _pictures(batch, models.sights)
        prompts = _prompts(batch, models)
        before = _content_pictures(batch, prompts, contents)
        for record, looks, found, prompt, content in zip(
            batch, seen, references.of(batch), prompts, before, strict=True
        ):
            has = _at_hand(record, found, models, references)
            if isinstance(looks, BadRecord):
                yield Failure(record, looks.kind, looks.message)
            elif isinstance(has, BadRecord):
                yield Failure(record, has.kind, has.message)
            elif isinstance(prompt, BadRecord):
                yield Failure(record, prompt.kind, prompt.message)
            else:
                told = _style(record, looks, has, models, references)
                told |= _text(record, looks, prompt, content, models)
                told |= _content(looks, has, models)
                key = has.key if has else None
                yield Scored(record={**record, **told}, key=key, looks=looks, prompt=prompt)


def only_scored(results: Iterable[Scored | Failure], models: Models) -> Iterator[Record | Failure]:
    """The records of `results`; one that got no score is a Failure and says what it lacks."""
    for result in results:
        if isinstance(result, Failure):
            yield result
        elif any(name in result.record for name in SCORES):
            yield result.record
        else:
            words = f"record {result.record['id']} has no style_file_name"
            if models.text is not None:
                words += f" and no text under {models.text_key!r}"
            yield Failure(result.record, "missing_key", words)


def _pictures(records: Sequence[Record], sights: Sights) -> list[Looks | BadRecord]:
    """What is seen of each record's picture."""
    names = [record.get("file_name") for record in records]
    seen = iter(look([name for name in names if isinstance(name, str)], sights))
    return [
        next(seen)
        if isinstance(name, str)
        else BadRecord("missing_key", f"record {record['id']} has no file_name")
        for name, record in zip(names, records, strict=True)
    ]


def _prompts(records: Sequence[Record], models: Models) -> list[Array | BadRecord | None]:
    """The vector (d,) of each record's prompt; None without one, or without a model for it."""
    texts = [record.get(models.text_key) for record in records]
    told = list(dict.fromkeys(text for text in texts if isinstance(text, str)))
    if models.text is None or not told:
        return [None] * len(records)
    rows, name = models.text.embed_texts(told), models.text.name
    vectors = {text: finite(row, repr(text), name) for text, row in zip(told, rows, strict=True)}
    return [vectors[text] if isinstance(text, str) else None for text in texts]


def _content_pictures(
    records: Sequence[Record], prompts: Sequence[object], remembered: Remembered
) -> list[Looks | None]:
    """What is seen of each record's content picture, where there is a prompt to compare with."""
    names = [
        record.get("content_file_name") if prompt is not None else None
        for record, prompt in zip(records, prompts, strict=True)
    ]
    told = [name for name in names if isinstance(name, str)]
    looks = dict(zip(told, remembered.of(told), strict=True))
    for seen in looks.values():
        if isinstance(seen, BadRecord):
            log.warning("no prompt loss: %s", seen.message)
    found = [looks[name] if isinstance(name, str) else None for name in names]
    return [None if isinstance(seen, BadRecord) else seen for seen in found]


def _at_hand(
    record: Record, found: Matched | BadRecord | None, models: Models, references: References
) -> Matched | BadRecord | None:
    """The references a record is compared with; none if its score was made with others."""
    if not _carries(record, "style_score", {"model": models.facts["model"], **references.facts}):
        return found
    is_other = _note(record).get("reference_set") != references.facts.get("reference_set")
    return None if is_other or isinstance(found, BadRecord) else found


def _style(
    record: Record, looks: Looks, has: Matched | None, models: Models, references: References
) -> Record:
    wanted = {"model": models.facts["model"], **references.facts}
    if has is None or _carries(record, "style_score", wanted):
        return {}
    mean, prototype = has.cosines(STYLE, looks[STYLE])
    told: Record = {"style_score": rounded(mean)}
    if references.facts:
        told |= {"prototype_score": rounded(prototype), "references": has.count}
    return told


def _text(
    record: Record, looks: Looks, prompt: Array | None, content: Looks | None, models: Models
) -> Record:
    if prompt is None or _carries(record, "text_score", {"text_model": models.facts["text_model"]}):
        return {}
    score = _cosine(looks[TEXT], prompt)
    told: Record = {"text_score": rounded(score)}
    if content is not None:
        told["prompt_loss"] = round(_cosine(content[TEXT], prompt) - score, 4) + 0.0
    return told


def _content(looks: Looks, has: Matched | None, models: Models) -> Record:
    if has is None or models.content_role is None:
        return {}
    similar, _ = has.cosines(models.content_role, looks[models.content_role])
    return {"content_similarity": rounded(similar)}


def _carries(record: Record, score: str, wanted: Record) -> bool:
    """Whether the record was given this score before, by the same models and references."""
    note = _note(record)
    is_same = all(note.get(name) == value for name, value in wanted.items())
    return is_same and isinstance(record.get(score), int | float)


def _note(record: Record) -> Record:
    note = record.get(PROVENANCE, {}).get("eval")
    return note if isinstance(note, dict) else {}


def _cosine(vector: Array, other: Array) -> float:
    return float((vector.astype(float) * other).sum())
