"""WebDataset tars: consecutive members that share a key, such as 01.jpg and 01.json, are a sample.

A tar has no directory, so its headers are read once; after that each member is one read at its
offset, from any thread. Nothing is unpacked.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.readers.archive_samples import ArchiveSamples

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
    """The records of the samples in order: see `ArchiveSamples`.

    Raises MegastyleError at once if this is not a tar; damage after its first member is a Failure
    at the end.
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
    yield from ArchiveSamples(path, picture_bytes).records(members.where)
    for name, why in members.problems:
        yield _failure(f"{path}#{name}", why)
    if members.damage:
        yield _failure(str(path), members.damage)


def _failure(name: str, why: str) -> Failure:
    return Failure({"file_name": name}, "bad_image", f"{name} {why}")


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
