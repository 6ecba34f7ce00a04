"""Apply reference styles: to each record's content picture, or to words where a stylist can.

A stylist that paints from words is given those of the record, else what a captioner sees on its
content picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

from megastyle_cli.caption.caption import with_description
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, record_seed
from megastyle_cli.generate.render import Save, render
from megastyle_cli.io.record_images import ReadPictures, open_record_pictures
from megastyle_cli.models.protocols import Captioner, PictureRequest, Stylist

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class References:
    """Style pictures for records that bring none, with the share of each; the shares sum to 1."""

    names: tuple[str, ...]
    weights: tuple[float, ...]


def weighted_references(names: Sequence[str], weights: Sequence[float]) -> References:
    """References with shares in proportion to `weights`, equal if there are none.

    Raises MegastyleError if the numbers of names and weights differ or the weights sum to 0.
    """
    shares = list(weights) or [1.0] * len(names)
    if len(shares) != len(names):
        raise MegastyleError(
            f"styles given: {len(names)}, weights: {len(shares)}",
            hint="give one --weight a --style",
        )
    total = sum(shares)
    if names and total <= 0:
        raise MegastyleError("the style weights sum to 0", hint="make at least one positive")
    return References(names=tuple(names), weights=tuple(share / total for share in shares))


def transfer(
    records: Iterable[Record],
    *,
    stylist: Stylist,
    references: References,
    read_content: ReadPictures,
    read_style: ReadPictures,
    save: Save,
    starts_from_picture: bool,
    captioner: Callable[[], Captioner] | None,
    long_side_px: int | None,
    size_px: tuple[int, int] | None,
    strength: float,
    seed: int,
    run: str,
    settings: Mapping[str, Any],
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height`, `seed` of the restyled picture, in order.

    The content picture is `content_file_name`, else `file_name`, which becomes the former. It is
    opened where the stylist `starts_from_picture`, or where its `captioner`, loaded at the first
    need, has to find `content` for a record without; a stylist that needs no words has none. A
    record's own `style_file_name` comes before `references`. `settings` are noted with each
    picture.
    """
    named = [_with_names(record, references) for record in records]
    is_opened = [
        starts_from_picture or (captioner is not None and not record.get("content"))
        for record in named
    ]
    opened = iter(
        open_record_pictures([*compress(named, is_opened)], "content_file_name", read_content)
    )
    contents = [next(opened) if wanted else None for wanted in is_opened]
    batch = named if captioner is None else _with_words(named, contents, captioner, run)
    ask = partial(PictureRequest, long_side=long_side_px, size_px=size_px, strength=strength)
    requests = [
        _request(record, content, references, read_style, ask, seed, captioner is not None)
        for record, content in zip(batch, contents, strict=True)
    ]
    facts: dict[str, Any] = {"model": stylist.name, "run": run, "strength": strength, **settings}
    return render(
        batch, requests, command="transfer", paint=stylist.restyle, save=save, facts=facts
    )


def _with_names(record: Record, references: References) -> Record:
    """The record with its content picture and its heaviest style reference named."""
    named = {key: value for key, value in record.items() if key != "file_name"}
    if "file_name" in record:
        named.setdefault("content_file_name", record["file_name"])
    if references.names:
        heaviest = max(range(len(references.names)), key=references.weights.__getitem__)
        named.setdefault("style_file_name", references.names[heaviest])
    return named


def _with_words(
    records: Sequence[Record],
    contents: Sequence[Image | BadRecord | None],
    captioner: Callable[[], Captioner],
    run: str,
) -> list[Record]:
    """The records, those without `content` with what is seen on their pictures, where it is."""
    worded = list(records)
    asked: dict[int, Image] = {}
    for row, (record, picture) in enumerate(zip(records, contents, strict=True)):
        if not (record.get("content") or picture is None or isinstance(picture, BadRecord)):
            asked[row] = picture
    if not asked:
        return worded
    seer = captioner()
    seen = seer.describe([*asked.values()], "content")
    for row, description in zip(asked, seen, strict=True):
        if not isinstance(description, BadRecord):
            worded[row] = with_description(records[row], description, "v2", seer.name, run)
    return worded


def _wordless(record: Record, content: Image | BadRecord | None) -> BadRecord:
    if content is None or isinstance(content, BadRecord):
        why = f"record {record['id']} has neither content nor a content picture"
    else:
        why = f"what {record['content_file_name']} shows was not recognised"
    return BadRecord(
        "missing_key",
        f"{why}, and FLUX paints from words: give --prompt, or content by megastyle caption",
    )


def _request(
    record: Record,
    content: Image | BadRecord | None,
    references: References,
    read_style: ReadPictures,
    ask: Callable[..., PictureRequest],
    seed: int,
    needs_words: bool,
) -> PictureRequest | BadRecord:
    own = record.get("style_file_name")
    if own is not None and not isinstance(own, str):
        return BadRecord(
            "missing_key",
            f"record {record['id']} has style_file_name {own!r}, not the name of one picture:"
            " --style, once for each, mixes several",
        )
    own_names = [own] if own else []
    given = references if own in references.names else weighted_references(own_names, [])
    if not given.names:
        return BadRecord(
            "missing_key", f"record {record['id']} has no style_file_name: give --style"
        )
    styles = read_style(given.names)
    for found in (content, *styles):
        if isinstance(found, BadRecord) and found.kind != "missing_key":
            return found
    words = record.get("content")
    if needs_words and not words:
        return _wordless(record, content)
    if words is not None and not isinstance(words, str):
        return BadRecord("missing_key", f"record {record['id']} has content {words!r}, not words")
    return ask(
        content=words,
        content_picture=None if isinstance(content, BadRecord) else content,
        references=tuple(style for style in styles if not isinstance(style, BadRecord)),
        reference_keys=given.names,
        weights=given.weights,
        seed=record_seed(seed, record["id"]),
    )
