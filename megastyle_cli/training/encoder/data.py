"""Training data of the style encoder: records become labelled images, split by style."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, canonical_json
from megastyle_cli.io.inputs import read_records
from megastyle_cli.training.common.distributed import check_stdin_not_shared
from megastyle_cli.training.common.split import Split, held_out_styles, separate_failures
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.sampler import Array, GroupSampler

# n images

MAX_HELD_OUT = 4096  # images that validation embeds and ranks


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images with style labels: image i has the style `style_ids[styles[i]]`."""

    names: list[str]
    ids: list[str]
    styles: Array  # (n,)
    style_ids: list[str]
    prompts: list[str | None]  # of each style: the first that a record has
    contents: list[str | None]  # of each image: its content, if its record has one

    def __len__(self) -> int:
        return len(self.names)

    @property
    def key(self) -> str:
        """8 hex digits over the ids and their styles: the same images in the same order."""
        content = [self.ids, [self.style_ids[number] for number in self.styles]]
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:8]

    def first_styles(self, max_images: int) -> "LabelledImages":
        """The first styles, each complete, that together have at most `max_images` images."""
        fits = np.bincount(self.styles, minlength=len(self.style_ids)).cumsum() <= max_images
        rows = np.flatnonzero(fits[self.styles])
        num_styles = int(fits.sum())
        return LabelledImages(
            names=[self.names[row] for row in rows],
            ids=[self.ids[row] for row in rows],
            styles=self.styles[rows],
            style_ids=self.style_ids[:num_styles],
            prompts=self.prompts[:num_styles],
            contents=[self.contents[row] for row in rows],
        )

    def check_prompts(self) -> None:
        """Raises MegastyleError if a style has no prompt."""
        missing = [s for s, p in zip(self.style_ids, self.prompts, strict=True) if p is None]
        if missing:
            raise MegastyleError(
                f"{len(missing)} of {len(self.style_ids)} styles have no prompt under 'style',"
                f" such as {missing[0]}",
                hint="caption them (megastyle caption --kind style), or give --text-weight 0",
            )

    def known_contents(self) -> list[str] | None:
        """The content of each image; None if some are unknown, or each style has only one."""
        contents = [content for content in self.contents if content is not None]
        pairs = set(zip(self.styles.tolist(), self.contents, strict=True))
        is_known = len(contents) == len(self) and len(pairs) > len(self.style_ids)
        return contents if is_known else None


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The images to train on, the sampler that draws batches from them, and the held-out images."""

    split: Split[LabelledImages]
    sampler: GroupSampler
    held_out: LabelledImages  # at most MAX_HELD_OUT of those in `split`

    @property
    def summary(self) -> str:
        """The number of images of each kind, in words."""
        split = self.split
        return (
            f"{len(split.training):,} images of {len(split.training.style_ids):,}"
            f" styles for training, {len(split.held_out):,} of {len(split.held_out.style_ids):,}"
            f" held out, {split.num_single:,} omitted (the only image of their style),"
            f" {len(split.failures):,} unusable; {self.sampler.steps_per_epoch:,} steps per epoch"
        )


def load_training_data(
    names: Sequence[str], config: EncoderConfig, limit: int | None
) -> TrainingData:
    """The images in the inputs `names`, split by style, with a sampler of batches.

    Raises MegastyleError if --images-per-style does not divide --global-batch, if the images do not
    fill a batch, or if there are fewer than two styles.
    """
    batch, k = config.global_batch, config.images_per_style
    if batch % k:
        raise MegastyleError(
            f"--global-batch {batch} is not a multiple of --images-per-style {k}",
            hint=f"give {max(config.groups, 1) * k}",
        )
    check_stdin_not_shared(names)
    split = split_images(
        read_records(list(names), limit=limit),
        label=config.label,
        content_label=config.content_label,
        holdout=config.holdout,
        split_key=config.split_key,
        seed=config.seed,
    )
    styles = split.training.styles
    sampler = GroupSampler(styles, groups_per_batch=config.groups, k=k, seed=config.seed)
    _check_enough_images(len(split.training.style_ids), sampler, config.label)
    held_out = split.held_out.first_styles(MAX_HELD_OUT)
    return TrainingData(split=split, sampler=sampler, held_out=held_out)


def split_images(
    results: Iterable[Record | Failure],
    *,
    label: str,
    content_label: str = "content_id",
    holdout: float,
    split_key: str | None,
    seed: int,
) -> Split[LabelledImages]:
    """Images to train on and images of held-out styles; no style is in both.

    `label` is the key of the style; `held_out_styles` chooses those that are held out. An image
    that is alone in its style has no positive and is left out.
    """
    checked = (
        result if isinstance(result, Failure) else check_image_record(result, label)
        for result in results
    )
    records, failures = separate_failures(checked)
    counts = Counter(str(record[label]) for record in records)
    usable = [record for record in records if counts[str(record[label])] > 1]
    labelled = [(record, str(record[label])) for record in usable]
    held_out = held_out_styles(labelled, holdout=holdout, split_key=split_key, seed=seed)
    return Split(
        training=_images(
            [r for r, style in labelled if style not in held_out], label, content_label
        ),
        held_out=_images([r for r, style in labelled if style in held_out], label, content_label),
        failures=failures,
        num_single=len(records) - len(usable),
        num_read=len(records) + len(failures),
    )


def check_image_record(record: Record, label: str | None) -> Record | Failure:
    """The record if it has an image and, under `label`, a label; otherwise why it is unusable."""
    if not isinstance(record.get("file_name"), str):
        return Failure(record, "missing_key", f"record {record['id']} has no file_name")
    if label is None:
        return record
    if not isinstance(record.get(label), str | int) or record[label] == "":
        return Failure(record, "missing_key", f"record {record['id']} has no {label}")
    return record


def _images(records: Sequence[Record], label: str, content_label: str) -> LabelledImages:
    prompts: dict[str, str | None] = {}
    for record in records:
        value = record.get("style")
        prompt = value if isinstance(value, str) and value else None
        style = str(record[label])
        prompts[style] = prompts.get(style) or prompt
    style_ids = sorted(prompts)
    number = {style: i for i, style in enumerate(style_ids)}
    return LabelledImages(
        names=[record["file_name"] for record in records],
        ids=[record["id"] for record in records],
        styles=np.array([number[str(record[label])] for record in records], np.int64),
        style_ids=style_ids,
        prompts=[prompts[style] for style in style_ids],
        contents=[
            str(record[content_label]) if content_label in record else None for record in records
        ],
    )


def _check_enough_images(num_styles: int, sampler: GroupSampler, label: str) -> None:
    if num_styles < 2:
        raise MegastyleError(
            f"training needs two styles with at least two images each, found {num_styles}",
            hint=f"give more images, or --label KEY if {label} is not the key of the style",
        )
    if sampler.steps_per_epoch == 0:
        num_images = sampler.num_groups * sampler.k
        raise MegastyleError(
            f"--global-batch {sampler.groups_per_batch * sampler.k:,} exceeds the"
            f" {num_images:,} images of an epoch",
            hint=f"give at most {num_images}",
        )
