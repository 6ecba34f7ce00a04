"""Ways to damage a file: bytes anywhere in it, or one value of its JSON."""

import json
import random
import struct
from typing import Any

NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 65535, 100_000)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 1e308, 10**30, 2**63, "", "x", "\x1b[31m", "\ud800", "a\0b"),
    *([], {}, [[]], ["a"], {"a": 1}, [None], "../../../etc/passwd", "/dev/null", "9" * 400),
    *("x" * 100_000, [1] * 1000, float("nan"), float("inf")),
)
ODD_LINES = (
    *(b"\xff\xfe", b"\0" * 50, b"[" * 100_000, b"{" * 100_000, b'{"a":' * 5000 + b"1", b"null"),
    *(
        b"1e999",
        b'{"a":1,"a":2}',
        b'{"id":"\\ud800"}',
        b'{"n":' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
    ),
)


def damage(content: bytes, name: str, rng: random.Random) -> bytes:
    """`content` of a file called `name`, damaged in one way or several."""
    if name.endswith((".json", ".jsonl")) and rng.random() < 0.6:
        return _damage_json(content, rng)
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        _damage_bytes(changed, rng)
    return bytes(changed)


def _damage_bytes(content: bytearray, rng: random.Random) -> None:
    if not content:
        return
    # more often at either end, where headers and footers are
    near = min(len(content), rng.choice((16, 64, 400, len(content))))
    at = rng.randrange(near)
    if rng.random() < 0.3:
        at = len(content) - 1 - at
    way = rng.randrange(7)
    if way == 0:
        content[at] = rng.randrange(256)
    elif way == 1:
        content[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
    elif way == 2:
        content[at : at + 8] = struct.pack("<Q", rng.choice((1 << 40, 1 << 63, 1 << 20)))
    elif way == 3:
        del content[at : at + rng.randrange(1, 64)]
    elif way == 4:
        content[at:at] = rng.randbytes(rng.randrange(1, 64))
    elif way == 5:
        del content[at:]
    else:
        content[at : at + rng.randrange(1, 400)] = bytes(rng.randrange(1, 400))


def _damage_json(content: bytes, rng: random.Random) -> bytes:
    """One value of a document, or of some of its lines, is replaced by an odd one."""
    try:
        return _with_odd_value(json.loads(content), rng)
    except ValueError:
        lines = content.splitlines()
    for at in rng.sample(range(len(lines)), min(len(lines), 4)):
        if rng.random() < 0.3:
            lines[at] = rng.choice(ODD_LINES)
        else:
            lines[at] = _with_odd_value(json.loads(lines[at]), rng)
    return b"\n".join(lines) + b"\n"


def _with_odd_value(document: Any, rng: random.Random) -> bytes:
    parent: Any = None
    key: Any = None
    value = document
    while isinstance(value, dict | list) and value and (parent is None or rng.random() < 0.7):
        parent = value
        key = rng.choice(list(parent)) if isinstance(parent, dict) else rng.randrange(len(parent))
        value = parent[key]
    if parent is None:
        document = rng.choice(ODD_VALUES)
    elif rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(ODD_VALUES)
    return json.dumps(document).encode()
