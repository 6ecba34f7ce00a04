"""The rules of the tree: imports go one way, and the package list that is installed equals it."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "megastyle_cli"

# A package may import packages of lower floors, and itself; packages of one floor do not know
# each other, except that a stage may call another stage.
STAGES = ("caption", "dedup", "cluster", "pair", "generate", "retrieve", "evaluate")
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("compute",),
    ("io", "models"),
    ("runner", "report"),
    STAGES,
    ("training",),
    ("cli",),
    ("commands",),
    ("app",),
)
FLOOR_OF = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
# Of the models a stage knows what they promise, never how they do it.
STAGES_KNOW_OF_MODELS = ("models.registry", "models.protocols")

HEAVY = ("torch", "transformers", "diffusers", "onnxruntime")
# package -> outside packages that it must not import
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


def sources() -> list[Path]:
    found = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "commands").glob("*.py")]
    return sorted(path for path in found if path.name not in ("__init__.py", "__main__.py"))


def module_name(path: Path) -> str:
    """The name by which a source file is imported, without the package's own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "commands" else parts[1:])


MODULES = {module_name(path): path for path in sources()}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """What a file imports, in functions too, but not what only the type checker sees."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in ast.walk(tree):
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
    """The modules of our own that a file imports, as `module_name` names them."""
    for name in imports(path):
        inner = name.removeprefix(f"{PACKAGE}.")
        if name.startswith(f"{PACKAGE}.") and inner != "__version__":
            assert inner in MODULES, f"{path} imports {name}, which is no module"
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
            assert inner in STAGES_KNOW_OF_MODELS, f"a stage may not import {inner}"
    outside = {name.split(".")[0] for name in imports(path)} - {PACKAGE}
    if package == "core":
        assert outside <= sys.stdlib_module_names, "core is standard library only"
    assert outside.isdisjoint(BANNED.get(package, ())), f"{package} imports {outside}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: set(own_imports(path)) for name, path in MODULES.items()}

    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if needs <= done} - done:
        done |= ready

    assert done == set(graph), f"a cycle of imports among {sorted(set(graph) - done)}"


def test_commands_do_not_know_each_other() -> None:
    for path in (ROOT / "commands").glob("*.py"):
        assert not any(inner.startswith("commands") for inner in own_imports(path)), path


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
