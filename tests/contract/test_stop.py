"""A signal costs no picture that is made, and waits for none that is not begun.

The backends send it themselves while they make the picture whose number stands in a file, so that
what is in hand then is known.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import DONE, TRY_AGAIN
from tests.conftest import Runner, draw, jsonl, lines

COUNT = 12
BACKENDS = """
import os, signal
import numpy as np
from pathlib import Path
from PIL import Image
from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.protocols import Description

class Whole:
    name = "slow"

    def __init__(self, **options):
        self.made = 0

    def _make(self, result):
        self.made += 1
        with open("made", "a") as file:
            file.write("x")
        stop_at = Path("stop_at")
        if stop_at.exists() and int(stop_at.read_text()) == self.made:
            stop_at.unlink()
            os.kill(os.getpid(), signal.SIGUSR1)
        return result

    def describe(self, pictures, kind):
        return [self._make(self._describe(picture)) for picture in pictures]

    def _describe(self, picture):
        return Description(style=StyleAttributes(colors=f"{picture.getpixel((0, 0))[0]} red"))

    def paint(self, requests):
        return [self._make(self._paint(request)) for request in requests]

    def restyle(self, requests):
        return self.paint(requests)

    def _paint(self, request):
        return Image.new("RGB", (8, 8), (request.seed % 256, 0, 0))

    def embed(self, pictures):
        colors = [self._make(picture.getpixel((0, 0))) for picture in pictures]
        colors = np.array(colors, np.float32) + 1
        return colors / np.linalg.norm(colors, axis=1, keepdims=True)

class OneByOne(Whole):
    def describe(self, pictures, kind):
        return (self._make(self._describe(picture)) for picture in pictures)

    def paint(self, requests):
        return (self._make(self._paint(request)) for request in requests)

class Paired(Whole):
    def paint_batches(self, requests):
        for start in range(0, len(requests), 2):
            yield self.paint(requests[start : start + 2])

    def restyle_batches(self, requests):
        return self.paint_batches(requests)
"""
COMMANDS = {
    "caption": ["caption", "imgs", "-o", "OUT.jsonl"],
    "synth": ["synth", "pairs.jsonl", "-o", "OUT"],
    "transfer": ["transfer", "--style", "imgs/00.png", "imgs", "-o", "OUT"],
    "retrieve": ["retrieve", "imgs", "--index", "gallery", "-o", "OUT.jsonl"],
    "eval": ["eval", "imgs", "--each", "--reference", "gallery", "-o", "OUT.jsonl"],
}
GALLERY = {"retrieve": 1, "eval": 1}  # pictures that are embedded before the first record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(BACKENDS)
    for name in ("imgs", "gallery"):
        (tmp_path / name).mkdir()
    draw(99).save(tmp_path / "gallery" / "one.png")
    for seed in range(COUNT):
        draw(seed).save(tmp_path / "imgs" / f"{seed:02}.png")
    pairs = [
        {"id": f"p{n}", "style_id": f"s{n // 6}", "style": "ink", "content": f"boat {n}"}
        for n in range(COUNT)
    ]
    jsonl(tmp_path / "pairs.jsonl", pairs)
    return tmp_path


def run(
    megastyle: Runner, folder: Path, command: str, backend: str, out: str, *flags: object
) -> tuple[int, int, str]:
    """The exit code, how many pictures the backend made for records, and standard error."""
    (folder / "made").unlink(missing_ok=True)
    words = [word.replace("OUT", out) for word in COMMANDS[command]]
    done = megastyle(*words, "--backend", f"slow:{backend}", *flags, cwd=folder)
    made = len((folder / "made").read_text()) - GALLERY.get(command, 0)
    return done.returncode, made, done.stderr.decode()


def records(folder: Path, command: str, out: str, *, is_partial: bool) -> list[dict[str, Any]]:
    is_folder = command in ("synth", "transfer")
    name = f"{out}/metadata.jsonl" if is_folder else f"{out}.jsonl"
    return lines(folder / f"{name}{'.partial' if is_partial else ''}")


def files(folder: Path) -> dict[str, bytes]:
    found = [folder, *folder.rglob("*")] if folder.is_dir() else [folder]
    return {str(one.relative_to(folder)): one.read_bytes() for one in found if one.is_file()}


# The batches of a run are 1, 2, 4, ... pictures: numbers 1, 2-3, 4-7, 8-12.
@pytest.mark.parametrize("stop_at", [1, 5])
@pytest.mark.parametrize(
    ("command", "backend", "in_hand"),
    [
        ("caption", "Whole", {1: 1, 5: 7}),
        ("caption", "OneByOne", {1: 1, 5: 5}),
        ("synth", "Whole", {1: 1, 5: 7}),
        ("synth", "OneByOne", {1: 1, 5: 5}),
        ("synth", "Paired", {1: 1, 5: 5}),
        ("transfer", "Whole", {1: 1, 5: 7}),
        ("transfer", "OneByOne", {1: 1, 5: 5}),
        ("transfer", "Paired", {1: 1, 5: 5}),
        ("retrieve", "Whole", {1: 1, 5: 7}),
        ("eval", "Whole", {1: 1, 5: 7}),
    ],
)
def test_a_signal_ends_a_run_after_the_pictures_in_hand_and_loses_none(
    megastyle: Runner,
    folder: Path,
    command: str,
    backend: str,
    in_hand: dict[int, int],
    stop_at: int,
) -> None:
    code, made, stderr = run(megastyle, folder, command, backend, "whole", "--batch-size", 32)
    assert (code, made) == (DONE, COUNT), stderr

    (folder / "stop_at").write_text(str(stop_at + GALLERY.get(command, 0)))
    flags = ("--batch-size", 32, "--stats", "stats.json")
    code, made, stderr = run(megastyle, folder, command, backend, "out", *flags)

    assert (code, made) == (TRY_AGAIN, in_hand[stop_at]), stderr
    assert "stopped by a signal; the same command with --resume continues" in stderr
    written = records(folder, command, "out", is_partial=True)
    assert len(written) == made
    stats = json.loads((folder / "stats.json").read_text())
    expected = {"state": "stopped", "in": made, "out": made, "failed": 0, "to_do": COUNT}
    assert stats | expected == stats

    code, made, stderr = run(megastyle, folder, command, backend, "out", "--resume", *flags)

    left = COUNT - in_hand[stop_at]
    assert (code, made) == (DONE, left), stderr
    stats = json.loads((folder / "stats.json").read_text())
    expected = {"state": "done", "in": left, "to_do": left, "done_before": COUNT - left}
    assert stats | expected == stats
    suffix = "" if command in ("synth", "transfer") else ".jsonl"
    assert files(folder / f"out{suffix}") == files(folder / f"whole{suffix}")


def test_pictures_of_a_style_that_are_judged_together_do_not_delay_the_stop(
    megastyle: Runner, folder: Path
) -> None:
    """The first style has six pictures: the stop comes at the second, and none of it is kept."""
    flags = ("--min-style-score", 0.1, "--style-against", "others")
    code, made, stderr = run(megastyle, folder, "synth", "Whole", "whole", *flags)
    assert (code, made) == (DONE, COUNT), stderr

    (folder / "stop_at").write_text("2")
    code, made, stderr = run(megastyle, folder, "synth", "Whole", "out", *flags)
    assert (code, made) == (TRY_AGAIN, 2), stderr
    assert records(folder, "synth", "out", is_partial=True) == []

    code, made, stderr = run(megastyle, folder, "synth", "Whole", "out", "--resume", *flags)
    assert (code, made) == (DONE, COUNT), stderr
    assert files(folder / "out") == files(folder / "whole")


@pytest.mark.parametrize("backend", ["Whole", "OneByOne", "Paired"])
def test_neither_batches_nor_stops_change_which_duplicates_are_rejected(
    megastyle: Runner, folder: Path, backend: str
) -> None:
    flags = ("--reject-duplicates", "--reject-blank")
    for size in (1, 3, 32):
        code, _, stderr = run(
            megastyle, folder, "synth", backend, f"out{size}", "--batch-size", size, *flags
        )
        assert code == DONE, stderr
    (folder / "stop_at").write_text("4")
    assert run(megastyle, folder, "synth", backend, "out", *flags)[0] == TRY_AGAIN
    assert run(megastyle, folder, "synth", backend, "out", "--resume", *flags)[0] == DONE

    for name in ("out1", "out3", "out"):
        assert files(folder / name) == files(folder / "out32")
