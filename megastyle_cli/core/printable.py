"""Text for a terminal: names, ids and words of servers cannot move the cursor or hide anything."""

import re

# C0 and C1 controls, and the marks that change the direction of text
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    """`text` with its control characters escaped as in a Python string, except those in `keep`."""

    def escaped(match: re.Match[str]) -> str:
        return match[0] if match[0] in keep else ascii(match[0])[1:-1]

    return _CONTROLS.sub(escaped, text)


def printable_json(lines: bytes) -> bytes:
    """JSON lines, or a table, with the control characters escaped that JSON leaves as they are."""
    text = lines.decode("utf-8", "surrogatepass")
    escaped = _CONTROLS.sub(
        lambda match: match[0] if match[0] in "\n\t" else f"\\u{ord(match[0]):04x}", text
    )
    return escaped.encode("utf-8", "surrogatepass")
