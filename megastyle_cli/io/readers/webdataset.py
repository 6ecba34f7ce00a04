"""WebDataset tars: consecutive members that share a key, such as 01.jpg and 01.json, are a sample.

A tar has no directory, so its headers are read once; after that each member is one read at its
offset, from any thread. Nothing is unpacked.
"""

import logging
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.formats import PICTURE_SUFFIXES, counted
from megastyle_cli.io.readers.jsonl import read_lines
from megastyle_cli.io.readers.tar_samples import sample_members, suffix_of

log = logging.getLogger(__name__)
TEXTS = ("caption", "txt")  # members with the `text`; the last one counts
ARCHIVES = (".tar", ".tgz", ".gz", ".zip", ".zst", ".xz", ".bz2")
BLOCK = 512  # bytes; a tar consists of such blocks
_scanning = Lock()


@dataclass
class Members:
    """The members of a tar in order, and what is wrong with some of them or with the tar."""

    where: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset and size by name
    problems: list[tuple[str, str]] = field(default_factory=list)  # name and reason
    damage: str = ""  # to the tar itself, after the last member found


def read(path: Path) -> Iterator[Record | Failure]:
    """The samples in order: the keys of a .json, and members as `text`, `cls` and `key`.

    `text` is a .txt or .caption, `cls` a .cls, `key` the sample's key. `file_name` is relative to
    the tar's folder. Of several pictures in a sample the first is used, in the order of
    PICTURE_SUFFIXES, double suffixes last, with one warning; other members that are not read are
    counted in one line. Raises MegastyleError at once if this is not a tar; damage after its first
    member is a Failure at the end.
    """
    try:
        tarfile.open(path, "r:").close()
    except (tarfile.TarError, ValueError, OverflowError) as error:
        what = (
            "is empty" if path.stat().st_size == 0 else "is not an uncompressed tar, or is damaged"
        )
        raise MegastyleError(f"{path} {what}", hint="create it again") from error
    return _samples(path)


def count(path: Path) -> int | None:
    """None: a tar has no directory."""
    return None


def holds_pictures(path: Path) -> bool:
    """True: a tar's samples bring their pictures."""
    return True


def picture_bytes(container: str, member: str) -> bytes:
    """The bytes of one member. Raises BadRecord if there is none or it is cut off."""
    members = _members(container)
    if member not in members.where:
        problems = {**dict(members.problems), "": members.damage}
        why = problems.get(member) or "does not exist"
        raise BadRecord("bad_image", f"{container}#{member} {why}")
    offset, size = members.where[member]
    if size > max_item_bytes():
        raise BadRecord("bad_image", too_large(f"{container}#{member}", size))
    handle = os.open(container, os.O_RDONLY)
    try:
        content = os.pread(handle, size, offset)
    finally:
        os.close(handle)
    if len(content) < size:
        cut = f"{container}#{member} is cut off after {len(content)} bytes"
        raise BadRecord("bad_image", cut)
    return content


def has_picture(container: str, member: str) -> bool:
    """Whether the tar has such a member. Raises MegastyleError if this is not a tar."""
    try:
        return member in _members(container).where
    except tarfile.TarError as error:
        raise MegastyleError(
            f"{container} is not an uncompressed tar", hint="create it again"
        ) from error


def _samples(path: Path) -> Iterator[Record | Failure]:
    members = _members(str(path))
    unused: set[str] = set()  # suffixes of further pictures
    unread: Counter[str] = Counter()
    for key, names in sample_members(members.where):
        yield _sample(path, key, {suffix_of(key, name): name for name in names}, unused, unread)
    if unread:
        log.warning("%s: skipped members: %s", path, counted(unread))
    for name, why in members.problems:
        yield _failure(f"{path}#{name}", why)
    if members.damage:
        yield _failure(str(path), members.damage)


def _sample(
    path: Path, key: str, names: dict[str, str], unused: set[str], unread: Counter[str]
) -> Record | Failure:
    """The record of a sample, whose members are given by suffix."""
    ranks = {suffix: _rank(suffix) for suffix in names}
    pictures = sorted((suffix for suffix in names if ranks[suffix]), key=lambda s: ranks[s] or ())
    known = names.keys() & {"json", "cls", *TEXTS}
    if not (pictures or known):
        return _failure(f"{path}#{next(iter(names.values()))}", "has no image, .json or .txt")
    unread.update(f".{suffix}" for suffix in names.keys() - known - set(pictures))
    if not unused.issuperset(pictures[1:]):
        unused.update(pictures[1:])
        log.warning("%s: samples with several images: .%s is used", path, pictures[0])
    try:
        record = _object(str(path), names["json"]) if "json" in names else {}
        for suffix in TEXTS:
            if suffix in names:
                record = {**record, "text": _text(path, names[suffix])}
        if "cls" in names:
            label = _text(path, names["cls"]).strip()
            record = {**record, "cls": int(label) if label.isdecimal() else label}
    except BadRecord as bad:
        return Failure({"file_name": f"{path}#{key}"}, bad.kind, bad.message)
    if pictures:
        record = {**record, "file_name": f"{path.name}#{names[pictures[0]]}"}
    return {**record, "key": key}


def _text(path: Path, name: str) -> str:
    """The text in a member. Raises BadRecord if there is none."""
    try:
        return picture_bytes(str(path), name).decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadRecord("bad_json", f"{path}#{name} is not UTF-8") from None


def _object(container: str, name: str) -> Record:
    """The object in a .json member. Raises BadRecord if there is none."""
    content = picture_bytes(container, name)
    for found in read_lines([content], f"{container}#{name}"):
        if isinstance(found, Failure):
            raise BadRecord(found.kind, found.message)
        return found
    return {}


def _failure(name: str, why: str, kind: str = "bad_image") -> Failure:
    return Failure({"file_name": name}, kind, f"{name} {why}")


def _rank(suffix: str) -> tuple[int, int] | None:
    """The order of pictures in a sample; None for a member that is not a picture."""
    *before, last = suffix.split(".")
    known = list(PICTURE_SUFFIXES)
    return (len(before), known.index(f".{last}")) if f".{last}" in known else None


def _members(container: str) -> Members:
    state = os.stat(container)  # noqa: PTH116  a tar that has changed is read again
    with _scanning:
        return _scanned(container, state.st_mtime_ns, state.st_size)


@lru_cache(4096)
def _scanned(container: str, mtime_ns: int, size: int) -> Members:
    members = Members()
    end = 0
    with Path(container).open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    _add_member(members, member)
                    end = member.offset_data + -(-member.size // BLOCK) * BLOCK
        except (tarfile.TarError, ValueError, OverflowError):  # also of sizes no file has
            members.damage = f"is cut off: its {size:,} bytes end inside a member"
            return members
        file.seek(end)
        rest = file.read(1 << 20)
    if len(rest) < BLOCK:
        members.damage = f"is cut off after {size:,} bytes: it has no end mark"
    elif rest.strip(b"\0"):
        members.damage = f"is damaged at byte {end:,}, or another archive follows there"
    return members


def _add_member(members: Members, member: tarfile.TarInfo) -> None:
    if member.isdir():
        return
    path = PurePosixPath(member.name)
    name = path.as_posix()
    if path.is_absolute() or ".." in path.parts:
        members.problems.append((name, "leads out of its tar"))
    elif not member.isfile() or member.issparse():
        members.problems.append((name, "is a link or a device, not a file"))
    elif path.suffix.lower() in ARCHIVES:
        members.problems.append((name, "is an archive inside a tar: unpack it"))
    elif name in members.where:
        members.problems.append((name, "is there twice: the first is used"))
    else:
        members.where[name] = (member.offset_data, member.size)
