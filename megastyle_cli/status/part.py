"""How far one output is: done, running, stopped or missing, and how many records it has.

Nothing is parsed but owner files and run.json: lines are counted as bytes.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.locked_file import PARTIAL
from megastyle_cli.core.owner import FoundOwner, is_alive, owner_path, read_owner
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import output_paths
from megastyle_cli.io.readers.compressed import open_decompressed
from megastyle_cli.io.record_names import LISTING

State = Literal["done", "running", "stopped", "missing"]
STATES: tuple[State, ...] = ("done", "running", "stopped", "missing")

EXPORTS = ("encoder", "lora", "flux")  # what a finished training has made
RUN_FILE, LATEST, STOPPED = "run.json", "latest", "stopped"
BLOCK = 1 << 20  # bytes read at once


@dataclass(frozen=True, kw_only=True)
class Part:
    """One output, or one part of a folder of parts.

    `index` is the number of the part, None for a whole output. `failed` counts the records in the
    errors file; of a run that was stopped these are tried again. `step` and `steps` are those of a
    training.
    """

    path: Path
    state: State
    index: int | None = None
    records: int | None = None
    failed: int = 0
    step: int | None = None
    steps: int | None = None
    host: str = ""
    pid: int | None = None
    job: str = ""
    heartbeat_s: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON, without what is not known."""
        values = {**vars(self), "path": str(self.path)}
        return {key: value for key, value in values.items() if value is not None and value != ""}


def file_part(path: Path, index: int | None = None) -> Part:
    """The state of a file of records."""
    errors = output_paths(str(path), Shard(), folder=False, is_summary=True).errors
    assert errors is not None
    return _records_part(path, path, errors, index)


def folder_part(path: Path, index: int | None = None) -> Part:
    """The state of a folder of images."""
    paths = output_paths(str(path), Shard(), folder=True)
    assert paths.final is not None and paths.errors is not None
    return _records_part(path, paths.final, paths.errors, index)


def training_part(folder: Path) -> Part:
    """The state of a training run."""
    try:
        steps = read_object(folder / RUN_FILE).get("options", {}).get("steps")
    except (MegastyleError, AttributeError):
        steps = None
    latest = folder / LATEST
    name = latest.readlink().name if latest.is_symlink() else ""
    step = int(name.removeprefix("step-")) if name.removeprefix("step-").isdecimal() else 0
    is_exported = any((folder / export).exists() for export in EXPORTS)
    state: State = "stopped"
    if is_exported and not (folder / STOPPED).exists() and (steps is None or step >= steps):
        state = "done"
    failed = count_lines(folder / "errors.jsonl")
    return _running_or(
        Part(path=folder, state=state, step=step, steps=steps, failed=failed), folder / RUN_FILE
    )


def is_output_file(path: Path) -> bool:
    """Whether there is a file of records at `path`, finished or not."""
    return path.is_file() or _partial(path).is_file() or owner_path(path).is_file()


def is_image_folder(path: Path) -> bool:
    """Whether `path` is a folder of images, finished or not."""
    return is_output_file(path / LISTING)


def is_training(path: Path) -> bool:
    """Whether `path` is the folder of a training run."""
    return (path / RUN_FILE).is_file() and (path / "checkpoints").is_dir()


def count_lines(path: Path) -> int:
    """How many complete lines a file has, also a compressed one; 0 if it does not exist."""
    if not path.is_file():
        return 0
    with open_decompressed(path) as file:
        count = 0
        while block := file.read(BLOCK):
            count += block.count(b"\n")
        return count


def _records_part(path: Path, final: Path, errors: Path, index: int | None) -> Part:
    partial = _partial(final)
    if final.is_file() and not partial.is_file():
        failed = count_lines(errors)
        return Part(path=path, state="done", index=index, records=count_lines(final), failed=failed)
    if not is_output_file(final):
        return Part(path=path, state="missing", index=index)
    failed = max(count_lines(errors), count_lines(_partial(errors)))
    records = count_lines(partial)
    return _running_or(
        Part(path=path, state="stopped", index=index, records=records, failed=failed), final
    )


def _running_or(part: Part, output: Path) -> Part:
    """The part as running, if a live process writes `output`; else as it is."""
    found = read_owner(owner_path(output))
    if found is None or not is_alive(found):
        return part
    return Part(**{**vars(part), "state": "running", **_owner_facts(found)})


def _owner_facts(found: FoundOwner) -> dict[str, Any]:
    facts: dict[str, Any] = {"heartbeat_s": max(0, round(time.time() - found.heartbeat))}
    if found.record:
        process = found.record.process
        facts |= {"host": process.host, "pid": process.pid, "job": found.record.job}
    return facts


def _partial(final: Path) -> Path:
    return final.with_name(f"{final.name}{PARTIAL}")
