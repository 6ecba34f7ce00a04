"""Requests to pictures: what `synth` and `transfer` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record, annotate, is_context_only
from megastyle_cli.generate.filters import Gate, Painted, judged
from megastyle_cli.models.protocols import PictureRequest

if TYPE_CHECKING:
    from PIL.Image import Image

Paint = Callable[[Sequence[PictureRequest]], "Sequence[Image | BadRecord]"]
Save = Callable[[str, "Image"], str]  # record id and picture to the picture's name


def render(
    records: Sequence[Record],
    requests: Sequence[PictureRequest | BadRecord],
    *,
    command: str,
    paint: Paint,
    save: Save,
    facts: dict[str, Any],
    gates: Sequence[Gate] = (),
) -> Iterator[Record | Failure]:
    """Paints what can be asked for and adds `file_name`, `width`, `height`, `seed`, in order.

    A picture is saved before its record is yielded: a record implies its picture. One that a gate
    turns away is not saved; its record says so under `_megastyle.<command>`: `rejected`, `score`.
    One that is company is painted for the gates alone.
    """
    painted = iter(paint([asked for asked in requests if not isinstance(asked, BadRecord)]))
    made = [asked if isinstance(asked, BadRecord) else next(painted) for asked in requests]
    verdicts = iter(
        judged(
            [
                Painted(record, asked, picture)
                for record, asked, picture in zip(records, requests, made, strict=True)
                if not isinstance(picture, BadRecord) and not isinstance(asked, BadRecord)
            ],
            gates,
        )
    )
    for record, asked, picture in zip(records, requests, made, strict=True):
        if isinstance(asked, BadRecord):
            yield Failure(record, asked.kind, asked.message)
        elif isinstance(picture, BadRecord):
            yield Failure(record, picture.kind, f"record {record['id']}: {picture.message}")
        elif (verdict := next(verdicts)) is None and is_context_only(record):
            yield record
        elif verdict:
            told = {"rejected": verdict.reason, "score": verdict.score, "seed": asked.seed}
            yield annotate(record, command, **facts, **told)
        else:
            yield annotate(
                {
                    **record,
                    "file_name": save(record["id"], picture),
                    "width": picture.width,
                    "height": picture.height,
                    "seed": asked.seed,
                },
                command,
                **facts,
            )
