"""Storage between runs: compiled code, downloaded models, temporary files."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from megastyle_cli.core.check import Check
from megastyle_cli.training.common.memory_plan import GIB, format_bytes
from megastyle_cli.training.common.preflight import existing_parent

MIN_TEMPORARY = GIB
CHECKOUT = Path(__file__).parents[2]


def check_storage() -> Iterator[Check]:
    """The caches, whether they can be written, the space there, and the example files."""
    yield _check_compiled_code()
    yield _check_folder("models", _hub_cache(), "HF_HOME", min_free=0)
    yield _check_folder("temporary", Path(tempfile.gettempdir()), "TMPDIR", min_free=MIN_TEMPORARY)
    examples = examples_folder()
    if examples is not None:
        yield Check(topic="Folders", name="examples", text=str(examples))


def downloaded_models() -> dict[str, int]:
    """The models in the hub's cache of this machine, by name, and their bytes on disk."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir(_hub_cache())
    except CacheNotFound:
        return {}
    return {repo.repo_id: repo.size_on_disk for repo in found.repos if repo.repo_type == "model"}


def examples_folder() -> Path | None:
    """Where the scripts and pictures of the examples are: in the checkout, or installed."""
    places = (CHECKOUT / "examples", Path(sys.prefix, "share", "megastyle", "examples"))
    return next((place for place in places if (place / "pipeline.sh").is_file()), None)


def _check_compiled_code() -> Check:
    from megastyle_cli.compute.jit import cache_folder, is_anything_kept

    folder = cache_folder()
    is_prepared = is_anything_kept()
    if folder is None and not is_prepared:
        text = "cannot be kept: every dedup of many records compiles for seconds"
        fix = "set NUMBA_CACHE_DIR to a folder that can be written"
        return Check(
            topic="Folders", name="compiled code", text=text, ok=False, is_needed=False, fix=fix
        )
    return Check(
        topic="Folders",
        name="compiled code",
        text=f"{folder or 'read-only'}{'' if is_prepared else ', nothing compiled yet'}",
        ok=is_prepared,
        is_needed=False,
        fix="" if is_prepared else "megastyle doctor --prepare",
    )


def _check_folder(name: str, folder: Path, variable: str, *, min_free: int) -> Check:
    nearest = existing_parent(folder)
    free = shutil.disk_usage(nearest).free
    if not os.access(nearest, os.W_OK | os.X_OK):
        text, fix = f"{folder} cannot be written", f"set {variable} to a folder that can"
    elif free < min_free:
        text, fix = f"{folder} has {format_bytes(free)} free", f"make room, or set {variable}"
    else:
        return Check(topic="Folders", name=name, text=f"{folder}, {format_bytes(free)} free")
    return Check(topic="Folders", name=name, text=text, ok=False, is_needed=False, fix=fix)


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)
