"""JSON lines for tests: plain ones with every other kind among them."""

import json
import random


def mixed_lines(count: int) -> list[bytes]:
    """`count` lines, a third of them no plain ones: of other values, without id, or broken."""
    draw = random.Random(3)
    others = [
        *(b"", b"no json", b'{"id":"n"}', b'{"id":"n","style":3}', b'{"style":"no id"}'),
        *(b'{"id":"f","style":"x","score":0.50}', b'{"id":"q","style":"a \\"b\\" \\ud800"}'),
        *(b'{"id":"p","file_name":"a/b.png","style":"x"}', b'{"style":"x","id":4}'),
        *(b'{"id":"m","style":"y","_megastyle":{"caption":{"run":"1"}}}', b"[1]", b"\xff"),
    ]
    plain = [json.dumps({"id": k, "style": f"ink {k}"}).encode() for k in range(count)]
    return [draw.choice(others) if draw.random() < 0.3 else line for line in plain]
