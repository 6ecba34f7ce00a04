"""Training and held-out split: which records can be used, and which styles are held out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from megastyle_cli.core.record import Failure, Record, text_hash

Data = TypeVar("Data")


@dataclass(frozen=True, kw_only=True)
class Split(Generic[Data]):
    """Records split by style into a training and a held-out part, and those that are neither."""

    training: Data
    held_out: Data
    failures: list[Failure]
    num_single: int  # left out because their style has a single image
    num_read: int


def separate_failures(
    results: Iterable[Record | Failure],
) -> tuple[list[Record], list[Failure]]:
    """The records and the failures among `results`, each in input order."""
    records: list[Record] = []
    failures: list[Failure] = []
    for result in results:
        (failures if isinstance(result, Failure) else records).append(result)  # type: ignore[arg-type]
    return records, failures


def held_out_styles(
    labelled: Iterable[tuple[Record, str]], *, holdout: float, split_key: str | None, seed: int
) -> set[str]:
    """The styles, given beside each record, that are held out for validation.

    With `split_key`, those with a record whose value there is "heldout"; otherwise a share
    `holdout` of all styles, chosen by a hash of seed and style, so that adding styles moves none.
    """
    if split_key is not None:
        return {style for record, style in labelled if record.get(split_key) == "heldout"}
    return {style for _, style in labelled if _hash_share(seed, style) < holdout}


def _hash_share(seed: int, style: str) -> float:
    """A number in [0, 1) that depends on the seed and the style only."""
    return text_hash(f"{seed}:{style}") / 2**64
