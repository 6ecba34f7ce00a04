"""Per-record scores: style against references, image against prompt, content similarity."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import PROVENANCE, Failure, Record, batched
from megastyle_cli.evaluate.features import (
    FeatureCache,
    FeatureExtractors,
    Features,
    Opened,
    extract_features,
    extract_share,
    read_images,
    select_roles,
)
from megastyle_cli.evaluate.references import ReferenceMatch, References
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.read_ahead import read_ahead
from megastyle_cli.models.protocols import Ranks, StyleEncoder, TextImageModel
from megastyle_cli.retrieval.embed import Array, finite_or_bad, rounded

log = logging.getLogger(__name__)
FEATURE_CACHE_SIZE = 4096
STYLE, TEXT, CONTENT = "style", "text", "content"  # roles of models, and of their vectors
SCORES = ("style_score", "text_score")


@dataclass(frozen=True, kw_only=True)
class ScoringModels:
    """The models that score, and the readers that open images for them.

    `text` compares images with prompts (the text under `text_key`). `content` describes what an
    image shows and may be the same model. Either may be None. `reader` opens images for `style`
    and `content`, `full_size_reader` for `text`. With `ranks` all processes of a launcher encode.
    """

    style: StyleEncoder
    reader: ImageReader
    full_size_reader: ImageReader
    text: TextImageModel | None = None
    content: StyleEncoder | None = None
    text_key: str = "content"
    ranks: Ranks | None = None

    @property
    def content_role(self) -> str | None:
        """The role whose vectors describe content; None without a content model."""
        if self.content is None:
            return None
        return TEXT if self.content is self.text else CONTENT

    @property
    def extractors(self) -> FeatureExtractors:
        """All encoders; an image is opened once if all of them take it at full size."""
        encoders: dict[str, StyleEncoder] = {STYLE: self.style}
        if self.content is not None and self.content is not self.text:
            encoders[CONTENT] = self.content
        full_size: dict[str, StyleEncoder] = {TEXT: self.text} if self.text is not None else {}
        if self.reader is self.full_size_reader:
            parts = [(self.reader, encoders | full_size)]
        elif not full_size:
            parts = [(self.reader, encoders)]
        else:
            parts = [(self.reader, encoders), (self.full_size_reader, full_size)]
        return FeatureExtractors(parts, self.ranks)

    def extract_share(
        self, names: Sequence[str], roles: Sequence[str]
    ) -> list[Features | BadRecord]:
        """The features of the images of one process, by the encoders of these roles, in order."""
        return extract_share(names, roles, self.extractors)

    @property
    def reference_extractors(self) -> FeatureExtractors:
        """The encoders that references need too."""
        roles = [STYLE, self.content_role] if self.content_role else [STYLE]
        return select_roles(self.extractors, roles)

    @property
    def provenance(self) -> Record:
        """The names of the models, as scored records note them."""
        models = {"model": self.style, "text_model": self.text, "content_model": self.content}
        return {key: model.name for key, model in models.items() if model is not None}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A record with its scores, the key of its references, and the vectors (d,) of its image and
    prompt."""

    record: Record
    key: str | None
    features: Features
    prompt: Array | None = None


def score_records(
    records: Iterable[Record], *, models: ScoringModels, references: References
) -> Iterator[Scored | Failure]:
    """Each record with the scores that its keys allow, rounded to 4 digits, in order.

    `style_score`: the mean cosine with its references; with references shared by all records also
    `prototype_score`, the cosine with their mean, and `references`, their number. `text_score`: the
    cosine of image and prompt. `prompt_loss` (ours): the text score of the content image less that
    of the image: how much of the prompt the style transfer lost. `content_similarity` (ours): the
    mean cosine of its content and that of its references. Scores a record already has from the
    same models are kept. Images that cannot be read are Failures, except content images: they only
    leave out `prompt_loss`.
    """
    content_cache = FeatureCache(select_roles(models.extractors, [TEXT]), FEATURE_CACHE_SIZE)
    is_ahead = models.extractors.is_ahead and models.ranks is None
    batches = batched(records, models.extractors.batch_size)
    read = partial(_read_images, extractors=models.extractors)
    for batch, opened in read_ahead(batches, read, is_ahead=is_ahead):
        images = _image_features(batch, models.extractors, opened)
        prompts = _prompt_vectors(batch, models)
        content_images = _content_image_features(batch, prompts, content_cache)
        for record, features, found, prompt, content_image in zip(
            batch, images, references.match(batch), prompts, content_images, strict=True
        ):
            match = _usable_match(record, found, models, references)
            if isinstance(features, BadRecord):
                yield Failure.of(record, features)
            elif isinstance(match, BadRecord):
                yield Failure.of(record, match)
            elif isinstance(prompt, BadRecord):
                yield Failure.of(record, prompt)
            else:
                scores = _style_scores(record, features, match, models, references)
                scores |= _text_scores(record, features, prompt, content_image, models)
                scores |= _content_scores(features, match, models)
                key = match.key if match else None
                yield Scored(record={**record, **scores}, key=key, features=features, prompt=prompt)


def only_scored(
    results: Iterable[Scored | Failure], models: ScoringModels
) -> Iterator[Record | Failure]:
    """The records of `results`; a record without any score becomes a Failure that says what it
    lacks."""
    for result in results:
        if isinstance(result, Failure):
            yield result
        elif any(name in result.record for name in SCORES):
            yield result.record
        else:
            message = f"record {result.record['id']} has no style_file_name"
            if models.text is not None:
                message += f" and no text under {models.text_key!r}"
            yield Failure(result.record, "missing_key", message)


def _read_images(records: Sequence[Record], extractors: FeatureExtractors) -> Opened | None:
    """The images of the records; None if other processes read them, too."""
    return None if extractors.ranks else read_images(_names(records), extractors)


def _names(records: Sequence[Record]) -> list[str]:
    """The file names of the records that have one."""
    names = (record.get("file_name") for record in records)
    return [name for name in names if isinstance(name, str)]


def _image_features(
    records: Sequence[Record], extractors: FeatureExtractors, opened: Opened | None
) -> list[Features | BadRecord]:
    names = [record.get("file_name") for record in records]
    features = iter(extract_features(_names(records), extractors, opened))
    return [
        next(features)
        if isinstance(name, str)
        else BadRecord("missing_key", f"record {record['id']} has no file_name", "file_name")
        for name, record in zip(names, records, strict=True)
    ]


def _prompt_vectors(
    records: Sequence[Record], models: ScoringModels
) -> list[Array | BadRecord | None]:
    """The vector (d,) of each record's prompt; None without a prompt or without a text model."""
    texts = [record.get(models.text_key) for record in records]
    distinct = list(dict.fromkeys(text for text in texts if isinstance(text, str)))
    if models.text is None or not distinct:
        return [None] * len(records)
    rows, name = models.text.embed_texts(distinct), models.text.name
    vectors = {
        text: finite_or_bad(row, repr(text), name) for text, row in zip(distinct, rows, strict=True)
    }
    return [vectors[text] if isinstance(text, str) else None for text in texts]


def _content_image_features(
    records: Sequence[Record], prompts: Sequence[object], cache: FeatureCache
) -> list[Features | None]:
    """The features of each record's content image; None without one or without a prompt."""
    names = [
        record.get("content_file_name") if prompt is not None else None
        for record, prompt in zip(records, prompts, strict=True)
    ]
    named = [name for name in names if isinstance(name, str)]
    cached = dict(zip(named, cache.get(named), strict=True))
    for features in cached.values():
        if isinstance(features, BadRecord):
            log.warning("no prompt loss: %s", features.message)
    found = [cached[name] if isinstance(name, str) else None for name in names]
    return [None if isinstance(features, BadRecord) else features for features in found]


def _usable_match(
    record: Record,
    found: ReferenceMatch | BadRecord | None,
    models: ScoringModels,
    references: References,
) -> ReferenceMatch | BadRecord | None:
    """The references to compare a record with; None if it keeps a score made with others."""
    if not _has_score(record, "style_score", _style_provenance(models, references)):
        return found
    is_other = _eval_provenance(record).get("reference_set") != references.provenance.get(
        "reference_set"
    )
    return None if is_other or isinstance(found, BadRecord) else found


def _style_scores(
    record: Record,
    features: Features,
    match: ReferenceMatch | None,
    models: ScoringModels,
    references: References,
) -> Record:
    if match is None or _has_score(record, "style_score", _style_provenance(models, references)):
        return {}
    mean, prototype = match.cosines(STYLE, features[STYLE])
    scores: Record = {"style_score": rounded(mean)}
    if references.provenance:
        scores |= {"prototype_score": rounded(prototype), "references": match.count}
    return scores


def _text_scores(
    record: Record,
    features: Features,
    prompt: Array | None,
    content_image: Features | None,
    models: ScoringModels,
) -> Record:
    text_model = {"text_model": models.provenance.get("text_model")}
    if prompt is None or _has_score(record, "text_score", text_model):
        return {}
    score = _cosine(features[TEXT], prompt)
    scores: Record = {"text_score": rounded(score)}
    if content_image is not None:
        scores["prompt_loss"] = round(_cosine(content_image[TEXT], prompt) - score, 4) + 0.0
    return scores


def _content_scores(
    features: Features, match: ReferenceMatch | None, models: ScoringModels
) -> Record:
    if match is None or models.content_role is None:
        return {}
    similarity, _ = match.cosines(models.content_role, features[models.content_role])
    return {"content_similarity": rounded(similarity)}


def _style_provenance(models: ScoringModels, references: References) -> Record:
    return {"model": models.provenance["model"], **references.provenance}


def _has_score(record: Record, score: str, wanted: Record) -> bool:
    """Whether the record already has this score, from the wanted models and references."""
    provenance = _eval_provenance(record)
    is_same = all(provenance.get(name) == value for name, value in wanted.items())
    return is_same and isinstance(record.get(score), int | float)


def _eval_provenance(record: Record) -> Record:
    provenance = record.get(PROVENANCE, {}).get("eval")
    return provenance if isinstance(provenance, dict) else {}


def _cosine(vector: Array, other: Array) -> float:
    return float((vector.astype(float) * other).sum())
