"""Apply reference styles: to each record's content picture, or to words where a stylist can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from megastyle_cli.errors import BadRecord, MegastyleError
from megastyle_cli.models.backend import PictureRequest, Stylist
from megastyle_cli.record import Failure, Record, record_seed
from megastyle_cli.steps.pictures import Read, pictures_of
from megastyle_cli.steps.render import Save, render

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class References:
    """Style pictures for records that bring none, with the share of each; the shares sum to 1."""

    names: tuple[str, ...]
    weights: tuple[float, ...]


def mixed(names: Sequence[str], weights: Sequence[float]) -> References:
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
    read_content: Read | None,
    read_style: Read,
    save: Save,
    long_side_px: int | None,
    size_px: tuple[int, int] | None,
    strength: float,
    seed: int,
    run: str,
    settings: Mapping[str, Any],
) -> Iterator[Record | Failure]:
    """Adds `file_name`, `width`, `height`, `seed` of the restyled picture, in order.

    The content picture is `content_file_name`, else `file_name`, which becomes the former; where
    both are absent, or `read_content` is None, the stylist must paint from words. A record's own
    `style_file_name` comes before `references`. `settings` are noted with each picture.
    """
    batch = [_with_names(record, references) for record in records]
    contents: Sequence[Image | BadRecord | None] = [None] * len(batch)
    if read_content is not None:
        contents = pictures_of(batch, "content_file_name", read_content)
    ask = partial(PictureRequest, long_side=long_side_px, size_px=size_px, strength=strength)
    requests = [
        _request(record, content, references, read_style, ask, seed)
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


def _request(
    record: Record,
    content: Image | BadRecord | None,
    references: References,
    read_style: Read,
    ask: Callable[..., PictureRequest],
    seed: int,
) -> PictureRequest | BadRecord:
    own = record.get("style_file_name")
    own_names = [own] if isinstance(own, str) and own else []
    given = references if own in references.names else mixed(own_names, [])
    if not given.names:
        return BadRecord(
            "missing_key", f"record {record['id']} has no style_file_name: give --style"
        )
    styles = read_style(given.names)
    for found in (content, *styles):
        if isinstance(found, BadRecord) and found.kind != "missing_key":
            return found
    return ask(
        content=record.get("content"),
        content_picture=None if isinstance(content, BadRecord) else content,
        references=tuple(style for style in styles if not isinstance(style, BadRecord)),
        reference_keys=given.names,
        weights=given.weights,
        seed=record_seed(seed, record["id"]),
    )
