"""Damaged files of every kind that a command reads, and images that promise too much."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import shutil
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.torture.commands import FORMS
from benchmarks.torture.inputs import NUM_TEXTS, draw
from benchmarks.torture.lab import Lab, Workplace
from benchmarks.torture.mutations import damage
from benchmarks.torture.trial import Outcome, Trial

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT_S = 60.0
MAX_GROWTH_MIB = 1200
IMAGES_IN_A_RUN = 30
TEXT_COMMANDS = (
    "dedup {} -o out.jsonl",
    "cluster {} -o out.jsonl",
    "pair {} --contents {} --per-style 2 -o out.jsonl",
)
RECORD_COMMANDS = (
    "caption {} -o out.jsonl",
    "synth {} --size 32 -o out",
    "transfer {} --size 32 -o out",
    "retrieve {} --index {} -o out.jsonl",
    "eval {} -o out.json",
    "eval {} --each -o out.jsonl",
    "dedup {} --on content -o out.jsonl",
)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd.compress,
}
IMAGE_FORMATS: dict[str, dict[str, Any]] = {
    **{"jpg": {}, "png": {}, "gif": {}, "bmp": {}, "tif": {"compression": "tiff_lzw"}},
    **{"webp": {"lossless": True}, "avif": {}, "ico": {}, "ppm": {}, "jp2": {}, "tga": {}},
}


@dataclass(frozen=True)
class Target:
    """Files that a command reads: `write` makes good ones in a folder and returns which of them
    may be damaged; `commands` read them."""

    write: Callable[[Lab, Path], Sequence[Path]]
    commands: Sequence[str]


def trials(count: int) -> Iterator[Trial]:
    """`count` trials, of all targets in turn, and every oversized image."""
    targets = list(TARGETS.items())
    for number in range(count):
        name, target = targets[number % len(targets)]
        yield Trial("malformed", f"{name}.{number}", partial(read_damaged, target=target))
    for name in BOMBS:
        yield Trial("malformed", f"bomb-{name}", partial(read_bomb, name=name))


def read_damaged(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, target: Target
) -> None:
    """Damages one file, or every image, and runs a command that reads it."""
    files = list(target.write(lab, place.folder))
    chosen = files if target is TARGETS["images"] else [rng.choice(files)]
    for file in chosen:
        file.write_bytes(damage(file.read_bytes(), file.name, rng))
    outcome.tried = len(chosen)
    command = rng.choice(target.commands)
    outcome.steps.append(f"{command} with {chosen[0].name} damaged")
    _run(place, outcome, command.replace("{in}", str(lab.inputs)).split())


def read_bomb(lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, name: str) -> None:
    """Opens an image that is small as a file and huge in memory."""
    (place.folder / name).write_bytes(BOMBS[name]())
    outcome.tried = 1
    _run(place, outcome, ["caption", name, "-o", "out.jsonl"])


def _run(place: Workplace, outcome: Outcome, words: Sequence[str]) -> None:
    """A command that must end soon, within its memory, and in words."""
    ended = place.wait(place.start(words), LIMIT_S, MAX_GROWTH_MIB)
    outcome.steps.append(f"{ended.code}, {ended.growth_mib} MiB: {ended.last_words}")
    outcome.check_words(ended)
    if ended.growth_mib > MAX_GROWTH_MIB:
        outcome.add("memory", f"more than {MAX_GROWTH_MIB} MiB")
    else:
        outcome.check_code(ended, (0, 2, 3), "a damaged file")
    if "\x1b" in ended.words:
        outcome.add("leak", "an escape sequence on stderr")


def _records(lab: Lab, folder: Path) -> list[dict[str, Any]]:
    """Records of pairs whose images are in `folder`."""
    shutil.copytree(lab.inputs / "images", folder / "images")
    lines = (lab.inputs / "pairs.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _jsonl(lab: Lab, folder: Path) -> Sequence[Path]:
    _records(lab, folder)
    return [Path(shutil.copy(lab.inputs / "pairs.jsonl", folder / "in.jsonl"))]


def _texts(lab: Lab, folder: Path) -> Sequence[Path]:
    return [Path(shutil.copy(lab.inputs / "texts.jsonl", folder / "in.jsonl"))]


def _packed(suffix: str) -> Callable[[Lab, Path], Sequence[Path]]:
    def write(lab: Lab, folder: Path) -> Sequence[Path]:
        file = folder / f"in.jsonl.{suffix}"
        file.write_bytes(PACKERS[suffix]((lab.inputs / "texts.jsonl").read_bytes()))
        return [file]

    return write


def _csv(lab: Lab, folder: Path) -> Sequence[Path]:
    records, file = _records(lab, folder), folder / "in.csv"
    with file.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(records[0]))
        table.writeheader()
        table.writerows(records)
    return [file]


def _parquet(lab: Lab, folder: Path) -> Sequence[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {**record, "image": {"bytes": (folder / record["file_name"]).read_bytes(), "path": None}}
        for record in _records(lab, folder)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
    return [folder / "in.parquet"]


def _tar(lab: Lab, folder: Path) -> Sequence[Path]:
    with tarfile.open(folder / "in.tar", "w") as archive:
        for record in _records(lab, folder):
            stem = record["content_id"]
            archive.add(folder / record["file_name"], f"{stem}.png")
            content = json.dumps(record).encode()
            member = tarfile.TarInfo(f"{stem}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return [folder / "in.tar"]


def _images(lab: Lab, folder: Path) -> Sequence[Path]:
    """Good images in all formats, in a folder of their own."""
    (folder / "in").mkdir()
    files = []
    for seed in range(IMAGES_IN_A_RUN):
        suffix = list(IMAGE_FORMATS)[seed % len(IMAGE_FORMATS)]
        files.append(folder / "in" / f"{seed}.{suffix}")
        image = draw(seed, (48, 32))
        image.save(files[-1], **IMAGE_FORMATS[suffix])
    return files


def _npy(lab: Lab, folder: Path) -> Sequence[Path]:
    lines = (lab.inputs / "texts.jsonl").read_text().splitlines()
    with (folder / "in.jsonl").open("w") as file:
        for row, line in enumerate(lines):
            file.write(json.dumps({**json.loads(line), "row": row}) + "\n")
    vectors = np.random.default_rng(0).standard_normal((NUM_TEXTS, 16), dtype=np.float32)
    np.save(folder / "v.npy", vectors)
    return [folder / "v.npy"]


def _left_by(form: str, *names: str) -> Callable[[Lab, Path], Sequence[Path]]:
    """The files called `names` (globs) of an undisturbed run, copied."""

    def write(lab: Lab, folder: Path) -> Sequence[Path]:
        lab.reference(FORMS[form])
        left = lab.root / "reference" / form / "w"
        shutil.copytree(left, folder, dirs_exist_ok=True)
        return sorted(path for name in names for path in folder.glob(name) if path.is_file())

    return write


def _unfinished(lab: Lab, folder: Path) -> Sequence[Path]:
    """A caption run that was stopped near its end."""
    _left_by("caption")(lab, folder)
    (folder / "stats.json").unlink()
    partial_file = (folder / "out.jsonl").rename(folder / "out.jsonl.partial")
    return [partial_file, folder / "out.run.json", folder / "out.errors.jsonl"]


def _training(lab: Lab, folder: Path) -> Sequence[Path]:
    """A training that was stopped before it wrote its encoder."""
    files = _left_by("train-encoder", "out/*.json*", "out/checkpoints/*/*")(lab, folder)
    shutil.rmtree(folder / "out" / "encoder")
    return files


def _resume(form: str) -> str:
    return f"{FORMS[form].arguments.replace('{}', '{in}')} --resume"


def _on(file: str, commands: Sequence[str]) -> list[str]:
    return [command.replace("{}", file) for command in commands]


TARGETS: dict[str, Target] = {
    "images": Target(_images, _on("in", RECORD_COMMANDS[:1] + RECORD_COMMANDS[3:5])),
    "jsonl": Target(_jsonl, _on("in.jsonl", RECORD_COMMANDS)),
    "texts": Target(_texts, _on("in.jsonl", TEXT_COMMANDS)),
    "csv": Target(_csv, _on("in.csv", RECORD_COMMANDS)),
    "parquet": Target(_parquet, _on("in.parquet", RECORD_COMMANDS)),
    "tar": Target(_tar, _on("in.tar", RECORD_COMMANDS)),
    **{
        suffix: Target(_packed(suffix), _on(f"in.jsonl.{suffix}", TEXT_COMMANDS))
        for suffix in PACKERS
    },
    "npy": Target(_npy, ["cluster in.jsonl --vectors-from v.npy --levels 4,2 -o out.jsonl"]),
    "index": Target(
        _left_by("index", "saved/*"),
        ["retrieve {in}/images --index saved", "retrieve --index saved --add {in}/more"],
    ),
    "encoder": Target(
        _left_by("train-encoder", "out/encoder/*"),
        [
            "retrieve {in}/images --index {in}/more --model out/encoder",
            "eval {in}/images --model out/encoder/encoder.pth",
        ],
    ),
    "training": Target(_training, [_resume("train-encoder")]),
    **{
        f"lora-{form}": Target(
            _left_by("train-flux", f"out/lora/{name}"),
            [f"transfer --lora out/lora/{name} --to {form} -o new.safetensors"],
        )
        for name, form in (
            ("megastyle_flux.safetensors", "diffusers"),
            ("pytorch_lora_weights.safetensors", "official"),
        )
    },
    "caption-run": Target(_unfinished, [_resume("caption")]),
    "synth-run": Target(
        _left_by("synth-filters", "out/*.json*", "out/images/*/*"), [_resume("synth-filters")]
    ),
    "tar-run": Target(_left_by("synth-tar", "out/*"), [_resume("synth-tar")]),
    "pack": Target(
        _left_by("pack", "out/*"),
        [
            "train-encoder out --init {in}/tower.json --steps 2 --global-batch 8"
            " --images-per-style 2 --holdout 0.2 --text-weight 0 -o new"
        ],
    ),
    "benchmark": Target(
        _left_by("eval-benchmark", "bench/*"), ["eval --benchmark bench -o new.json"]
    ),
    "cache": Target(
        _left_by("dedup-cache", "cache/*/*"),
        ["dedup {in}/texts.jsonl --cache cache -o new.jsonl"],
    ),
}


def _png(width: int, height: int, row: bytes, colours: int, bits: int = 8, text: int = 0) -> bytes:
    """A PNG of equal rows, with a compressed text of `text` bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    packer = zlib.compressobj(1)
    rows = [packer.compress((b"\0" + row) * 100) for _ in range(height // 100 or 1)]
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    words = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(text), 1)) if text else b""
    pixels = chunk(b"IDAT", b"".join(rows) + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + words + pixels + chunk(b"IEND", b"")


def _tiff(mode: str, side: int) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, "TIFF", compression="tiff_adobe_deflate")
    return stream.getvalue()


def _webp() -> bytes:
    """A lossless WebP of one colour says its size in 28 bits, and nothing about its pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "WEBP", lossless=True)
    content = bytearray(stream.getvalue())
    at = content.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", content, at)
    size = (16383 - 1) | (10900 - 1) << 14
    struct.pack_into("<I", content, at, bits & ~0x0FFFFFFF | size)
    return bytes(content)


def _jpeg_of_scans(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (2000, 2000)).save(stream, "JPEG", quality=50, progressive=True)
    content = stream.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * number + b"\xff\xd9"


BOMBS: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: _png(13000, 13000, bytes(3 * 13000), 2),
    "rgba16.png": lambda: _png(9000, 9000, bytes(8 * 9000), 6, 16),
    "palette1.png": lambda: _png(13400, 13400, bytes(1675), 0, 1),
    "line.png": lambda: _png(179_999_999, 1, b"", 2),
    "huge.png": lambda: _png(40000, 40000, b"", 2),
    "text.png": lambda: _png(10, 10, bytes(30), 2, text=200 << 20),
    "float.tif": lambda: _tiff("F", 13000),
    "16bit.tif": lambda: _tiff("I;16", 13000),
    "one_colour.webp": _webp,
    "scans.jpg": lambda: _jpeg_of_scans(2000),
    "long.gif": lambda: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff"
        b"\0\x02\x02D\x01\0;"
    ),
    "comment.ppm": lambda: b"P6\n#" + b"a" * 50_000_000 + b"\n1 1 255\n...",
}
