"""What exists once: one atomic writer, one out-of-memory test. Read from the sources themselves."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.tree import ROOT, nodes, sources

SOURCES = {path.relative_to(ROOT).as_posix(): path for path in sources()}


WRITERS = tuple(f"megastyle_cli/core/{name}.py" for name in ("atomic_file", "locked_file", "owner"))


def found(matches: Callable[[ast.AST], bool], *allowed: str) -> list[str]:
    """FILE:LINE of every node for which `matches` holds, in all sources but those allowed."""
    return [
        f"{name}:{getattr(node, 'lineno', 1)}"
        for name, path in SOURCES.items()
        if name not in allowed
        for node in nodes(path)
        if matches(node)
    ]


def moves_files(node: ast.AST) -> bool:
    """Whether a call renames a file: `path.rename(new)`, `os.replace(old, new)`, `shutil.move`.

    `str.replace` has two arguments, `Path.replace` one.
    """
    if isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil"):
        return any(one.name in ("rename", "renames", "replace", "move") for one in node.names)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    owner, name = ast.unparse(node.func.value), node.func.attr
    if owner in ("os", "shutil"):
        return name in ("rename", "renames", "replace", "move")
    return name in ("rename", "replace") and len(node.args) == 1 and not node.keywords


@pytest.mark.parametrize(
    ("code", "is_move"),
    [
        ("path.rename(other)", True),
        ("(a / b).replace(c)", True),
        ("os.replace(a, b)", True),
        ("shutil.move(a, b)", True),
        ("from os import replace", True),
        ("text.replace('a', 'b')", False),
        ("replace(settings, seed=1)", False),
    ],
)
def test_the_walk_knows_a_rename_of_files(code: str, is_move: bool) -> None:
    assert any(map(moves_files, ast.walk(ast.parse(code)))) is is_move


def test_only_the_atomic_writer_and_its_locks_rename_files() -> None:
    assert found(moves_files, *WRITERS) == []


def test_only_the_atomic_writer_and_its_locks_sync_files() -> None:
    def syncs(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr in ("fsync", "fdatasync")

    assert found(syncs, *WRITERS) == []


def test_out_of_memory_is_recognized_in_one_place() -> None:
    def recognizes(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr == "OutOfMemoryError"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return "allocate memory" in node.value or "OutOfMemory" in node.value
        return False

    assert found(recognizes, "megastyle_cli/core/errors.py") == []


DOWNLOADS = ("snapshot_download", "hf_hub_download", "try_to_load_from_cache", "download")


def downloads(node: ast.AST) -> bool:
    """Whether a call fetches from the hub: by its name, or since it passes a `revision=`."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return name in DOWNLOADS or any(given.arg == "revision" for given in node.keywords)


def test_only_the_hub_look_up_downloads() -> None:
    assert found(downloads, "megastyle_cli/models/hub.py") == []


def may_download(node: ast.AST) -> bool:
    """Whether a `from_pretrained` with a path does not say that the path is local."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained")):
        return False
    is_in_memory = bool(node.args) and ast.unparse(node.args[0]) == "None"
    is_local = any(
        given.arg == "local_files_only" and ast.unparse(given.value) == "True"
        for given in node.keywords
    )
    return not (is_in_memory or is_local)


def test_every_model_is_loaded_from_a_local_folder() -> None:
    assert found(may_download, "megastyle_cli/models/hub.py") == []


def reads_loading_report(node: ast.AST) -> bool:
    """Whether code asks transformers or diffusers which weights did not fit."""
    return isinstance(node, ast.keyword) and node.arg == "output_loading_info"


def test_only_the_strict_loader_checks_what_was_loaded() -> None:
    assert found(reads_loading_report, "megastyle_cli/models/strict_weights.py") == []


def test_ids_are_hashed_to_numbers_in_one_place() -> None:
    """Shards, seeds and held-out styles divide one number: `text_hash`."""

    def takes_number_of_digest(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and ast.unparse(node) == "int.from_bytes"

    assert found(takes_number_of_digest, "megastyle_cli/core/record.py") == []


def converts_to_lab(node: ast.AST) -> bool:
    """Whether a number stands there that only the gamma curve of sRGB has."""
    return isinstance(node, ast.Constant) and node.value in (0.04045, 12.92, 1.055)


def test_only_one_file_converts_srgb() -> None:
    assert found(converts_to_lab, "megastyle_cli/models/builtin/working_image.py") == []


def imports_torch(path: Path) -> bool:
    """Whether a module imports torch itself."""
    names = [
        *(one.name for node in nodes(path) if isinstance(node, ast.Import) for one in node.names),
        *(node.module or "" for node in nodes(path) if isinstance(node, ast.ImportFrom)),
    ]
    return any(name.split(".")[0] == "torch" for name in names)


def test_threads_beside_models_enter_the_device() -> None:
    """A thread that does not creates a CUDA context on GPU 0, for each process of a node."""
    allowed = [name for name, path in SOURCES.items() if not imports_torch(path)]
    pools = found(
        lambda node: (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("ThreadPoolExecutor", "Thread", "threading.Thread")
        ),
        *allowed,
        "megastyle_cli/models/device.py",
    )

    assert pools == []
