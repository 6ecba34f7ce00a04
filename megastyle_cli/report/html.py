"""What every page of ours is: one HTML file that fetches nothing and runs only its own script."""

import base64
import hashlib
from html import escape
from importlib.resources import files
from pathlib import Path

from megastyle_cli.core.atomic_file import atomic_write


def write_document(page: str, path: Path) -> None:
    """Write `page` to `path`, which never holds half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name in the title may hold bytes that UTF-8 cannot.
    atomic_write(path, page.encode("utf-8", errors="replace"), durable=False)


def policy(*, style: str, script: str = "") -> str:
    """A Content-Security-Policy that admits this style and script by their hash, nothing else."""
    allowed = {"style-src": style, "script-src": script}
    rules = "; ".join(f"{name} '{_hash(text)}'" for name, text in allowed.items() if text)
    return f"default-src 'none'; img-src data:; {rules}; base-uri 'none'; form-action 'none'"


def part(name: str) -> str:
    """A file that lies beside this one: a style sheet, a script, a template."""
    return files("megastyle_cli.report").joinpath(name).read_text(encoding="utf-8")


def breakable(words: str) -> str:
    """Escaped words that may also break inside a path or a file name."""
    return escape(words).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
