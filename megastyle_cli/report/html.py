"""Pages as one HTML file each: they fetch nothing and run only their own script.

Templates are in `templates/`; every value in them is escaped unless it is marked as HTML.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.report.rows import count, format_number

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """The template of that name in `templates/`, rendered with the values."""
    return _environment().get_template(template).render(values)


def write_document(page: str, path: Path) -> None:
    """Write `page` to `path` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name in the title may hold bytes that UTF-8 cannot.
    atomic_write(path, page.encode("utf-8", errors="replace"))


def policy(*, style: str, script: str = "") -> str:
    """A Content-Security-Policy that admits this style and script by their hash, nothing else."""
    allowed = {"style-src": style, "script-src": script}
    rules = "; ".join(f"{name} '{_hash(text)}'" for name, text in allowed.items() if text)
    return f"default-src 'none'; img-src data:; {rules}; base-uri 'none'; form-action 'none'"


def part(name: str) -> str:
    """The text of a style sheet or a script in `templates/`."""
    return files("megastyle_cli.report").joinpath("templates", name).read_text(encoding="utf-8")


def markup(html: str) -> "Markup":
    """HTML of our own, which templates do not escape."""
    from markupsafe import Markup

    return Markup(html)


def breakable(words: str) -> "Markup":
    """Escaped words that may also break inside a path or a file name."""
    from markupsafe import Markup, escape

    return Markup(str(escape(words)).replace("_", "_<wbr>").replace("/", "/<wbr>"))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("megastyle_cli.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"breakable": breakable, "count": count, "number": format_number}
    return environment


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
