"""Lists of file names, as `find` prints them and as people save them."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from megastyle_cli.core.record import Record

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def named_pictures(stream: Iterable[bytes], separator: str) -> Iterator[Record]:
    """One record for each file name of a list, separated by newlines or NUL."""
    names = b"".join(stream).split(b"\0") if separator == "\0" else stream
    for number, name in enumerate(names):
        name = name if separator == "\0" else name.rstrip(b"\r\n")
        if number == 0:
            name = name.removeprefix(BYTE_ORDER_MARK)
        if name:
            yield {"file_name": meant_file(os.fsdecode(name))}


def meant_file(name: str) -> str:
    """The file that a name in a list means: as it is, or if there is none, with `~` expanded or in
    the other Unicode form of its accents; of a file:// URL the path."""
    if name.lower().startswith("file://"):
        url = urlsplit(name)
        local = url.netloc in ("", "localhost")
        return unquote(url.path, errors="surrogateescape") if local else name
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    for other in (name, str(Path(name).expanduser()) if name.startswith("~/") else name, *forms):
        if os.path.exists(other):  # noqa: PTH110  False for what is not a file name
            return other
    return name
