"""Training pairs of FLUX: records become pairs of one style, and a sampler draws batches of them.

A pair is a reference and a target of the same style, with the target's content as prompt. As in the
paper, an epoch draws one pair of every style, so that all styles weigh the same.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from megastyle_cli.core.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, canonical_json, record_seed
from megastyle_cli.io.inputs import read_records
from megastyle_cli.training.common.distributed import check_stdin_not_shared
from megastyle_cli.training.common.split import Split, held_out_styles, separate_failures
from megastyle_cli.training.encoder.sampler import Array
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.known_words import Vocabulary, local_vocabulary

# u units, an epoch draws one pair of each; n rows

Draws = np.ndarray[Any, np.dtype[np.float64]]
TARGET, REFERENCE, LEVEL, FLIP, CROP, AREA, LEFT, TOP = range(8)  # the columns of a pair's draws


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What pairs are drawn from: images by style, or targets that name their own reference.

    `units[i]` holds the rows of a style's images, at least two, or the single row of an explicit
    pair; `styles[i]` is its style.
    """

    ids: list[str]
    targets: list[str]
    contents: list[str]
    references: list[str | None]  # None: another image of the unit
    units: list[Array]
    styles: list[str]

    def __len__(self) -> int:
        return len(self.units)

    @property
    def prompts(self) -> list[str]:
        """The content of every target that can be drawn."""
        return [self.contents[row] for unit in self.units for row in unit.tolist()]

    @property
    def key(self) -> str:
        """8 hex digits over the rows of all units, with their contents and styles, in order."""
        rows = np.concatenate([*self.units, np.zeros(0, np.int64)]).astype(np.int64).tolist()
        described = [[self.ids[row], self.contents[row], self.references[row]] for row in rows]
        sizes = [len(unit) for unit in self.units]
        content = canonical_json([described, sizes, self.styles])
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def load_pairs(names: Sequence[str], config: FluxConfig, limit: int | None) -> "TrainingPairs":
    """The pairs that can be drawn from the inputs `names`, with contents that --model can encode.

    Raises MegastyleError if there are none, with exit code 3 if that is because of unknown words.
    """
    check_stdin_not_shared(names)
    split = split_pairs(
        read_records(list(names), limit=limit),
        label=config.label,
        holdout=config.holdout,
        split_key=config.split_key,
        seed=config.seed,
        vocabulary=local_vocabulary(config.model),
    )
    unknown = [failure for failure in split.failures if failure.kind == "unknown_word"]
    if unknown and not len(split.training):
        raise MegastyleError(
            f"{len(unknown):,} of {split.num_read:,} records have words that {config.model}"
            " does not know, and no pair can be made of the others; the first:"
            f" {unknown[0].message}",
            hint="give contents of known words, or another --model",
            exit_code=TOO_MANY_FAILURES,
        )
    if split.failures and not len(split.training):
        raise MegastyleError(
            f"{len(split.failures):,} of {split.num_read:,} records are unusable, and no pair can"
            f" be made of the others; the first: {split.failures[0].message}",
            hint=f"give each record file_name, content and {config.label} (--label), its style",
        )
    sampler = PairSampler(split.training, batch=config.global_batch, seed=config.seed)
    return TrainingPairs(split=split, sampler=sampler)


def split_pairs(
    results: Iterable[Record | Failure],
    *,
    label: str,
    holdout: float,
    split_key: str | None,
    seed: int,
    vocabulary: Vocabulary | None = None,
) -> Split[Pairs]:
    """Pairs to train on and pairs of held-out styles; no style is in both.

    A record is an image (`file_name`, `content` and, under `label`, its style) or an explicit pair
    (`style_file_name`, `target_file_name`, `content`). Contents with words that are not in
    `vocabulary` fail. `held_out_styles` chooses the styles that are held out.
    """
    checked = (
        result if isinstance(result, Failure) else check_pair_record(result, label, vocabulary)
        for result in results
    )
    records, failures = separate_failures(checked)
    labelled = [(record, _style(record, label)) for record in records]
    counts = Counter(style for record, style in labelled if not _is_explicit_pair(record))
    single = {style for style, count in counts.items() if count == 1}
    usable = [
        (record, style)
        for record, style in labelled
        if _is_explicit_pair(record) or style not in single
    ]
    held_out = held_out_styles(usable, holdout=holdout, split_key=split_key, seed=seed)
    return Split(
        training=_pairs([(r, style) for r, style in usable if style not in held_out]),
        held_out=_pairs([(r, style) for r, style in usable if style in held_out]),
        failures=failures,
        num_single=len(single),
        num_read=len(records) + len(failures),
    )


def check_pair_record(
    record: Record, label: str, vocabulary: Vocabulary | None = None
) -> Record | Failure:
    """The record if a pair can be drawn from it, otherwise the reason why not."""
    name = record["id"]
    if _is_explicit_pair(record):
        if not isinstance(record.get("style_file_name"), str):
            why = f"record {name} has a target_file_name but no style_file_name"
            return Failure(record, "missing_key", why)
    elif not isinstance(record.get("file_name"), str):
        why = f"record {name} has no image: neither file_name nor target_file_name"
        return Failure(record, "missing_key", why)
    elif not isinstance(record.get(label), str | int) or record[label] == "":
        return Failure(record, "missing_key", f"record {name} has no {label}")
    content = record.get("content")
    if not isinstance(content, str) or not content.strip():
        return Failure(record, "missing_key", f"record {name} has no content")
    try:
        content.encode()
        if vocabulary is not None:
            vocabulary.check(content)
    except UnicodeEncodeError:
        why = f"record {name} has half a character (a lone surrogate) in its content"
        return Failure(record, "bad_json", why)
    except BadRecord as error:
        return Failure(record, error.kind, f"record {name}: {error.message}")
    return record


def _is_explicit_pair(record: Record) -> bool:
    return isinstance(record.get("target_file_name"), str)


def _style(record: Record, label: str) -> str:
    style = record.get(label)
    if style in (None, "") and _is_explicit_pair(record):
        style = record["style_file_name"]
    return str(style)


def _pairs(labelled: Sequence[tuple[Record, str]]) -> Pairs:
    """The images of each style as one unit, each explicit pair as a unit of its own."""
    by_style: dict[str, list[int]] = {}
    explicit: list[tuple[str, list[int]]] = []
    for row, (record, style) in enumerate(labelled):
        if _is_explicit_pair(record):
            explicit.append((style, [row]))
        else:
            by_style.setdefault(style, []).append(row)
    units = [*sorted(by_style.items()), *explicit]
    records = [record for record, _ in labelled]
    return Pairs(
        ids=[r["id"] for r in records],
        targets=[r["target_file_name" if _is_explicit_pair(r) else "file_name"] for r in records],
        contents=[r["content"] for r in records],
        references=[r["style_file_name"] if _is_explicit_pair(r) else None for r in records],
        units=[np.array(rows, np.int64) for _, rows in units],
        styles=[style for style, _ in units],
    )


@dataclass(frozen=True, kw_only=True)
class PairDraw:
    """One drawn pair: the rows of target and reference, and the random numbers for the rest.

    `index` counts all pairs since the first step; the same index is the same pair, noise included.
    """

    index: int
    unit: int
    target: int
    reference: int | None  # None: the one that the target names
    draws: Draws  # (8,) in [0, 1)


class PairSampler:
    """Global batches of `batch` pairs: a pure function of seed and step, the same in every world.

    Pairs are numbered from the first step on; every u of them show each unit once. A batch may
    cross the end of an epoch, so that nothing is dropped.
    """

    def __init__(self, pairs: Pairs, *, batch: int, seed: int) -> None:
        if not len(pairs):
            raise MegastyleError(
                "pairs need a style with at least two images, but there is none",
                hint="give more images, or --label KEY if style_id is not the key of the style",
            )
        self.pairs, self.batch, self.seed = pairs, batch, seed
        self.draws_of_epoch = lru_cache(2)(self._draws_of_epoch)

    def indices(self, step: int) -> range:
        """The indices of the pairs in a step's global batch."""
        return range(step * self.batch, (step + 1) * self.batch)

    def draw(self, index: int) -> PairDraw:
        """The pair with that index."""
        epoch, turn = divmod(index, len(self.pairs))
        order, epoch_draws = self.draws_of_epoch(epoch)
        unit, draws = int(order[turn]), epoch_draws[turn]
        rows = self.pairs.units[unit]
        target = int(draws[TARGET] * len(rows))
        reference: int | None = None
        if self.pairs.references[rows[target]] is None:
            other = int(draws[REFERENCE] * (len(rows) - 1))
            reference = int(rows[other + (other >= target)])
        return PairDraw(
            index=index, unit=unit, target=int(rows[target]), reference=reference, draws=draws
        )

    def _draws_of_epoch(self, epoch: int) -> tuple[Array, Draws]:
        """The order of the units (u,) in an epoch, and the random numbers (u, 8) for each."""
        rng = np.random.default_rng(record_seed(self.seed, "pairs", epoch))
        return rng.permutation(len(self.pairs)), rng.random((len(self.pairs), 8))


@dataclass(frozen=True, kw_only=True)
class TrainingPairs:
    """The pairs to train on and to hold out, and the sampler that draws batches of the former."""

    split: Split[Pairs]
    sampler: PairSampler

    def summary(self, num_steps: int) -> str:
        """The number of pairs of each kind, in words."""
        split = self.split
        epochs = num_steps * self.sampler.batch / len(split.training)
        return (
            f"{len(split.training):,} styles or pairs for training, {len(split.held_out):,} held"
            f" out, {split.num_single:,} styles omitted (only one image),"
            f" {len(split.failures):,} records unusable; each is drawn {epochs:,.1f} times"
        )

    @property
    def prompts(self) -> set[str]:
        """The content of every target that can be drawn, held-out ones included."""
        return {*self.split.training.prompts, *self.split.held_out.prompts}
