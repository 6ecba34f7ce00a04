"""Metrics and errors of a training run: metrics.jsonl, errors.jsonl and TensorBoard."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate.tracking import TensorBoardTracker
from accelerate.utils import is_tensorboard_available

from megastyle_cli.core.failure_log import FailureLog
from megastyle_cli.core.json_file import complete_objects
from megastyle_cli.core.record import ERROR, Failure, Record, rename_pictures
from megastyle_cli.io.record_names import to_folder
from megastyle_cli.training.common.run_folder import write_text

METRICS_FILE, ERRORS_FILE = "metrics.jsonl", "errors.jsonl"


class MetricsLog:
    """Appends to the metrics and errors files of a run; writes nothing on ranks but the first.

    `failures` maps the message of every failure of the run, earlier starts included, to its kind.
    """

    def __init__(self, folder: Path, command: str, *, is_writing: bool) -> None:
        self.folder, self.command, self.is_writing = folder, command, is_writing
        self.tensorboard: Any = None
        self._log = FailureLog(command)
        path = folder / ERRORS_FILE
        records = _complete_objects(path, **{ERROR: dict})
        errors = [record[ERROR] for record in records]
        self.failures = {str(error.get("message")): str(error.get("kind")) for error in errors}
        if is_writing and records:
            write_text(path, _lines(records))  # a kill may have cut off the last

    def discard_after(self, step: int) -> None:
        """Deletes the metrics of later steps, or all if `step` is 0: they will be logged again."""
        path = self.folder / METRICS_FILE
        if self.is_writing and path.exists():
            kept = [x for x in _complete_objects(path, step=int) if x["step"] <= step > 0]
            write_text(path, _lines(kept))

    def start_tensorboard(self, step: int) -> None:
        """Logs metrics after `step` to RUN/tensorboard/ too, where TensorBoard is installed."""
        if not self.is_writing or not is_tensorboard_available():
            return
        tracker = TensorBoardTracker("tensorboard", self.folder, purge_step=step + 1)
        with suppress(ImportError):  # installed without its own dependencies
            tracker.start()
            self.tensorboard = tracker

    def log(self, line: dict[str, Any]) -> None:
        """Appends one line of metrics."""
        self._append(METRICS_FILE, line)
        if self.tensorboard is not None:
            values = {name: value for name, value in line.items() if name != "step"}
            values |= {f"held_out/{k}": v for k, v in values.pop("held_out", {}).items()}
            values = {name: value for name, value in values.items() if value is not None}
            self.tensorboard.log(values, step=line["step"])

    def close(self) -> None:
        """Counts the failures that were not shown; writes out what TensorBoard has buffered."""
        self._log.close(self.folder / ERRORS_FILE)
        if self.tensorboard is not None:
            self.tensorboard.finish()

    def log_failure(self, failure: Failure) -> bool:
        """Logs a failure, and appends it to the errors, unless it is there already; whether it was
        new."""
        if failure.message in self.failures:
            return False
        if self.is_writing:
            self._log.add(failure)
        self.failures[failure.message] = failure.kind
        error = {"step": self.command, "kind": failure.kind, "message": failure.message}
        record = rename_pictures(failure.record, to_folder(self.folder))
        self._append(ERRORS_FILE, {**record, ERROR: {**record.get(ERROR, {}), **error}})
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


def _complete_objects(path: Path, **types: type) -> list[dict[str, Any]]:
    return list(complete_objects(path, **types)) if path.exists() else []


def _lines(objects: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(found) + "\n" for found in objects)
