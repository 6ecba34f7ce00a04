"""Which pairs of pictures voters compare: drawn by hashes, all pairs of systems equally often.

One comparison in ten is shown again with its sides exchanged, which measures how far voters agree
with themselves. To one in twenty the answer is known: a part of the reference itself against a part
of another style's reference. Source of the protocol: ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, record_seed

Question = Literal["style", "prompt"]
Kind = Literal["vote", "repeat", "control"]

REPEATED, CONTROLS = 10, 20  # one comparison in so many is repeated, or a control
STYLE_KEYS = ("style_id", "style_file_name")
CONTENT_KEYS = ("content_id", "content_file_name", "content")
PROMPT_KEYS = ("content", "prompt")

Cell = tuple[str, str]  # a style and a content


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file, or the part of it in one of its corners, numbered from 0 to 3."""

    path: str
    corner: int | None = None


@dataclass(frozen=True, kw_only=True)
class PicturePair:
    """Two pictures to choose from, each by a system, and what they should be like.

    `repeats` is the number of the comparison that this one shows again. Of a control the first
    picture is the right one, and it has no systems. Without a prompt only styles are compared.
    """

    kind: Kind
    reference: str
    prompt: str
    pictures: tuple[Picture, Picture]
    systems: tuple[str, str] | None = None
    repeats: int | None = None

    @property
    def questions(self) -> tuple[Question, ...]:
        """What is asked about it."""
        return ("style", "prompt") if self.prompt and self.kind != "control" else ("style",)


def draw_comparisons(
    systems: Mapping[str, Sequence[Record]], count: int, seed: int
) -> list[PicturePair]:
    """`count` comparisons, then those that are repeated, then the controls.

    A style and a content of which two systems have a picture make a comparison of these two; if
    there are fewer than `count`, all are used. Raises MegastyleError if there is none, or a
    picture has no reference.
    """
    pictures = {name: _by_cell(name, records) for name, records in systems.items()}
    drawn = []
    for one, other in combinations(pictures, 2):
        shared = pictures[one].keys() & pictures[other].keys()
        purpose = "\0".join(sorted((one, other)))
        drawn.append(
            [
                (rank, cell, (one, other))
                for rank, cell in enumerate(
                    sorted(
                        shared, key=lambda cell: (record_seed(seed, _words(purpose, cell)), cell)
                    )
                )
            ]
        )
    if not any(drawn):
        raise MegastyleError(
            f"no two of {', '.join(pictures)} have a picture of one style and content",
            hint="compare systems that rendered the same pairs",
        )
    # the first of each pair of systems, then the second of each, and so on
    turns = sorted((each for part in drawn for each in part), key=lambda each: each[0])[:count]
    votes = [_comparison(cell, names, pictures) for _, cell, names in turns]
    repeats = [_repeat(number, votes[number]) for number in range(0, len(votes), REPEATED)]
    return votes + repeats + _controls(votes, seed)


def _by_cell(name: str, records: Sequence[Record]) -> dict[Cell, Record]:
    """The picture of each style and content: of several the one of the lowest id."""
    found: dict[Cell, Record] = {}
    for record in sorted(records, key=lambda record: str(record["id"])):
        if not record.get("file_name"):
            continue
        if not isinstance(record.get("style_file_name"), str):
            raise MegastyleError(
                f"{name}: {record['id']} has no reference picture under style_file_name",
                hint="voters need it beside the results: render with transfer, or add the key",
            )
        cell = (_label(record, STYLE_KEYS), _label(record, CONTENT_KEYS))
        found.setdefault(cell, record)
    return found


def _comparison(
    cell: Cell, names: tuple[str, str], pictures: Mapping[str, Mapping[Cell, Record]]
) -> PicturePair:
    first, second = (pictures[name][cell] for name in names)
    return PicturePair(
        kind="vote",
        reference=first["style_file_name"],
        prompt=_label(first, PROMPT_KEYS),
        pictures=(Picture(path=first["file_name"]), Picture(path=second["file_name"])),
        systems=names,
    )


def _repeat(number: int, comparison: PicturePair) -> PicturePair:
    return PicturePair(**{**vars(comparison), "kind": "repeat", "repeats": number})


def _controls(votes: Sequence[PicturePair], seed: int) -> list[PicturePair]:
    """Parts of references against parts of others; none if there is only one reference."""
    references = list(dict.fromkeys(each.reference for each in votes))
    if len(references) < 2:
        return []
    controls = []
    for number in range(-(-len(votes) // CONTROLS)):
        own = record_seed(seed, "control", number) % len(references)
        other = (own + 1 + record_seed(seed, "other", number) % (len(references) - 1)) % len(
            references
        )
        corner = record_seed(seed, "corner", number) % 4
        controls.append(
            PicturePair(
                kind="control",
                reference=references[own],
                prompt="",
                pictures=(
                    Picture(path=references[own], corner=corner),
                    Picture(path=references[other], corner=corner),
                ),
            )
        )
    return controls


def _label(record: Record, keys: Sequence[str]) -> str:
    return next((str(record[key]) for key in keys if record.get(key) not in (None, "")), "")


def _words(purpose: str, cell: Cell) -> str:
    return "\0".join((purpose, *cell))
