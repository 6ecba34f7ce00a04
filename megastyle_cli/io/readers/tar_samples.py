"""Which members of a tar are a sample: those whose path is equal up to the first dot of the name.

So does the package `webdataset`, where 01.jpg and 01.seg.png are one sample. But file names such as
"photo v1.0.jpg" hold dots that separate no suffix. Where a picture and a text share a longer stem
than that, as in "photo v1.0.jpg" and "photo v1.0.json", the longest common stem is their key.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import PurePosixPath

from megastyle_cli.io.formats import PICTURE_SUFFIXES

TEXT_SUFFIXES = (".json", ".txt", ".caption", ".cls")


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
