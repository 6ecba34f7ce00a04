"""What a run has left, as hashes that two runs of one command share."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

CLOCK = ("seconds", "images_per_s", "samples_per_s")  # keys of metrics that depend on the clock
# Its names are drawn at random: each process keeps its own, and any of them may be missing.
CACHE = "cache/"
# Saves reading all rows of an index, and is used only if it fits them; a full disk may prevent it.
LOOKUP = ("lookup.bin", "lookup.bin.json")
CHECKPOINT = re.compile(r"(.*checkpoints/)step-\d+")  # a signal adds one: only the last must agree
# Under its final name such a file is whole, at any moment.
WHOLE = (".png", ".jpg", ".npy", ".html", ".tar", ".parquet", ".safetensors", ".pth")

Tree = dict[str, str]


def read_tree(folder: Path) -> Tree:
    """Hashes of all files by their path; links by where they lead; folders that are empty."""
    tree = {}
    paths = sorted(folder.rglob("*"))
    last = {found[1]: found[0] for path in paths if (found := CHECKPOINT.match(str(path)))}
    for path in paths:
        name = str(path.relative_to(folder))
        found = CHECKPOINT.match(str(path))
        is_derived = name.startswith(CACHE) or path.name in LOOKUP
        if is_derived or (found and found[0] != last[found[1]]):
            continue
        if path.is_symlink():
            tree[name] = f"-> {os.readlink(path)}"  # noqa: PTH115
        elif path.is_file():
            tree[name] = _hash(path)
        elif not any(path.iterdir()):
            tree[f"{name}/"] = "empty"
    return tree


def differences(tree: Tree, reference: Tree) -> str:
    """Which files changed, are missing, or are too many; empty if none."""
    names = {
        "changed": [name for name in tree if reference.get(name, tree[name]) != tree[name]],
        "missing": sorted(reference.keys() - tree.keys()),
        "extra": sorted(tree.keys() - reference.keys()),
    }
    return "; ".join(f"{how} {', '.join(found[:5])}" for how, found in names.items() if found)


def not_whole(tree: Tree, reference: Tree, final: str) -> list[str]:
    """Files of an interrupted run that have their final name and other bytes."""
    return [
        name
        for name in tree.keys() & reference.keys()
        if (name == final or name.endswith(WHOLE)) and tree[name] != reference[name]
    ]


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder that a command may be changing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size + 1  # noqa: PTH118
            except OSError:
                continue
    return total


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "stats.json":
        content = _counts(json.loads(content))
    elif path.name == "metrics.jsonl":
        content = b"".join(map(_without_clock, content.splitlines()))
    elif path.suffix == ".pt" and is_zipfile(path):  # else it was cut off
        content = b"".join(_checkpoint_values(path))
    return hashlib.sha256(content).hexdigest()[:16]


def _counts(stats: dict[str, Any]) -> bytes:
    """What a run shares with one that was interrupted and resumed."""
    return json.dumps([stats["command"], stats["done_before"] + stats["in"]]).encode()


def _without_clock(line: bytes) -> bytes:
    try:
        metrics = json.loads(line)
    except ValueError:
        return line
    return json.dumps([(key, value) for key, value in metrics.items() if key not in CLOCK]).encode()


def _checkpoint_values(path: Path) -> Iterator[bytes]:
    """The tensors of a checkpoint and the rest of it, by value.

    Its pickle repeats a string or refers to it, as it happens to be one object in memory or two.
    """
    import torch

    for value in _leaves(torch.load(path, weights_only=True)):
        is_tensor = isinstance(value, torch.Tensor)
        yield value.contiguous().numpy().tobytes() if is_tensor else repr(value).encode()


def _leaves(value: Any) -> Iterator[Any]:
    """The keys and values of nested dicts and lists, in their order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
