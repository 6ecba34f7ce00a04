"""The largest item that is read: a line, a member of an archive, a decoded picture.

One small file may hold terabytes once it is unpacked. The limit bounds the memory of this process
and never changes a result: what is larger fails. `app.py` sets it from `--max-item-size`.
"""

import re

from megastyle_cli.core.errors import MegastyleError

DEFAULT_MAX_ITEM_SIZE = "512M"

_UNITS = " KMGT"  # of 1024 each
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?([{_UNITS[1:]}]?)(?:i?B)?", re.IGNORECASE)
_max_item_bytes = 512 << 20


def max_item_bytes() -> int:
    """The maximum size of an item in bytes."""
    return _max_item_bytes


def set_max_item_size(text: str) -> None:
    """Sets the limit to a size such as 512M, 2G or 1000000. Raises MegastyleError for others."""
    global _max_item_bytes
    size = parse_size(text)
    if not size:
        raise MegastyleError(
            f"--max-item-size is {text!r}, not a size", hint="give a size such as 512M or 2G"
        )
    _max_item_bytes = size


def too_large(what: str, num_bytes: int | None = None) -> str:
    """The sentence about an item over the limit; `num_bytes` is its size if that is known."""
    size = "" if num_bytes is None else f"takes {format_size(num_bytes)}, "
    verb = "is " if num_bytes is None else ""
    limit = format_size(_max_item_bytes)
    return f"{what} {size}{verb}more than {limit}: give a larger --max-item-size to read it"


def parse_size(text: str) -> int | None:
    """Bytes of a size such as 512M, 1.5G, 2GB or 4096; None if `text` is not one."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(float(found[1]) * 1024 ** _UNITS.index(found[2].upper() or " "))


def format_size(num_bytes: int) -> str:
    """A size in three digits, as the option takes it: 512M, 2.86G."""
    power = min(len(_UNITS) - 1, max(0, (num_bytes.bit_length() - 1) // 10))
    return f"{num_bytes / 1024**power:.4g}{_UNITS[power].strip()}"
