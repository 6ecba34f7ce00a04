"""What is wrong with a line that is not a JSON object, or not text, and how to make it one.

Only for lines that have failed to parse: nothing here costs a good line anything.
"""

import json
import os
import re

from megastyle_cli.io.formats import is_picture_name

_BETWEEN_RECORDS = re.compile(rb"[}\]][ \t]*\r[ \t]*[{\[]")
_PRETTY = "is the first line of pretty-printed JSON: make lines of it with"


def fault_of(line: bytes, error: BaseException | None) -> str:
    """What follows "x.jsonl line 7": the reason why `line` is not a record.

    `error` is what the parser raised; None if the line holds another value than an object.
    """
    text = line.strip()
    if error is None:
        is_array = text.startswith(b"[")
        return "is not a JSON object" + (
            ", but an array: make lines of it with jq -c '.[]'" * is_array
        )
    if encoding := encoding_fault(line):
        return encoding
    if _BETWEEN_RECORDS.search(text):
        return "ends its records with carriage returns: convert the file with tr '\\r' '\\n'"
    if text in (b"{", b"[", b"[{"):
        return f"{_PRETTY} jq -c {'.' if text == b'{' else repr('.[]')}"
    if _is_file_name(text):
        return "is a file name, not JSON: name files as inputs (caption, retrieve: --paths or -0)"
    if isinstance(error, json.JSONDecodeError):
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        return f"is not valid JSON: {reason} at column {error.colno:,}"
    return f"is not valid JSON: {error}"


def _is_file_name(text: bytes) -> bool:
    """Whether a line names a file, as `find` prints it, or several separated by NUL."""
    name = os.fsdecode(text.partition(b"\0")[0])
    is_name = name[:1] not in ("", "{", "[", '"') and len(text.splitlines()) == 1
    return is_name and (os.path.exists(name) or is_picture_name(name))  # noqa: PTH110


def encoding_fault(line: bytes) -> str | None:
    """The reason why a line is not text in UTF-8; None if it is."""
    if line[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in line[:4] and line.strip(b"\0\r\n")):
        return "is UTF-16, not UTF-8: convert the file with iconv -f UTF-16 -t UTF-8"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start:,} is {line[error.start]:#04x}"
    return None
