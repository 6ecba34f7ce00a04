"""Pictures packed once as small JPEGs in tar files, so that a loader has little to decode.

FOLDER/pictures-00000.tar   WebDataset samples of consecutive records: KEY.jpg and KEY.json
FOLDER/metadata.jsonl       the same records, so that nobody walks the tars to find them
FOLDER/pack.json            how they were packed

While it is packed, the listing is called metadata.jsonl.partial and names only whole shards.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path

from PIL import Image

from megastyle_cli.core.atomic_file import atomic_open, flush_to_disk, move_into_place
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.parallel import parallel_map
from megastyle_cli.core.record import PICTURE_KEYS, Failure, Record
from megastyle_cli.io.archive_member import picture_bytes
from megastyle_cli.io.images import decode_picture
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.training.encoder.data import checked

LISTING, UNFINISHED, OPTIONS = "metadata.jsonl", "metadata.jsonl.partial", "pack.json"
AT_ONCE = 256  # pictures held in memory, packed, before they are written


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What decides the bytes of a shard, beside its records."""

    label: str
    side_px: int
    quality: int
    num_per_shard: int


def pack(
    found: Iterable[Record | Failure],
    folder: Path,
    *,
    label: str,
    side_px: int = 448,
    quality: int = 95,
    num_per_shard: int = 8192,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Record | Failure]:
    """Writes the pictures of `found` to shards; gives each record as packed, or why it is not.

    A picture keeps its shape: its shorter side becomes `side_px`, or stays if it is less, and a
    JPEG that is small enough is copied as it is. Its sample holds the record's scalars, with the
    picture's own `width` and `height`. Results come in input order, those of a shard when it is
    whole: 8,192 pictures of 448 px take about 0.6 GB. Whoever stops reading leaves an unfinished
    folder; with `resume` whole shards of the same records stay, those that failed are tried again,
    and a finished folder is extended. Raises MegastyleError at once if `folder` exists and neither
    `resume` nor `overwrite` is given, or if it was packed in another way.
    """
    packing = Packing(label=label, side_px=side_px, quality=quality, num_per_shard=num_per_shard)
    _prepare(folder, packing, resume=resume, overwrite=overwrite)
    return _packed_shards(iter(found), folder, packing)


def _prepare(folder: Path, packing: Packing, *, resume: bool, overwrite: bool) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / OPTIONS).is_file():
            raise MegastyleError(f"{folder} exists and holds no shards", hint="give another folder")
        if not (resume or overwrite):
            raise MegastyleError(
                f"{folder} exists", hint="add --resume to continue it or --overwrite to start again"
            )
        if overwrite:
            for path in (*folder.glob("*pictures-*.tar*"), *folder.glob(f"{LISTING}*")):
                path.unlink()
        else:
            _refuse_other_packing(folder, packing)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OPTIONS).write_text(json.dumps(asdict(packing)) + "\n")
    if (folder / LISTING).exists():
        move_into_place(folder / LISTING, folder / UNFINISHED, durable=False)
    (folder / UNFINISHED).touch()


def _refuse_other_packing(folder: Path, packing: Packing) -> None:
    before = json.loads((folder / OPTIONS).read_text())
    for name, now in asdict(packing).items():
        if before.get(name) != now:
            raise MegastyleError(
                f"{folder} was packed with {name} {before.get(name)}, not {now}",
                hint="repeat the options, or --overwrite to start again",
            )


def _packed_shards(
    found: Iterator[Record | Failure], folder: Path, packing: Packing
) -> Iterator[Record | Failure]:
    standing = _standing(folder / UNFINISHED)
    with (folder / UNFINISHED).open("r+b") as listing:
        for number in count():
            records = list(islice(found, packing.num_per_shard))
            if not records:
                break
            shard = folder / f"pictures-{number:05}.tar"
            results = _as_before(records, standing.get(shard.name), packing)
            if results is None:
                standing = {}  # those that follow are made again, in their place in the listing
                listing.truncate()
                results = _write_shard(records, shard, number, packing)
            listing.writelines(dump_line(r) for r in results if not isinstance(r, Failure))
            flush_to_disk(listing)
            for result in results:
                yield result if isinstance(result, Failure) else _from_here(result, folder)
        listing.truncate()
    for tar in folder.glob("pictures-*.tar"):
        if tar.name >= f"pictures-{number:05}.tar":  # of records that are no longer there
            tar.unlink()
    move_into_place(folder / UNFINISHED, folder / LISTING, durable=True)


def _standing(listing: Path) -> dict[str, list[Record]]:
    """The records of each shard that stands; a torn last line names none."""
    standing: dict[str, list[Record]] = {}
    for line in listing.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            record = json.loads(line)
            standing.setdefault(record["file_name"].partition("#")[0], []).append(record)
    return standing


def _as_before(
    records: Sequence[Record | Failure], before: list[Record] | None, packing: Packing
) -> list[Record | Failure] | None:
    """The results of a shard that stands; None if it is to be made, or made again.

    It is made again if it holds other records, or if one that failed before can be packed now.
    """
    if before is None:
        return None
    results: list[Record | Failure] = []
    left = iter(before)
    expected = next(left, None)
    for record in records:
        if expected and not isinstance(record, Failure) and expected["id"] == record["id"]:
            results.append(expected)
            expected = next(left, None)
            continue
        again = _packed(record, packing)
        if not isinstance(again, Failure):
            return None
        results.append(again)
    return results if expected is None else None


def _write_shard(
    records: Sequence[Record | Failure], path: Path, number: int, packing: Packing
) -> list[Record | Failure]:
    """Packs the records into `path`, which is whole or absent, and gives them as they stand there.

    A member's name is its record's number in the input, so no two are alike.
    """
    results: list[Record | Failure] = []
    with (
        atomic_open(path, durable=True) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for start in range(0, len(records), AT_ONCE):
            some = records[start : start + AT_ONCE]
            for packed in parallel_map(lambda record: _packed(record, packing), some):
                key = f"{number * packing.num_per_shard + len(results):09}"
                results.append(_added(tar, path.name, key, packed))
    return results


def _added(
    tar: tarfile.TarFile, shard: str, key: str, packed: tuple[Record, bytes] | Failure
) -> Record | Failure:
    if isinstance(packed, Failure):
        return packed
    record, jpeg = packed
    for name, content in ((f"{key}.jpg", jpeg), (f"{key}.json", dump_line(record))):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return {"id": record["id"], "file_name": f"{shard}#{key}.jpg", **record}


def _packed(record: Record | Failure, packing: Packing) -> tuple[Record, bytes] | Failure:
    """The sample of a record: its scalars and its picture as JPEG."""
    usable = record if isinstance(record, Failure) else checked(record, packing.label)
    if isinstance(usable, Failure):
        return usable
    name = usable["file_name"]
    try:
        content = picture_bytes(name)
        picture = decode_picture(name, content)
    except BadRecord as bad:
        return Failure(usable, bad.kind, bad.message)
    told = {
        key: value
        for key, value in usable.items()
        if key not in PICTURE_KEYS
        and not key.startswith("_")
        and isinstance(value, str | int | float | None)
    }
    if min(picture.size) <= packing.side_px and _is_plain_jpeg(content):
        jpeg = content
    else:
        picture = _shrunk(picture, packing.side_px)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=packing.quality)
        jpeg = buffer.getvalue()
    return {**told, "width": picture.width, "height": picture.height}, jpeg


def _is_plain_jpeg(content: bytes) -> bool:
    """Whether these are the bytes of an upright RGB JPEG, which every reader understands."""
    with Image.open(io.BytesIO(content)) as image:
        return image.format == "JPEG" and image.mode == "RGB" and not image.getexif()


def _shrunk(picture: Image.Image, side_px: int) -> Image.Image:
    """The whole picture with a shorter side of `side_px`; a smaller one as it is."""
    scale = side_px / min(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(side_px, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _from_here(record: Record, folder: Path) -> Record:
    """A record of the listing with its picture's name from the working directory."""
    return {**record, "file_name": str(folder / record["file_name"])}
