"""The files below a folder by what they are: pictures, containers, listings, captions, others.

Other tools' layouts are known here: the listings in sub-folders of the Hub's ImageFolders, captions
beside pictures (see `caption_files`), and the statistics of img2dataset.
"""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import pip_line
from megastyle_cli.io.formats import (
    PICKLE_SUFFIXES,
    PICTURE_SUFFIXES,
    counted,
    format_of,
    is_picture_name,
)
from megastyle_cli.io.picture_plugins import package_to_install
from megastyle_cli.io.readers.caption_files import caption_file
from megastyle_cli.io.record_names import LISTING

LISTINGS = (LISTING, "metadata.csv", "metadata.parquet")  # the first that a folder has
STATISTICS = "_stats.json"  # of img2dataset, for each shard
KOHYA_LISTING = re.compile(r"meta(data|_cap|_lat|_clean)?\.json")
OUR_FILES = re.compile(r"(.+\.)?(run\.json|errors\.jsonl|stats\.json)|.+\.(partial|tmp)")
_PICTURES = frozenset(PICTURE_SUFFIXES)
log = logging.getLogger(__name__)


@dataclass
class FolderFiles:
    """The files below a folder, without hidden ones; names are strings, and sorted."""

    pictures: list[str] = field(default_factory=list)  # that no listing covers
    containers: list[Path] = field(default_factory=list)
    listings: dict[str, list[str]] = field(default_factory=dict)  # and the pictures beside each
    others: set[str] = field(default_factory=set)

    def warn_skipped(self, folder: Path) -> None:
        """Counts the files that are not read in one line, by kind."""
        captions = {caption_file(picture, self.others) for picture in self.pictures} - {None}
        kinds: Counter[str] = Counter()
        for path in map(Path, self.others - captions):
            if KOHYA_LISTING.fullmatch(path.name):
                kinds[f"{path.name} (write its captions to {LISTING})"] += 1
            elif not OUR_FILES.fullmatch(path.name):
                kinds[_kind(path)] += 1
        if kinds:
            log.warning("%s: skipped %s", folder, counted(kinds))
        objects = sum(1 for name in captions if name and name.lower().endswith(".json"))
        if objects:
            log.warning("%s: only the captions of %s .json files are read", folder, f"{objects:,}")


def scan(folder: Path) -> FolderFiles:
    """What lies below `folder`. Raises MegastyleError where a folder may not be listed."""
    groups: dict[str | None, FolderFiles] = defaultdict(FolderFiles)  # by the listing above
    listing_of: dict[str, str | None] = {}  # by directory: the outermost one
    for directory, names in _directories(folder):
        own = next((str(Path(directory, name)) for name in LISTINGS if name in names), None)
        listing = listing_of.get(os.path.dirname(directory)) or own  # noqa: PTH120
        listing_of[directory] = listing
        _sort_into(groups[listing], directory, names)
    found = groups.pop(None, FolderFiles())
    for listing, group in groups.items():
        assert listing is not None
        _join(listing, group, found)
    _set_statistics_aside(found)
    found.pictures.sort()
    found.containers.sort()
    return found


def count_pictures(folder: Path) -> int | None:
    """The number of pictures below `folder`, whose names are not kept: there may be millions.

    None if a listing or a container lies there, too.
    """
    number = 0
    for _, names in _directories(folder):
        if not set(LISTINGS).isdisjoint(names):
            return None
        for name in names:
            if name.startswith("."):
                continue
            if name[name.rfind(".") :].lower() in _PICTURES or is_picture_name(name):
                number += 1
            elif (row := format_of(name)) and row.is_container:
                return None
    return number


def _directories(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below, each once: real ones first, then those that links lead to."""
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        links: list[str] = []
        for directory, folders, files in os.walk(waiting.pop(0), onerror=_cannot_list):
            state = os.stat(directory)  # noqa: PTH116
            if (state.st_dev, state.st_ino) in seen:
                folders[:] = []
                continue
            seen.add((state.st_dev, state.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = (os.path.join(directory, name) for name in folders)  # noqa: PTH118
            links += filter(os.path.islink, paths)
            yield directory, files
        waiting += links


def _sort_into(group: FolderFiles, directory: str, names: list[str]) -> None:
    # there may be a million names: what is a picture costs no Path
    base = "" if directory == "." else f"{directory.rstrip('/')}/"
    for name in names:
        if name.startswith("."):
            continue
        path = base + name
        suffix = name[name.rfind(".") :].lower()
        if suffix in _PICTURES or is_picture_name(name):
            group.pictures.append(path)
        elif suffix in PICKLE_SUFFIXES:
            log.warning("%s is a pickle and is not opened", path)
        elif (row := format_of(name)) and row.is_container:
            group.containers.append(Path(path))
        else:
            group.others.add(path)


def _join(listing: str, group: FolderFiles, found: FolderFiles) -> None:
    """Adds what a listing covers; a table covers pictures only."""
    is_table = not listing.endswith(LISTING)
    if group.pictures or not is_table:
        found.listings[listing] = group.pictures
        group.others.discard(listing)
        group.containers = [path for path in group.containers if is_table and str(path) != listing]
    found.containers += group.containers
    found.others |= group.others


def _set_statistics_aside(found: FolderFiles) -> None:
    """Takes img2dataset's statistics out: N.parquet and N_stats.json beside N.tar or N/."""
    statistics = {name for name in found.others if name.endswith(STATISTICS)}
    tables = {Path(f"{name.removesuffix(STATISTICS)}.parquet") for name in statistics}
    tables &= set(found.containers)
    data = [path for path in found.containers if path not in tables]
    if found.pictures or data:
        found.containers = data
    known = {f"{str(path).removesuffix('.parquet')}{STATISTICS}" for path in tables}
    found.others -= known


def _kind(path: Path) -> str:
    suffix, package = path.suffix.lower(), package_to_install(path.name)
    return f"{suffix} ({pip_line(package)})" if package else suffix or "without a suffix"


def _cannot_list(error: OSError) -> None:
    raise MegastyleError(f"{error.filename} cannot be listed", hint="check its permissions")
