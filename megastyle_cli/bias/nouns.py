"""The nouns that are looked for: `nouns.txt`, or a file of the user's own."""

from importlib.resources import files
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError

TEMPLATE = "a picture of a {}"


def read_nouns(path: Path | None = None) -> list[str]:
    """One noun a line; empty lines and those that begin with # are left out, and repetitions.

    Raises MegastyleError if there are none, or the file is not text.
    """
    source = files("megastyle_cli.bias").joinpath("nouns.txt") if path is None else path
    try:
        lines = [line.strip() for line in source.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise MegastyleError(f"{path} is not UTF-8 text", hint="give one noun a line") from None
    nouns = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not nouns:
        raise MegastyleError(f"{path} has no noun", hint="give one noun a line")
    return nouns
