"""The samples of an archive: which of its members are one, and the record that they make.

A sample is the consecutive members whose path is equal up to the first dot of the name. So does the
package `webdataset`, where 01.jpg and 01.seg.png are one sample. But file names such as
"photo v1.0.jpg" hold dots that separate no suffix. Where a picture and a text share a longer stem
than that, as in "photo v1.0.jpg" and "photo v1.0.json", the longest common stem is their key.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.formats import PICTURE_SUFFIXES, counted
from megastyle_cli.io.readers.jsonl import read_lines

log = logging.getLogger(__name__)
TEXTS = ("caption", "txt")  # members with the `text`; the last one counts
TEXT_SUFFIXES = (".json", ".txt", ".caption", ".cls")


class ArchiveSamples:
    """The samples of the archive `path`, whose members `read_member(container, member)` gives.

    That is the `picture_bytes` of the archive's reader, which raises BadRecord.
    """

    def __init__(self, path: Path, read_member: Callable[[str, str], bytes]) -> None:
        self.path, self.read_member = path, read_member
        self._unused: set[str] = set()  # suffixes of further pictures
        self._unread: Counter[str] = Counter()

    def records(self, names: Iterable[str]) -> Iterator[Record | Failure]:
        """The records of the samples, in order; `names` has the members of each sample together.

        They have the keys of a .json, and members as `text`, `cls` and `key`: `text` is a .txt or
        .caption, `cls` a .cls, `key` the sample's key. `file_name` is relative to the archive's
        folder. Of several pictures in a sample the first is used, in the order of PICTURE_SUFFIXES,
        double suffixes last, with one warning; other members that are not read are counted in one
        line.
        """
        for key, members in sample_members(names):
            yield self._sample(key, {suffix_of(key, name): name for name in members})
        if self._unread:
            log.warning("%s: skipped members: %s", self.path, counted(self._unread))

    def _sample(self, key: str, names: dict[str, str]) -> Record | Failure:
        """The record of a sample, whose members are given by suffix."""
        ranks = {suffix: _rank(suffix) for suffix in names}
        pictures = sorted(
            (suffix for suffix in names if ranks[suffix]), key=lambda s: ranks[s] or ()
        )
        known = names.keys() & {"json", "cls", *TEXTS}
        if not (pictures or known):
            name = f"{self.path}#{next(iter(names.values()))}"
            why = f"{name} has no image, .json or .txt"
            return Failure({"file_name": name}, "bad_image", why)
        self._unread.update(f".{suffix}" for suffix in names.keys() - known - set(pictures))
        if not self._unused.issuperset(pictures[1:]):
            self._unused.update(pictures[1:])
            log.warning("%s: samples with several images: .%s is used", self.path, pictures[0])
        try:
            record = self._object(names["json"]) if "json" in names else {}
            for suffix in TEXTS:
                if suffix in names:
                    record = {**record, "text": self._text(names[suffix])}
            if "cls" in names:
                label = self._text(names["cls"]).strip()
                record = {**record, "cls": int(label) if label.isdecimal() else label}
        except BadRecord as bad:
            return Failure({"file_name": f"{self.path}#{key}"}, bad.kind, bad.message)
        if pictures:
            record = {**record, "file_name": f"{self.path.name}#{names[pictures[0]]}"}
        return {**record, "key": key}

    def _text(self, name: str) -> str:
        """The text in a member. Raises BadRecord if there is none."""
        content = self.read_member(str(self.path), name)
        try:
            return content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            raise BadRecord("bad_json", f"{self.path}#{name} is not UTF-8") from None

    def _object(self, name: str) -> Record:
        """The object in a .json member. Raises BadRecord if there is none."""
        content = self.read_member(str(self.path), name)
        for found in read_lines([content], f"{self.path}#{name}"):
            if isinstance(found, Failure):
                raise BadRecord(found.kind, found.message)
            return found
        return {}


def sample_members(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The key and the members of each sample, in order; names without a key are left out."""
    for key, group in groupby(names, _short_key):
        if key:
            yield from _split(key, list(group))


def suffix_of(key: str, name: str) -> str:
    """The suffix of a member of the sample `key`, in lower case."""
    return name[len(key) + 1 :].lower()


def _short_key(name: str) -> str:
    """A member's path up to the first dot in its name; "" if there is none."""
    folder, slash, last = name.rpartition("/")
    stem, dot, _ = last.partition(".")
    return folder + slash + stem if stem and dot else ""


def _split(key: str, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """One sample, or several whose pictures have texts of their own."""
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(name.rpartition(".")[0], []).append(name)
    split = {stem for stem, members in by_stem.items() if stem != key and _is_sample(members)}
    if not split:
        yield key, names
        return
    # what has no text of its own is part of the short key's sample, if there is such a sample
    is_joined = key in by_stem
    samples: dict[str, list[str]] = {}
    for stem, members in by_stem.items():
        samples.setdefault(key if is_joined and stem not in split else stem, []).extend(members)
    yield from samples.items()


def _is_sample(members: list[str]) -> bool:
    suffixes = {PurePosixPath(name).suffix.lower() for name in members}
    return not (suffixes.isdisjoint(PICTURE_SUFFIXES) or suffixes.isdisjoint(TEXT_SUFFIXES))


def _rank(suffix: str) -> tuple[int, int] | None:
    """The order of pictures in a sample; None for a member that is not a picture."""
    *before, last = suffix.split(".")
    known = list(PICTURE_SUFFIXES)
    return (len(before), known.index(f".{last}")) if f".{last}" in known else None
