"""The source tree, as the tests of its rules see it."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "megastyle_cli"


def sources() -> list[Path]:
    """Every source file of the package and of `commands`, sorted by path."""
    found = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "commands").glob("*.py")]
    return sorted(path for path in found if path.name not in ("__init__.py", "__main__.py"))


def files_of_tests() -> list[Path]:
    """Every Python file of the tests, sorted by path."""
    return sorted((ROOT / "tests").rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name of a source file, without the package's own: `io.images`, `commands.pair`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "commands" else parts[1:])


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the syntax tree of a file, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text())))
