"""ICC profiles for tests, made by hand: matrix and gamma, as monitors and cameras have."""

import struct

Point = tuple[float, float, float]


def rgb_profile(red: Point, green: Point, blue: Point, gamma: float) -> bytes:
    """A profile of an RGB space with these primaries (XYZ, D50)."""
    xyz = {b"wtpt": (0.9642, 1, 0.8249), b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*point) for name, point in xyz.items()}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def gray_profile(gamma: float) -> bytes:
    """A profile of gray with this gamma."""
    white = b"XYZ \0\0\0\0" + _fixed(0.9642, 1, 0.8249)
    return _profile(b"GRAY", {b"wtpt": white, b"kTRC": _curve(gamma)})


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"a\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0", **tags}
    table, content = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI", start + len(content), b"lcms", 0x02400000)
    head += b"mntr" + space + b"XYZ " + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp"
    head += bytes(28) + _fixed(0.9642, 1, 0.8249)
    return head + bytes(128 - len(head)) + table + content


DISPLAY_P3 = rgb_profile(
    (0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841), 2.2
)
ADOBE_RGB = rgb_profile(
    (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446), 2.2
)
PROPHOTO = rgb_profile((0.7977, 0.2880, 0), (0.1352, 0.7119, 0), (0.0313, 0.0001, 0.8249), 1.8)
