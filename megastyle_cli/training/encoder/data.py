"""Records to labelled pictures, and pictures to batches on the device, the next ones under way."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.parallel import parallel_map, usable_cores
from megastyle_cli.core.record import Failure, Record, canonical_json, record_seed, text_hash
from megastyle_cli.io.images import open_picture
from megastyle_cli.models.encoders.siglip_vision import normalize_pixels, resize_to_square
from megastyle_cli.training.encoder.decode import decode_into
from megastyle_cli.training.encoder.sampler import Array, GroupSampler, slice_of_rank

# n pictures, b of them in a rank's batch

AHEAD_BYTES = 1 << 30  # of batches decoded ahead: one of 8,192 pictures of 448 px takes 4.9 GB
MOST_AHEAD = 8
AT_ONCE = 8  # pictures that a thread takes: pictures of one style are often stored together
CROP_MARGIN = 7 / 6  # pictures are decoded so much larger than the tower sees, to crop from


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled pictures: `styles[i]` is the number, in `style_ids`, of the style of picture i."""

    names: list[str]
    ids: list[str]
    styles: Array  # (n,)
    style_ids: list[str]
    prompts: list[str | None]  # of each style, the first that a record told

    def __len__(self) -> int:
        return len(self.names)

    @property
    def key(self) -> str:
        """8 hex digits over the ids and their styles: the same pictures in the same order."""
        told = [self.ids, [self.style_ids[number] for number in self.styles]]
        return hashlib.sha256(canonical_json(told).encode()).hexdigest()[:8]

    def first_styles(self, most: int) -> "Pictures":
        """Whole styles, in order, as long as they are at most so many pictures together."""
        fits = np.bincount(self.styles, minlength=len(self.style_ids)).cumsum() <= most
        rows = np.flatnonzero(fits[self.styles])
        num_styles = int(fits.sum())
        return Pictures(
            names=[self.names[row] for row in rows],
            ids=[self.ids[row] for row in rows],
            styles=self.styles[rows],
            style_ids=self.style_ids[:num_styles],
            prompts=self.prompts[:num_styles],
        )


@dataclass(kw_only=True)
class Sorted:
    """What the records were good for: training, validation, or neither, and why."""

    training: Pictures
    held_out: Pictures
    failures: list[Failure]
    num_single: int  # pictures left out because their style has no other
    num_read: int


def sort_records(
    found: Iterable[Record | Failure],
    *,
    label: str,
    holdout: float,
    split_key: str | None,
    seed: int,
) -> Sorted:
    """Pictures to train on and pictures of held-out styles; a style is never in both.

    `label` is the key of the style; `styles_aside` says which are held out. A picture alone in its
    style has no positive and is left out.
    """
    kept: list[Record] = []
    failures: list[Failure] = []
    num_read = 0
    for record in found:
        num_read += 1
        one = record if isinstance(record, Failure) else checked(record, label)
        (failures if isinstance(one, Failure) else kept).append(one)  # type: ignore[arg-type]
    counts = Counter(str(record[label]) for record in kept)
    usable = [record for record in kept if counts[str(record[label])] > 1]
    labelled = [(record, str(record[label])) for record in usable]
    aside = styles_aside(labelled, holdout=holdout, split_key=split_key, seed=seed)
    return Sorted(
        training=_pictures([r for r in usable if str(r[label]) not in aside], label),
        held_out=_pictures([r for r in usable if str(r[label]) in aside], label),
        failures=failures,
        num_single=len(kept) - len(usable),
        num_read=num_read,
    )


def styles_aside(
    labelled: Iterable[tuple[Record, str]], *, holdout: float, split_key: str | None, seed: int
) -> set[str]:
    """The styles, told beside each record, that are held out.

    Those with a record whose `split_key` says "heldout", else a share `holdout` of all, chosen by a
    hash of seed and style, so that adding styles moves none.
    """
    if split_key is not None:
        return {style for record, style in labelled if record.get(split_key) == "heldout"}
    return {style for _, style in labelled if _share(seed, style) < holdout}


def checked(record: Record, label: str) -> Record | Failure:
    """The record, or why it is none to train on: it needs a picture and a label."""
    if not isinstance(record.get("file_name"), str):
        return Failure(record, "missing_key", f"record {record['id']} has no file_name")
    if not isinstance(record.get(label), str | int) or record[label] == "":
        return Failure(record, "missing_key", f"record {record['id']} has no {label}")
    return record


def _pictures(records: Sequence[Record], label: str) -> Pictures:
    prompts: dict[str, str | None] = {}
    for record in records:
        prompt = record.get("style")
        told = prompt if isinstance(prompt, str) and prompt else None
        style = str(record[label])
        prompts[style] = prompts.get(style) or told
    style_ids = sorted(prompts)
    number = {style: i for i, style in enumerate(style_ids)}
    return Pictures(
        names=[record["file_name"] for record in records],
        ids=[record["id"] for record in records],
        styles=np.array([number[str(record[label])] for record in records], np.int64),
        style_ids=style_ids,
        prompts=[prompts[style] for style in style_ids],
    )


def _share(seed: int, style: str) -> float:
    """A number in [0, 1) of a style, whatever the other styles are."""
    return text_hash(f"{seed}:{style}") / 2**64


@dataclass
class Batch:
    """One rank's slice of a step's global batch, on its way to the device."""

    pixels: Tensor  # uint8 (b, 3, decoded side, decoded side), channels last in memory
    rows: Array  # (b,): which pictures are shown
    failures: list[Failure] = field(default_factory=list)  # what could not be opened
    is_whole: bool = True  # else there are places left for which no picture opens


Bad = tuple[int, BadRecord]  # the row and why it does not open
Filling = Future[tuple[list[Bad], bool]]  # what does not open, and whether every place was filled


class Loader:
    """The batches of one rank, decoded by all cores while the last ones are learned from.

    At least one batch is decoded ahead, and as many, up to MOST_AHEAD, as AHEAD_BYTES hold. A
    picture that cannot be opened is replaced by the next of its style, and where none of a style
    opens, by the one at its place in the next style that has any: the K pictures of a group move
    together, and stay each other's positives. Each that does not open is told once. The answer
    depends on the files alone, never on which thread is first.
    """

    def __init__(
        self, pictures: Pictures, sampler: GroupSampler, *, side_px: int, rank: int, world: int
    ) -> None:
        self.pictures, self.sampler = pictures, sampler
        self.side_px, self.rank, self.world = side_px, rank, world
        self.pool = ThreadPoolExecutor(usable_cores())
        self.is_pinned = torch.cuda.is_available()
        self.told: set[int] = set()
        self.shut: dict[int, list[Bad]] = {}  # styles of which none opens: not all tried each time
        by_style = np.argsort(pictures.styles, kind="stable")
        self.rows_of_style = np.split(by_style, np.cumsum(np.bincount(pictures.styles))[:-1])

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of the steps `first` to `last`, the last not included."""
        ahead: deque[tuple[Tensor, Array, list[Filling]]] = deque()
        for step in range(first, last):
            ahead.append(self._begun(step))
            pixels = ahead[0][0]
            if len(ahead) > min(MOST_AHEAD, max(1, AHEAD_BYTES // pixels.nbytes)):
                yield self._finished(*ahead.popleft())
        while ahead:
            yield self._finished(*ahead.popleft())

    def close(self) -> None:
        """Ends the threads; what was decoded ahead is thrown away."""
        self.pool.shutdown(cancel_futures=True)

    def _begun(self, step: int) -> tuple[Tensor, Array, list[Filling]]:
        """A batch's pixels (b, side, side, 3), still to be filled, its rows, who fills them."""
        rows = slice_of_rank(self.sampler.batch(step), self.rank, self.world).copy()
        pixels = self._memory(len(rows))
        starts = range(0, len(rows), AT_ONCE)
        shares = [slice(start, start + AT_ONCE) for start in starts]
        filling = [self.pool.submit(self._fill, pixels[share], rows[share]) for share in shares]
        return pixels, rows, filling

    def _memory(self, b: int) -> Tensor:
        """Room for the pixels of a batch: pinned where a device fetches them while we go on."""
        shape = (b, self.side_px, self.side_px, 3)
        if self.is_pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        # numpy asks for huge pages: to touch the usual ones costs half as much as the decoding
        return torch.from_numpy(np.empty(shape, np.uint8))

    def _finished(self, pixels: Tensor, rows: Array, filling: list[Filling]) -> Batch:
        shares = [share.result() for share in filling]
        failures = []
        for row, bad in (bad for bads, _ in shares for bad in bads):
            if row not in self.told:
                self.told.add(row)
                failures.append(failure_of(self.pictures, row, bad))
        is_whole = all(is_filled for _, is_filled in shares)
        return Batch(pixels.permute(0, 3, 1, 2), rows, failures, is_whole)

    def _fill(self, pixels: Tensor, rows: Array) -> tuple[list[Bad], bool]:
        """Decodes the pictures of `rows`, in which it notes what is shown instead of one.

        Gives those that do not open, and whether something opened for each.
        """
        bads: list[Bad] = []
        for at, row in enumerate(rows.tolist()):
            shown, found = self._decode(pixels[at], row)
            bads += found
            if shown is None:
                return bads, False
            rows[at] = shown
        return bads, True

    def _decode(self, pixels: Tensor, row: int) -> tuple[int | None, list[Bad]]:
        """Decodes the picture of a row or its stand-in, and gives its row and those before it."""
        first = int(self.pictures.styles[row])
        place = int(np.searchsorted(self.rows_of_style[first], row))
        num_styles = len(self.rows_of_style)
        bads: list[Bad] = []
        for style in chain(range(first, num_styles), range(first)):
            shown, found = self._decode_of(style, place, pixels)
            bads += found
            if shown is not None:
                return shown, bads
        return None, bads

    def _decode_of(self, style: int, place: int, pixels: Tensor) -> tuple[int | None, list[Bad]]:
        """Decodes the picture at `place` in a style, or the next of it that opens."""
        if style in self.shut:
            return None, self.shut[style]
        bads: list[Bad] = []
        for row in np.roll(self.rows_of_style[style], -place).tolist():
            try:
                decode_into(pixels, self.pictures.names[row])
                return row, bads
            except BadRecord as bad:
                bads.append((row, bad))
        self.shut[style] = bads
        return None, bads


def whole_pictures(
    pictures: Pictures, rows: Sequence[int], side_px: int
) -> tuple[list[int], list[Tensor], list[Failure]]:
    """Those of `rows` that open, their pixels as an encoder is given them, and what does not open.

    uint8 (3, side, side), resize_to_square from whole pictures: no draft scale as in training.
    """

    def opened(row: int) -> Tensor | Failure:
        try:
            return resize_to_square(open_picture(pictures.names[row]), side_px)
        except BadRecord as bad:
            return failure_of(pictures, row, bad)

    found = list(zip(rows, parallel_map(opened, rows), strict=True))
    return (
        [row for row, pixels in found if isinstance(pixels, Tensor)],
        [pixels for _, pixels in found if isinstance(pixels, Tensor)],
        [failure for _, failure in found if isinstance(failure, Failure)],
    )


def failure_of(pictures: Pictures, row: int, bad: BadRecord) -> Failure:
    """The failed record of a picture, as the errors file holds it."""
    record = {"id": pictures.ids[row], "file_name": pictures.names[row]}
    return Failure(record, bad.kind, bad.message)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Horizontal flips and square crops of at least `crop_area` of a picture; ours."""

    flip: bool = True
    crop_area: float = 0.5

    def decoded_px(self, side_px: int) -> int:
        """The side to decode at for a tower of `side_px`."""
        return round(side_px * CROP_MARGIN) if self.crop_area < 1 else side_px

    def draws(self, seed: int, step: int, size: int) -> Tensor:
        """Random numbers (size, 4) in [0, 1) for a global batch: flip, area, left, top.

        A function of seed, step and row, so that every world size augments alike.
        """
        rng = np.random.default_rng(record_seed(seed, "crops", step))
        return torch.from_numpy(rng.random((size, 4), np.float32))


def augmented(pixels: Tensor, draws: Tensor, augmentation: Augmentation, side_px: int) -> Tensor:
    """float32 pictures (b, 3, side, side) in [-1, 1] out of uint8 ones (b, 3, s, s), on the device.

    `draws` is (b, 4) in [0, 1). Crops are square with an area from `crop_area` to 1 of the picture,
    resampled bilinearly; without crops nothing is resampled.
    """
    pictures = normalize_pixels(pixels.contiguous())
    if augmentation.crop_area == 1:
        if augmentation.flip:
            pictures = torch.where(draws[:, 0, None, None, None] < 0.5, pictures.flip(3), pictures)
        return pictures
    area = augmentation.crop_area + (1 - augmentation.crop_area) * draws[:, 1]
    scale = area.sqrt()  # of the side
    mirror = torch.where(draws[:, 0] < 0.5, -1.0, 1.0) if augmentation.flip else 1.0
    middle = (2 * draws[:, 2:] - 1) * (1 - scale[:, None])  # (b, 2) in [-1, 1]: across, down
    theta = draws.new_zeros(len(draws), 2, 3)
    theta[:, 0, 0] = scale * mirror
    theta[:, 1, 1] = scale
    theta[:, :, 2] = middle
    grid = functional.affine_grid(theta, [len(draws), 3, side_px, side_px], align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
