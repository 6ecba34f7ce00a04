"""Image shards: images packed once as small JPEGs in tar files, so that loading them is cheap.

FOLDER/pictures-00000.tar   WebDataset samples of consecutive records: KEY.jpg and KEY.json
FOLDER/metadata.jsonl       the same records, so that nothing has to scan the tar files
FOLDER/pack.json            the packing options

During packing the listing is called metadata.jsonl.partial and names only complete shards.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path

from PIL import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import atomic_open, flush_to_disk, move_into_place
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.json_file import complete_objects, read_object
from megastyle_cli.core.record import PICTURE_KEYS, Failure, Record
from megastyle_cli.io.color_profile import is_srgb
from megastyle_cli.io.formats import picture_bytes
from megastyle_cli.io.image_repair import JPEG_START
from megastyle_cli.io.images import decode_picture
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.training.encoder.data import check_image_record

LISTING, PARTIAL_LISTING, OPTIONS = "metadata.jsonl", "metadata.jsonl.partial", "pack.json"
PACKED_PX = 448  # shorter side: 384 px after the crops of train-encoder
BATCH = 256  # packed images held in memory before they are written


@dataclass(frozen=True, kw_only=True)
class PackingOptions:
    """The options that, with the records, determine the bytes of a shard."""

    label: str | None  # a key that every record needs besides file_name
    side_px: int
    quality: int
    num_per_shard: int


def pack(
    results: Iterable[Record | Failure],
    folder: Path,
    *,
    label: str | None,
    side_px: int = PACKED_PX,
    quality: int = 95,
    num_per_shard: int = 8192,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Record | Failure]:
    """Writes the images of records to shards; yields each record as packed, or its failure.

    An image keeps its aspect ratio: its shorter side becomes `side_px`, or stays if it is smaller,
    and a JPEG that is small enough is copied unchanged. Its sample holds the record's scalars, with
    the packed image's `width` and `height`. Results come in input order, those of a shard when it
    is complete: 8,192 images of 448 px take about 0.6 GB. Stopping early leaves an unfinished
    folder; with `resume` complete shards of the same records are kept, records that failed are
    tried again, and a finished folder is extended. Raises MegastyleError at once if `folder` exists
    and neither `resume` nor `overwrite` is given, or if it was packed with other options.
    """
    options = PackingOptions(
        label=label, side_px=side_px, quality=quality, num_per_shard=num_per_shard
    )
    _prepare(folder, options, resume=resume, overwrite=overwrite)
    return _pack_shards(iter(results), folder, options)


def _prepare(folder: Path, options: PackingOptions, *, resume: bool, overwrite: bool) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / OPTIONS).is_file():
            raise MegastyleError(f"{folder} exists but holds no shards", hint="give another folder")
        if not (resume or overwrite):
            raise MegastyleError(
                f"{folder} exists", hint="add --resume to continue it or --overwrite to start again"
            )
        if overwrite:
            for path in (*folder.glob("*pictures-*.tar*"), *folder.glob(f"{LISTING}*")):
                path.unlink()
        else:
            _check_same_options(folder, options)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OPTIONS).write_text(json.dumps(asdict(options)) + "\n")
    if (folder / LISTING).exists():
        move_into_place(folder / LISTING, folder / PARTIAL_LISTING)
    (folder / PARTIAL_LISTING).touch()


def _check_same_options(folder: Path, options: PackingOptions) -> None:
    before = read_object(folder / OPTIONS)
    for name, now in asdict(options).items():
        if before.get(name) != now:
            raise MegastyleError(
                f"{folder} was packed with {name} {before.get(name)}, not {now}",
                hint="give the same options, or --overwrite to start again",
            )


def _pack_shards(
    results: Iterator[Record | Failure], folder: Path, options: PackingOptions
) -> Iterator[Record | Failure]:
    existing = _listed_records(folder / PARTIAL_LISTING)
    with (folder / PARTIAL_LISTING).open("r+b") as listing:
        for number in count():
            records = list(islice(results, options.num_per_shard))
            if not records:
                break
            shard = folder / f"pictures-{number:05}.tar"
            packed = _reusable_results(records, existing.get(shard.name), options)
            if packed is None:
                existing = {}  # the shards after this one are written and listed again
                listing.truncate()
                packed = _write_shard(records, shard, number, options)
            listing.writelines(dump_line(r) for r in packed if not isinstance(r, Failure))
            flush_to_disk(listing, folder / PARTIAL_LISTING)
            for result in packed:
                yield result if isinstance(result, Failure) else _with_folder(result, folder)
        listing.truncate()
    for tar in folder.glob("pictures-*.tar"):
        if tar.name >= f"pictures-{number:05}.tar":  # of records that are no longer in the input
            tar.unlink()
    move_into_place(folder / PARTIAL_LISTING, folder / LISTING)


def _listed_records(listing: Path) -> dict[str, list[Record]]:
    """The records listed for each existing shard; an incomplete last line is ignored."""
    listed: dict[str, list[Record]] = {}
    for record in complete_objects(listing, id=str, file_name=str):
        listed.setdefault(record["file_name"].partition("#")[0], []).append(record)
    return listed


def _reusable_results(
    records: Sequence[Record | Failure], listed: list[Record] | None, options: PackingOptions
) -> list[Record | Failure] | None:
    """The results of an existing shard; None if it has to be written.

    It is written again if it holds other records, or if one that failed before can be packed now.
    """
    if listed is None:
        return None
    results: list[Record | Failure] = []
    remaining = iter(listed)
    expected = next(remaining, None)
    for record in records:
        if expected and not isinstance(record, Failure) and expected["id"] == record["id"]:
            results.append(expected)
            expected = next(remaining, None)
            continue
        retried = _sample(record, options)
        if not isinstance(retried, Failure):
            return None
        results.append(retried)
    return results if expected is None else None


def _write_shard(
    records: Sequence[Record | Failure], path: Path, number: int, options: PackingOptions
) -> list[Record | Failure]:
    """Packs the records into the tar file `path` atomically; the records as listed for it.

    A member is named by its record's number in the input, so names are unique.
    """
    results: list[Record | Failure] = []
    with (
        atomic_open(path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            for sample in parallel_map(lambda record: _sample(record, options), batch):
                key = f"{number * options.num_per_shard + len(results):09}"
                results.append(_add_sample(tar, path.name, key, sample))
    return results


def _add_sample(
    tar: tarfile.TarFile, shard: str, key: str, sample: tuple[Record, bytes] | Failure
) -> Record | Failure:
    if isinstance(sample, Failure):
        return sample
    record, jpeg = sample
    for name, content in ((f"{key}.jpg", jpeg), (f"{key}.json", dump_line(record))):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return {"id": record["id"], "file_name": f"{shard}#{key}.jpg", **record}


def _sample(record: Record | Failure, options: PackingOptions) -> tuple[Record, bytes] | Failure:
    """The sample of a record: its scalars, and its image as JPEG."""
    usable = record if isinstance(record, Failure) else check_image_record(record, options.label)
    if isinstance(usable, Failure):
        return usable
    name = usable["file_name"]
    try:
        content = picture_bytes(name)
        image = decode_picture(name, content)
    except BadRecord as error:
        return Failure.of(usable, error)
    scalars = {
        key: value
        for key, value in usable.items()
        if key not in PICTURE_KEYS
        and not key.startswith("_")
        and isinstance(value, str | int | float | None)
    }
    if min(image.size) <= options.side_px and _is_plain_jpeg(content):
        jpeg = content
    else:
        image = _downscale(image, options.side_px)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=options.quality)
        jpeg = buffer.getvalue()
    return {**scalars, "width": image.width, "height": image.height}, jpeg


def _is_plain_jpeg(content: bytes) -> bool:
    """Whether these are the bytes of an upright sRGB JPEG, which every decoder reads."""
    if not content.startswith(JPEG_START):
        return False
    with Image.open(io.BytesIO(content)) as image:
        return image.mode == "RGB" and is_srgb(image) and not image.getexif()


def _downscale(image: Image.Image, side_px: int) -> Image.Image:
    """The whole image with a shorter side of `side_px`; a smaller one unchanged."""
    scale = side_px / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(side_px, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _with_folder(record: Record, folder: Path) -> Record:
    """A listed record with its image's name relative to the working directory."""
    return {**record, "file_name": str(folder / record["file_name"])}
