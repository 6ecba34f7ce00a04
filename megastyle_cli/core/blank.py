"""Blank texts: nothing but white space and invisible characters. Such a text counts as missing."""

import re

# Zero-width and other invisible characters that are not white space.
INVISIBLE = (
    *(0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F)),
    *(*range(0x2060, 0x2070), 0xFEFF),
)
_SPACES = (
    *(*range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
)
BLANKS = frozenset(map(chr, _SPACES + INVISIBLE))
_VISIBLE = re.compile(f"[^{''.join(sorted(BLANKS))}]")


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it is empty, or spaces and zero-width characters only."""
    return _VISIBLE.search(text) is None
