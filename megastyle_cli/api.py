"""The Python API: `import megastyle_cli as ms`. The stages of the commands, without files.

Images are paths, `PIL.Image` objects, or records that name one under `file_name`; a path may also
be a folder, JSON lines, a table, parquet or a tar, as for the commands. Wherever several are
accepted, a single one may be given. A record that fails keeps its place and has the reason under
`_error`; a call that cannot work raises MegastyleError. Nothing is printed: warnings go to the
logger `megastyle_cli`. Importing this module loads no model and no heavy library.

    import megastyle_cli as ms

    for record in ms.caption("photos"):
        print(record["file_name"], record["style"])
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import (
    ERROR,
    PICTURE_KEYS,
    Failure,
    Record,
    batched,
    bytes_id,
    with_error,
)

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from PIL.Image import Image

    from megastyle_cli.dedup.options import DedupPreset, KeepPolicy
    from megastyle_cli.io.images import ImageReader

    Picture = str | PathLike[str] | Image
    Input = Picture | Record
    Inputs = Input | Iterable[Input]

__all__ = [
    "Deduplicated",
    "MegastyleError",
    "Record",
    "caption",
    "deduplicate",
    "embed",
    "read_records",
    "retrieve",
    "score",
    "transfer",
    "write_records",
]

BATCH = 32
DECODED_PX = 384  # as the commands show pictures to the builtin models
STYLE_PX = 512
_MEMORY = "memory:"  # before the id of a picture that is not a file
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
logging.getLogger("megastyle_cli").addHandler(logging.NullHandler())  # without it Python prints


class Deduplicated(NamedTuple):
    """The records that are kept, and those that duplicate one of them."""

    kept: list[Record]
    dropped: list[Record]


def read_records(inputs: Inputs, *, limit: int | None = None) -> Iterator[Record]:
    """The records of `inputs`, each with an `id`, one after another: at most `limit`.

    Image names are relative to the working directory. A line that is not a record, or an image that
    cannot be read, becomes a record with `_error`. Raises MegastyleError if an input does not
    exist.

        records = list(ms.read_records(["captions.jsonl", "photos"]))
    """
    return islice(_results(_found(inputs, _Pictures()), "read"), limit)


def write_records(
    records: Iterable[Record], path: str | PathLike[str], *, overwrite: bool = False
) -> int:
    """Writes JSON lines, compressed as the suffix says; returns how many.

    Image names become relative to the folder of `path`. The file appears once it is complete.
    Raises MegastyleError if it exists, unless `overwrite`, or if its suffix means another format.

        ms.write_records(ms.caption("photos"), "captions.jsonl.gz")
    """
    from pathlib import Path

    from megastyle_cli.core.record import rename_pictures
    from megastyle_cli.io.output_paths import check_records_name
    from megastyle_cli.io.readers.jsonl import dump_line
    from megastyle_cli.io.record_names import to_folder
    from megastyle_cli.io.writers.stream import atomic_output

    final, count = Path(path), 0
    check_records_name(final)
    rename = to_folder(final.parent)
    output = atomic_output(final, overwrite=overwrite)
    output.open()
    try:
        for count, record in enumerate(records, start=1):  # noqa: B007  counts
            output.write(dump_line(rename_pictures(record, rename)))
        output.commit()
    finally:
        output.close()
    return count


def caption(
    inputs: Inputs,
    *,
    kind: CaptionKind = "both",
    schema: StyleSchema = "v2",
    model: str | None = None,
    base_url: str | None = None,
) -> Iterator[Record]:
    """Each image's record with `style`, its `style_*` attributes and `content`, in order.

    `kind` is both, style or content. `model` is a vision-language model on the Hub or in a folder,
    or one that the server at `base_url` has; without them the builtin captioner is used. An
    existing `content` is kept. Raises MegastyleError if the model cannot be loaded.

        record, = ms.caption("photos/owl.jpg")
        record["style"]
    """
    from megastyle_cli.captioning.caption import caption as stage
    from megastyle_cli.captioning.options import CaptionOptions, PromptingOptions, ShownSizeOptions
    from megastyle_cli.captioning.prompted_captioner import PromptedCaptioner
    from megastyle_cli.captioning.retry import RetryingClient
    from megastyle_cli.models.protocols import VisionLanguageModel
    from megastyle_cli.models.registry import captioner_backend, load
    from megastyle_cli.runner.concurrency import concurrent_chunks

    _check(CaptionOptions(kind=kind, schema=schema))
    backend = captioner_backend("builtin", model, base_url)
    captioner = load("captioner", backend, **_given(model=model, base_url=base_url))
    threads, size = 1, BATCH
    if isinstance(captioner, VisionLanguageModel):
        threads, size = captioner.num_threads, captioner.batch_size
        client = RetryingClient(captioner, PromptingOptions().attempts)
        captioner = PromptedCaptioner(client, schema)
    pictures = _Pictures()
    reader = pictures.reader(DECODED_PX if backend == "builtin" else ShownSizeOptions().max_side)
    run = _run("caption", kind=kind, schema=schema, model=model or backend)

    def step(batch: Sequence[Record]) -> Iterator[Record | Failure]:
        return stage(batch, captioner, reader, kind=kind, schema=schema, run=run)

    def process(batch: list[Record]) -> Iterator[Record | Failure]:
        return concurrent_chunks(step, batch, threads, size)

    return pictures.each(inputs, process, "caption", max(BATCH, threads * size))


def deduplicate(
    records: Inputs,
    *,
    on: str = "style",
    preset: DedupPreset | None = None,
    keep: KeepPolicy = "first",
    near_threshold: float | None = None,
    semantic: bool = True,
    semantic_threshold: float | None = None,
    model: str | None = None,
) -> Deduplicated:
    """The records without duplicates of their texts under `on`, and the duplicates.

    Exact, near (Jaccard similarity of n-grams) and, if `semantic`, close in meaning by a text
    `model` (builtin: static token vectors). Thresholds are in [0, 1]; None is the preset's. A
    dropped record says under `_megastyle.dedup` which one it duplicates, how, and how close. Raises
    MegastyleError if a record has no text under `on`.

        kept, dropped = ms.deduplicate("captions.jsonl")
    """
    from contextlib import ExitStack

    from megastyle_cli.cli.resolve_backend import open_embedder, resolve_embedder
    from megastyle_cli.compute.engine import load_engine
    from megastyle_cli.compute.string_array import StringArray
    from megastyle_cli.core.record import annotate, check_text
    from megastyle_cli.dedup.config import resolve_config
    from megastyle_cli.dedup.deduplicate import collect_signatures, find_duplicates
    from megastyle_cli.dedup.options import DedupOptions
    from megastyle_cli.dedup.report import kept_metadata, rejected_metadata
    from megastyle_cli.dedup.semantic import TextSource
    from megastyle_cli.io.temporary_files import Spool
    from megastyle_cli.runner.progress import Stage

    options = DedupOptions(
        on=on,
        preset=preset,
        keep=keep,
        near_threshold=near_threshold,
        semantic=semantic,
        semantic_threshold=semantic_threshold,
    )
    _check(options)
    embedder, models = resolve_embedder(None, "builtin", model, is_nemo=preset == "nemo")
    config = resolve_config(options, embedder)
    facts = {"run": _run("dedup", on=on, model=model, **config.as_dict()), "on": on}
    with load_engine("local") as engine, Spool() as spool, ExitStack() as stack:

        def texts() -> Iterator[StringArray]:
            for batch in batched(_found(records, _Pictures()), 1024):
                whole = [_record_or_raise(found) for found in batch]
                for record in whole:
                    try:
                        check_text(record, on)
                    except BadRecord as bad:
                        raise MegastyleError(bad.message) from bad
                    spool.add(record)
                yield StringArray.from_strings(record[on] for record in whole)

        signatures = collect_signatures(texts(), config, engine)
        progress = Stage("dedup", quiet=True, to_stdout=False)
        embed_texts = [
            stack.enter_context(open_embedder(*each, None, engine=engine, progress=progress))
            for each in (models if semantic else [])
        ]
        source = TextSource(spool, on)
        decisions = find_duplicates(signatures, config, source, embed_texts, engine, progress)
        kept_facts, which = kept_metadata(decisions, **facts)
        kept = spool.read(decisions.kept_rows().tolist())
        dropped = spool.read(decisions.dropped_rows().tolist())
        reasons = rejected_metadata(decisions, spool, **facts)
        return Deduplicated(
            [
                annotate(each, "dedup", **kept_facts[row])
                for each, row in zip(kept, which, strict=True)
            ],
            [annotate(each, "dedup", **why) for each, why in zip(dropped, reasons, strict=True)],
        )


def embed(
    images: Inputs, *, backend: str = "builtin", model: str | None = None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Style vectors (n, d) float32 of n images: unit rows, whose inner product is the cosine.

    `backend` is builtin, whitened, statistics, edges or imagenet; `model` a style encoder that was
    trained or downloaded. Raises MegastyleError if there is no image, or one cannot be read.

        vectors = ms.embed(["a.jpg", "b.jpg"])
        similarity = vectors[0] @ vectors[1]
    """
    import numpy as np

    from megastyle_cli.retrieval.embed import embed_records

    encoder, pictures, reader = _encoder(backend, model)
    rows = []
    for batch in batched(map(_record_or_raise, _found(images, pictures)), BATCH):
        for found in embed_records(batch, encoder, reader):
            if isinstance(found, Failure):
                raise MegastyleError(found.message)
            rows.append(found[1])
        pictures.forget()
    if not rows:
        raise MegastyleError("there is no image to embed", hint="give at least one")
    return np.stack(rows).astype(np.float32, copy=False)


def retrieve(
    queries: Inputs,
    index: Inputs,
    *,
    k: int = 10,
    keep_self: bool = False,
    backend: str = "builtin",
    model: str | None = None,
) -> Iterator[Record]:
    """Each query's record with `neighbors`: the `k` images of `index` closest in style.

    A neighbor has `id`, `score` (the cosine) and `file_name`, best first. `index` is images, or one
    folder that `megastyle retrieve --add` created. A query's own image is omitted unless
    `keep_self`. Raises MegastyleError if the index holds no images, or was made with another model.

        query, = ms.retrieve("owl.jpg", "gallery", k=3)
        [near["file_name"] for near in query["neighbors"]]
    """
    from megastyle_cli.core.record import annotate_all
    from megastyle_cli.retrieval.index_file import is_saved_index
    from megastyle_cli.retrieval.options import RetrieveOptions
    from megastyle_cli.retrieval.retrieve import retrieve as stage
    from megastyle_cli.retrieval.style_index import IndexSource

    _check(RetrieveOptions(top=k), top="k")
    encoder, pictures, reader = _encoder(backend, model)
    if isinstance(index, str | os.PathLike) and is_saved_index(_path(index)):
        source = IndexSource.find([_path(index)])
    else:
        source = IndexSource(saved=None, records=list(_found(index, pictures)))
    searched = source.open(encoder, reader, "exact", "cosine")
    pictures.forget()
    run = _run("retrieve", model=model or backend, k=k, keep_self=keep_self)
    facts = {"model": encoder.name, "run": run, "index": searched.fingerprint}

    def step(batch: list[Record]) -> Iterator[Record | Failure]:
        found = stage(
            batch, index=searched, encoder=encoder, reader=reader, k=k, keep_self=keep_self
        )
        return annotate_all(found, "retrieve", **facts)

    return pictures.each(queries, step, "retrieve")


def transfer(
    content: Picture | None,
    style: Picture | Sequence[Picture],
    *,
    weights: Sequence[float] = (),
    strength: float = 1.0,
    size: int | None = None,
    prompt: str | None = None,
    model: str | None = None,
    lora: str | None = None,
    seed: int = 0,
) -> Image:
    """The `content` image, or the `prompt`, in the style of one or more images: RGB.

    `weights` are shares of the styles, equal by default; `strength` is from 0 (the content
    unchanged) to 1 (full style); `size` is the longer side in pixels, by default the content's. The
    builtin stylist needs a content image. With `model`, FLUX renders the prompt, or what is
    recognized in the content; `lora` makes it use the references. The same arguments give the same
    image as the command. Raises MegastyleError if an image cannot be read.

        ms.transfer("cat.jpg", "great-wave.jpg", size=512).save("cat-wave.png")
    """
    from megastyle_cli.generate.options import StrengthOptions
    from megastyle_cli.generate.transfer import transfer as stage
    from megastyle_cli.generate.transfer import weighted_references
    from megastyle_cli.io.record_names import with_id
    from megastyle_cli.models.protocols import PictureRequest
    from megastyle_cli.models.registry import load, stylist_backend

    _check(StrengthOptions(strength=strength))
    pictures, images = _Pictures(), _KeptImage()
    styles = [style] if isinstance(style, str) or not isinstance(style, Sequence) else style
    references = weighted_references([pictures.name_of(one) for one in styles], weights)
    if content is None and prompt is None:
        raise MegastyleError(
            "there is nothing to restyle", hint="give content, or a prompt and a model"
        )
    record = {} if content is None else _record_or_raise(pictures.record_of(content))
    record = _record_or_raise(with_id(record | _given(content=prompt)))
    backend = stylist_backend("builtin", model)
    is_flux = backend == "flux"
    results = stage(
        [record],
        load("stylist", backend, **_given(model=model, lora=lora)),
        images,
        references=references,
        content_reader=pictures.reader(size),
        style_reader=pictures.reader(None if is_flux else STYLE_PX),
        starts_from_image=not is_flux,
        captioner=load("captioner", "builtin") if is_flux else None,
        template=PictureRequest(long_side=size, strength=strength, seed=seed),
        run="",
        settings={},
    )
    try:
        for result in results:
            _record_or_raise(result)
    except BadRecord as bad:
        raise MegastyleError(bad.message) from bad
    return images.image


def score(
    inputs: Inputs,
    references: Inputs | None = None,
    *,
    backend: str = "builtin",
    model: str | None = None,
    text_model: str | None = None,
    text_key: str = "content",
) -> Iterator[Record]:
    """Each image's record with `style_score`, and with a `text_model` also `text_score`.

    `style_score` is the mean cosine with the `references`, or with the record's own
    `style_file_name`; `text_score` the cosine with its text under `text_key`. Both are in [-1, 1],
    rounded to 4 digits. Raises MegastyleError if no reference can be used.

        record, = ms.score("cat-wave.png", references="great-wave.jpg")
        record["style_score"]
    """
    from megastyle_cli.core.record import annotate_all
    from megastyle_cli.evaluate.config import ScoringConfig
    from megastyle_cli.evaluate.score import FEATURE_CACHE_SIZE, only_scored, score_records
    from megastyle_cli.models.registry import encoder_backend

    pictures = _Pictures()
    listed = [] if references is None else list(_found(references, pictures))
    scoring = ScoringConfig(
        backend=encoder_backend(backend, model),
        model=model,
        text_model=text_model,
        text_key=text_key,
        references=[_record_or_raise(found) for found in listed],
    )
    readers = pictures.reader(DECODED_PX), pictures.reader()
    scorer = scoring.load(*readers, FEATURE_CACHE_SIZE)
    pictures.forget()
    models, compared = scorer.models, scorer.references
    run = _run("eval", **scoring.options)
    facts = {**models.provenance, **compared.provenance, "run": run}

    def step(batch: list[Record]) -> Iterator[Record | Failure]:
        scored = score_records(batch, models=models, references=compared)
        return annotate_all(only_scored(scored, models), "eval", **facts)

    return pictures.each(inputs, step, "eval")


def _check(options: Any, **arguments: str) -> None:
    """Raises MegastyleError for a value that the command would refuse, too.

    `arguments` are the names of arguments that are not called as their option.
    """
    from megastyle_cli.cli.parameters import parameters_of

    for parameter in parameters_of(type(options), ""):
        value = getattr(options, parameter.field)
        if value is not None and parameter.kind in (int, float, str) and not parameter.repeats:
            name = arguments.get(parameter.field, parameter.field)
            replace(parameter, names=(name,)).convert(str(value))


class _KeptImage:
    """Holds the only image that a stage makes."""

    image: Image

    def save_image(self, record_id: str, image: Image, source: object = None) -> str:
        """Keeps the image."""
        self.image = image
        return record_id


class _Pictures:
    """Pictures that are not files: the stages know them by names, for which readers find them."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}

    def reader(self, max_side_px: int | None = None) -> ImageReader:
        """What opens files and these pictures."""
        from megastyle_cli.io.images import ImageReader

        return ImageReader(max_side_px, in_memory=self._content)

    def name_of(self, picture: Picture) -> str:
        """The name of a picture: its path, or one made from its pixels."""
        if isinstance(picture, str | os.PathLike):
            return _path(picture)
        content = _png(picture)
        name = f"{_MEMORY}{bytes_id(content)}"
        self._content[name] = content
        return name

    def record_of(self, picture: Picture) -> Record | Failure:
        """The record of one picture."""
        from megastyle_cli.io.record_names import with_id

        name = self.name_of(picture)
        if name.startswith(_MEMORY) and name in self._content:
            return {"id": name.removeprefix(_MEMORY), "file_name": name}
        return with_id({"file_name": name})

    def forget(self) -> None:
        """Frees the pictures, once results were computed from them."""
        self._content.clear()

    def each(
        self,
        inputs: Inputs,
        step: Callable[[list[Record]], Iterable[Record | Failure]],
        name: str,
        size: int = BATCH,
    ) -> Iterator[Record]:
        """The results of `step` for `inputs`, in order, a batch at a time."""
        for batch in batched(_found(inputs, self), size):
            made = iter(list(step([found for found in batch if not isinstance(found, Failure)])))
            in_order = (found if isinstance(found, Failure) else next(made) for found in batch)
            yield from _results(in_order, name)
            self.forget()


def _found(inputs: Inputs, pictures: _Pictures) -> Iterator[Record | Failure]:
    """The records of `inputs`. Raises MegastyleError if one does not exist, or is not an input."""
    from megastyle_cli.io import inputs as files
    from megastyle_cli.io.record_names import with_id

    is_one = isinstance(inputs, str | os.PathLike | dict) or not isinstance(inputs, Iterable)
    for one in [inputs] if is_one else inputs:  # type: ignore[union-attr]
        if isinstance(one, dict):
            yield with_id({key: value for key, value in one.items() if key != ERROR})
        elif isinstance(one, str | os.PathLike):
            yield from files.read_records([_path(one)])
        else:
            yield pictures.record_of(one)  # type: ignore[arg-type]


def _path(path: str | PathLike[str]) -> str:
    name = os.fspath(path)
    if name == "-":
        raise MegastyleError("standard input is not supported here", hint="give records or paths")
    return name


def _png(image: object) -> bytes:
    """An image as a file would hold it, with its orientation and colour profile."""
    from io import BytesIO

    from PIL import Image

    if not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise MegastyleError(
            f"an input is of type {kind}", hint="give paths, PIL images or records"
        )
    file, shown = BytesIO(), image if image.mode in _PNG_MODES else image.convert("RGB")
    shown.save(file, "PNG", compress_level=1, exif=image.getexif())
    return file.getvalue()


def _encoder(backend: str, model: str | None) -> tuple[Any, _Pictures, ImageReader]:
    from megastyle_cli.cli.resolve_backend import decoded_px, load_encoder
    from megastyle_cli.models.registry import encoder_backend

    encoder = load_encoder(encoder_backend(backend, model), model)
    pictures = _Pictures()
    return encoder, pictures, pictures.reader(decoded_px(model, DECODED_PX))


def _results(found: Iterable[Record | Failure], step: str) -> Iterator[Record]:
    """Records as a caller sees them: failures with `_error`, and no names of what is not a file."""
    for one in found:
        record = with_error(one, step) if isinstance(one, Failure) else one
        yield _without_memory_names(record)


def _without_memory_names(record: Record) -> Record:
    neighbors = record.get("neighbors")
    if isinstance(neighbors, list):
        record = {**record, "neighbors": [_without_memory_names(near) for near in neighbors]}
    hidden = [key for key in PICTURE_KEYS if str(record.get(key, "")).startswith(_MEMORY)]
    return {key: value for key, value in record.items() if key not in hidden}


def _record_or_raise(found: Record | Failure) -> Record:
    if isinstance(found, Failure):
        raise MegastyleError(found.message)
    return found


def _run(command: str, **options: Any) -> str:
    """The key of a run, as provenance notes it."""
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run

    return Run(command, {"api": True, **options}, __version__).key


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
