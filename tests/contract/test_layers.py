"""Imports go one way: each package imports only itself and packages of lower floors."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.contract.tree import PACKAGE, ROOT, module_name, nodes, sources

# From the lowest floor to the highest. Packages of one floor do not import each other, except
# that a stage may call another stage.
STAGES = (
    *("captioning", "dedup", "cluster", "pair", "generate", "retrieval", "evaluate"),
    *("benchmark", "bias", "paper_protocols", "preference"),
)
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("compute",),
    ("io", "models"),
    ("runner", "report"),
    STAGES,
    ("training",),
    ("cli", "doctor", "status"),
    ("commands", "api"),
    ("app",),
)
FLOOR_OF = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
# A stage knows the protocols of models, never an implementation.
MODELS_FOR_STAGES = ("models.registry", "models.protocols")

HEAVY = ("torch", "transformers", "diffusers", "onnxruntime")
# Package: third-party packages that it must not import.
BANNED = {
    "compute": (*HEAVY, "faiss", "typer", "PIL"),
    "io": (*HEAVY, "faiss", "typer"),
    "models": ("typer", "jsonlines"),
    "runner": (*HEAVY, "faiss", "typer", "numpy", "PIL"),
    "report": (*HEAVY, "faiss", "typer"),
    **dict.fromkeys(STAGES, (*HEAVY, "typer")),
    "training": ("typer", "jsonlines"),
    "cli": (*HEAVY, "numpy", "PIL", "faiss"),
    "commands": (*HEAVY, "numpy", "PIL", "faiss"),
}


MODULES = {module_name(path): path for path in sources()}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules that a file imports, also inside functions, but not those under TYPE_CHECKING."""
    hidden = {
        id(inner)
        for node in nodes(path)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in nodes(path):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = str(node.module)
            names = (f"{module}.{alias.name}" for alias in node.names)
            is_package = module == PACKAGE or module.removeprefix(f"{PACKAGE}.") not in MODULES
            found += names if module.startswith(PACKAGE) and is_package else [module]
    return tuple(found)


def own_imports(path: Path) -> Iterator[str]:
    """The modules of this project that a file imports, named as by `module_name`."""
    for name in imports(path):
        inner = name.removeprefix(f"{PACKAGE}.")
        if name.startswith(f"{PACKAGE}.") and inner != "__version__":
            assert inner in MODULES, f"{path} imports {name}, which does not exist"
            yield inner


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_floor_may(path: Path) -> None:
    package = module_name(path).split(".")[0]
    for inner in own_imports(path):
        other = inner.split(".")[0]
        is_lower = FLOOR_OF[other] < FLOOR_OF[package]
        assert other == package or is_lower or {other, package} <= set(STAGES), (
            f"{package} may not import {inner}"
        )
        if package in STAGES and other == "models":
            assert inner in MODELS_FOR_STAGES, f"a stage may not import {inner}"
    outside = {name.split(".")[0] for name in imports(path)} - {PACKAGE}
    if package == "core":
        assert outside <= sys.stdlib_module_names, "core is standard library only"
    assert outside.isdisjoint(BANNED.get(package, ())), f"{package} imports {outside}"


def test_there_is_no_cycle_of_imports() -> None:
    graph = {name: set(own_imports(path)) for name, path in MODULES.items()}

    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if needs <= done} - done:
        done |= ready

    assert done == set(graph), f"a cycle of imports among {sorted(set(graph) - done)}"


def test_a_command_imports_no_other_command() -> None:
    for path in (ROOT / "commands").glob("*.py"):
        assert not any(inner.startswith("commands") for inner in own_imports(path)), path


def test_only_app_imports_commands() -> None:
    for path in sources():
        if path.name != "app.py":
            assert f"{PACKAGE}.commands" not in path.read_text(), path
