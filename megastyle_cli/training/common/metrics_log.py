"""What a training run says line by line: metrics.jsonl, errors.jsonl, TensorBoard."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate.tracking import TensorBoardTracker
from accelerate.utils import is_tensorboard_available

from megastyle_cli.core.record import ERROR, Failure, Record, rename_pictures
from megastyle_cli.io.relative_paths import to_folder
from megastyle_cli.training.common.atomic_folder import write_text, write_whole


class Journal:
    """Appends to metrics.jsonl and errors.jsonl of a run; nothing on ranks other than the first.

    `told` holds the kind of every failure of the run by its message, of earlier starts too.
    """

    def __init__(self, folder: Path, command: str, *, is_writing: bool) -> None:
        self.folder, self.command, self.is_writing = folder, command, is_writing
        self.tracker: Any = None
        path = folder / "errors.jsonl"
        errors = [json.loads(line)[ERROR] for line in _whole_lines(path)]
        self.told = {error["message"]: error["kind"] for error in errors}
        if is_writing and path.exists():
            _keep(path, _whole_lines(path))  # a kill may have torn the last one

    def cut(self, step: int) -> None:
        """Forgets what was measured after `step`, or for 0 all: it is measured again."""
        path = self.folder / "metrics.jsonl"
        if self.is_writing and path.exists():
            whole = _whole_lines(path)
            _keep(path, [line for line in whole if json.loads(line)["step"] <= step > 0])

    def track(self, step: int) -> None:
        """From `step` on, metrics go to RUN/tensorboard/ too, where TensorBoard is installed."""
        if not self.is_writing or not is_tensorboard_available():
            return
        tracker = TensorBoardTracker("tensorboard", self.folder, purge_step=step + 1)
        with suppress(ImportError):  # there, but without what it needs
            tracker.start()
            self.tracker = tracker

    def measure(self, line: dict[str, Any]) -> None:
        """One line of metrics."""
        self._append("metrics.jsonl", line)
        if self.tracker is not None:
            told = {name: value for name, value in line.items() if name != "step"}
            told |= {f"held_out/{k}": v for k, v in told.pop("held_out", {}).items()}
            self.tracker.log({k: v for k, v in told.items() if v is not None}, step=line["step"])

    def close(self) -> None:
        """Writes out what TensorBoard holds back."""
        if self.tracker is not None:
            self.tracker.finish()

    def fail(self, failure: Failure) -> bool:
        """One line of errors, unless it is there; whether it was new."""
        if failure.message in self.told:
            return False
        self.told[failure.message] = failure.kind
        told = {"step": self.command, "kind": failure.kind, "message": failure.message}
        record = rename_pictures(failure.record, to_folder(self.folder))
        self._append("errors.jsonl", {**record, ERROR: {**record.get(ERROR, {}), **told}})
        return True

    def _append(self, name: str, line: Record) -> None:
        if not self.is_writing:
            return
        try:
            with (self.folder / name).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as fault:
            fault.filename = str(self.folder / name)  # a full disk names no file
            raise


def _whole_lines(path: Path) -> list[str]:
    text = path.read_text() if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _keep(path: Path, lines: list[str]) -> None:
    write_whole(path, lambda aside: write_text(aside, "".join(lines)))
