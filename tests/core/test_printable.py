"""What reaches a terminal cannot steer it."""

import json

from megastyle_cli.core.printable import printable, printable_json


def test_control_characters_are_escaped_and_other_text_stays() -> None:
    assert printable("a\x1b[2J\r\nb\x9b1m\x7f\u202e") == r"a\x1b[2J\r\nb\x9b1m\x7f\u202e"
    assert printable("\u00e9 \u4e2d \U0001f468\u200d\U0001f33e \u2192 a b") == (
        "\u00e9 \u4e2d \U0001f468\u200d\U0001f33e \u2192 a b"
    )
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


def test_json_lines_keep_their_meaning() -> None:
    line = json.dumps({"a": "\x9b2J\u202e\n"}, ensure_ascii=False).encode() + b"\n"

    assert json.loads(printable_json(line)) == json.loads(line)
    assert b"\xc2\x9b" in line and b"\xc2\x9b" not in printable_json(line)
    assert printable_json(b"a | b\n") == b"a | b\n"
