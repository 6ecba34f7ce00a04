"""Imports go one way, and the list of packages that is installed equals the tree."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "megastyle_cli"

# layer -> what of our own it may import (prefixes below megastyle_cli)
ALLOWED = {
    "errors": (),
    "choices": (),
    "cores": (),
    "compiled": (),
    "buffer": ("compiled",),
    "record": ("errors",),
    "style": ("errors", "choices"),
    "stream": ("buffer", "choices", "compiled", "cores", "errors", "record", "stream"),
    "engines": ("cores", "errors", "engines"),
    "steps": (
        *("buffer", "choices", "compiled", "errors", "portions", "record", "style", "steps"),
        *("engines.engine", "models.backend"),
    ),
    "models": ("cores", "errors", "choices", "portions", "style", "models"),
    "training": (
        *("choices", "cores", "errors", "record", "models", "training"),
        *("stream.source", "stream.images", "stream.names"),
        *("stream.containers", "stream.jsonl"),  # the bytes of a picture; the lines of a listing
        *("stream.containers", "stream.jsonl", "stream.progress", "stream.run"),
    ),
    "view": ("cores", "errors", "record", "view", "stream.images"),
    "options": ("choices", "errors"),
    "backends": ("choices", "errors", "engines.engine", "models.backend", "stream.embeddings"),
    "completion": ("choices",),
    "commands": (
        *(
            "app",
            "backends",
            "buffer",
            "choices",
            "completion",
            "errors",
            "options",
            "record",
            "style",
            "steps",
            "stream",
            "view",
        ),
        *("engines.engine", "models.backend", "models.lora", "training"),
    ),
    "app": ("errors",),
}
# layer -> outside packages it must not import
BANNED = {
    "errors": "*",
    "choices": "*",
    "cores": "*",
    "portions": "*",
    "record": "*",
    "style": "*",
    "stream": ("torch", "transformers", "diffusers", "typer", "faiss", "onnxruntime"),
    "steps": ("torch", "transformers", "diffusers", "typer", "PIL", "pathlib", "onnxruntime"),
    "engines": ("numpy", "torch", "faiss", "typer", "pathlib"),
    "models": ("typer", "jsonlines"),
    "training": ("typer", "jsonlines"),
    "view": ("torch", "typer", "onnxruntime", "faiss"),
    "commands": ("torch", "numpy", "PIL", "faiss", "transformers"),
}


def sources() -> list[Path]:
    found = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "commands").glob("*.py")]
    return [path for path in found if path.name not in ("__init__.py", "__main__.py")]


def layer_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "commands" else parts[1]


def imports(path: Path) -> Iterator[str]:
    """What a file imports when it runs; what only the type checker sees is left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == PACKAGE:
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    layer = layer_of(path)
    for name in imports(path):
        if name.startswith(f"{PACKAGE}."):
            inner = name.removeprefix(f"{PACKAGE}.")
            may = inner == "__version__" or inner.startswith(ALLOWED[layer])
            assert may, f"{layer} may not import {inner}"
            continue
        banned = BANNED.get(layer, ())
        if banned == "*":
            import sys

            assert name.split(".")[0] in sys.stdlib_module_names, f"{layer} is stdlib only"
        else:
            assert name.split(".")[0] not in banned, f"{layer} must not know {name}"


def test_commands_do_not_know_each_other() -> None:
    for path in (ROOT / "commands").glob("*.py"):
        assert not any(name.startswith(f"{PACKAGE}.commands") for name in imports(path))


def test_nothing_but_app_reaches_for_commands() -> None:
    for path in sources():
        if path.name != "app.py":
            assert f"{PACKAGE}.commands" not in path.read_text(), path


def test_the_package_list_equals_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = settings["tool"]["setuptools"]["packages"]
    tree = [
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / PACKAGE).rglob("__init__.py")
    ]

    assert sorted(listed) == sorted([*tree, f"{PACKAGE}.commands"])
