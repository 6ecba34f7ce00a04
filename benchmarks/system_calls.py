"""Metadata operations per record and per task: what an array asks of a shared file system.

Run: python benchmarks/system_calls.py [COUNT]
Each command runs twice under strace, over COUNT and 2 x COUNT records; the difference is what a
record costs, the rest what a task costs. Only calls on files of the inputs and outputs count, and
apart from them those of the program itself, which lie on a shared file system, too, if its
environment does. Heartbeats of owner files are left out: they depend on time, not on records.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "examples" / "pictures"
MEGASTYLE = (sys.executable, "-m", "megastyle_cli")

# calls by what they ask of a file server
KINDS = {
    "open": {"open", "openat", "openat2", "creat"},
    "stat": {"stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"},
    "list": {"getdents", "getdents64"},
    "rename": {"rename", "renameat", "renameat2"},
    "create": {"mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat"},
    "delete": {"unlink", "unlinkat", "rmdir"},
    "sync": {"fsync", "fdatasync", "sync_file_range"},
    "touch": {"utimensat", "futimesat", "chmod", "fchmodat", "fchmod", "ftruncate"},
    "lock": {"flock", "fcntl"},
    "read": {"read", "pread64", "readv", "preadv", "preadv2", "copy_file_range", "sendfile"},
    "map": {"mmap"},
    "write": {"write", "pwrite64", "writev", "pwritev"},
}
METADATA = [kind for kind in KINDS if kind not in ("read", "map", "write", "lock")]
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}
CALL = re.compile(r"(\d+) +(\w+)\((.*)", re.DOTALL)
RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)", re.DOTALL)
LOCKS = ("F_SETLK", "F_SETLKW", "F_OFD_SETLK")


@dataclass
class Calls:
    """What a process and its children asked of the files in one place."""

    kinds: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0  # mapped ones included
    opened: set[str] = field(default_factory=set)  # files, each once

    def add(self, name: str, rest: str) -> None:
        """Counts one call, given its arguments and result."""
        kind = KIND_OF.get(name)
        if kind is None or (name == "fcntl" and not any(lock in rest for lock in LOCKS)):
            return
        arguments, _, result = rest.rpartition(" = ")
        number = result.split("<")[0].split()[0]
        self.kinds[kind] += 1
        if kind == "read" and number.isdecimal():
            self.bytes_read += int(number)
        elif kind == "map" and "<" in arguments:
            self.bytes_read += int(arguments.split(",")[1])
        elif kind == "open" and (path := re.search(r"<(.*)>", result)):
            self.opened.add(path[1])

    def __sub__(self, other: "Calls") -> Counter[str]:
        less = Counter(self.kinds)
        less.subtract(other.kinds)
        return less


def trace(
    words: Sequence[str | Path], places: Sequence[Path], *, code: int = 0
) -> tuple[list[Calls], Calls]:
    """The calls of a command on files in each of `places` (whole paths), and on all others.

    Raises CalledProcessError if it does not end with `code`.
    """
    if not shutil.which("strace"):
        sys.exit("this benchmark needs strace")
    names = [call for calls in KINDS.values() for call in calls]
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "calls")
        # -y: paths of descriptors; -s 0: no data; the filter spares all other calls the stop
        traced = ["strace", "-f", "-y", "-s", "0", "-qq", "--seccomp-bpf", "-o", str(log)]
        known = ",".join(f"?{name}" for name in names)
        command = [*traced, "-e", f"trace={known}", *map(str, words)]
        ended = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if ended.returncode != code:
            sys.stderr.write(ended.stderr)
            raise subprocess.CalledProcessError(ended.returncode, command)
        found, others = [Calls() for _ in places], Calls()
        whole = [str(place) for place in places]
        with log.open(errors="replace") as lines:
            for name, rest in calls_of(lines):
                which = next((n for n, place in enumerate(whole) if place in rest), None)
                (others if which is None else found[which]).add(name, rest)
    return found, others


def calls_of(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The name of each call, and its arguments and result; interrupted lines are put together."""
    begun: dict[str, tuple[str, str]] = {}
    for line in lines:
        if match := CALL.match(line):
            process, name, rest = match.groups()
            if rest.rstrip().endswith("<unfinished ...>"):
                begun[process] = name, rest.rstrip().removesuffix("<unfinished ...>")
            else:
                yield name, rest
        elif (match := RESUMED.match(line)) and match[1] in begun:
            name, first = begun.pop(match[1])
            yield name, first + match[2]


def write_pictures(folder: Path, count: int) -> None:
    """Small pictures, all different: the contents of the examples, cropped."""
    sources = sorted((PICTURES / "contents").glob("*.jpg"))
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources)
            small = source.convert("RGB").resize((128, 128), box=(shift, shift, 300, 300))
            small.save(path, quality=85)


def write_pairs(folder: Path, count: int) -> None:
    """pairs.jsonl of `count` pairs of the example styles and contents."""
    for name, kind in (("styles", "style"), ("contents", "content")):
        target = folder / f"{name}.jsonl"
        subprocess.run(
            [*MEGASTYLE, "caption", PICTURES / name, "--kind", kind, "-o", target, "-q"], check=True
        )
    words = ["pair", folder / "styles.jsonl", "--contents", folder / "contents.jsonl", "-q"]
    subprocess.run(
        [*MEGASTYLE, *words, "--per-style", "28", "-o", folder / "pairs.jsonl"], check=True
    )
    lines = (folder / "pairs.jsonl").read_text().splitlines(keepends=True)
    (folder / "pairs.jsonl").write_text("".join(lines[:count]))


def write_training_data(folder: Path, pictures: Path) -> None:
    """The pictures in styles of 8, by a listing and in one tar; and a small tower's config."""
    names = sorted(pictures.rglob("*.jpg"))
    records = [{"id": path.stem, "style_id": f"s{n // 8}"} for n, path in enumerate(names)]
    with (folder / "training.jsonl").open("w") as listing:
        for path, record in zip(names, records, strict=True):
            listing.write(json.dumps({**record, "file_name": str(path)}) + "\n")
    with tarfile.open(folder / "training.tar", "w") as tar:
        for path, record in zip(names, records, strict=True):
            tar.add(path, path.name)
            text = json.dumps(record).encode()
            member = tarfile.TarInfo(f"{path.stem}.json")
            member.size = len(text)
            tar.addfile(member, BytesIO(text))
    tower = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    (folder / "tower.json").write_text(json.dumps({**tower, **layers}))


def main() -> None:
    """Prints a table of the operations per record, and one per task."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 160
    assert count % 8 == 0, "styles have 8 pictures"
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, {os.cpu_count()} cores, {count} and 2 x {count}\n")
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        for times in (1, 2):
            inputs = base / f"in{times}"
            inputs.mkdir()
            write_pictures(inputs / "pictures", times * count)
            write_pairs(inputs, times * count)
            write_training_data(inputs, inputs / "pictures")
        measured = {name: operations(base, words, count) for name, words in COMMANDS.items()}
    for title, each in (("a record", 0), ("a task", 1), ("a task, the program", 2)):
        out(f"| {title} | {' | '.join(METADATA)} | lock | all |\n")
        for name, found in measured.items():
            per = found[each]
            values = [per[kind] for kind in [*METADATA, "lock"]]
            cells = " | ".join(f"{value:.1f}" for value in [*values, sum(values)])
            out(f"| {name} | {cells} |\n")


SYNTH = ("synth", "{in}/pairs.jsonl", "--size", "64", "--shard", "0/1")
# the same pictures both times, and twice the steps: what a picture of a batch costs
TRAIN = (
    *("--init", "{in2}/tower.json", "--text-weight", "0", "--holdout", "0"),
    *("--global-batch", "8", "--images-per-style", "4", "--steps", "{steps}"),
)
COMMANDS = {
    "caption": ("caption", "{in}/pictures", "--kind", "style", "--shard", "0/1"),
    "synth, png": SYNTH,
    "synth, webdataset": (*SYNTH, "--format", "webdataset"),
    "train-encoder, files": ("train-encoder", "{in2}/training.jsonl", *TRAIN),
    "train-encoder, tar": ("train-encoder", "{in2}/training.tar", *TRAIN),
}


def operations(
    base: Path, words: Sequence[str], count: int
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Operations per record, per task, and per task on files of the program."""
    seen: list[Calls] = []
    for times in (1, 2):
        values = {"{in}": base / f"in{times}", "{in2}": base / "in2", "{steps}": times * count // 8}
        command = list(words)
        for name, value in values.items():
            command = [word.replace(name, str(value)) for word in command]
        output = base / "out"
        (calls, *_), program = trace([*MEGASTYLE, *command, "-q", "-o", str(output)], [base])
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        seen.append(calls)
    kinds = [*METADATA, "lock"]
    record = {kind: (seen[1] - seen[0])[kind] / count for kind in kinds}
    task = {kind: seen[0].kinds[kind] - count * record[kind] for kind in kinds}
    return record, task, {kind: float(program.kinds[kind]) for kind in kinds}


if __name__ == "__main__":
    main()
