"""The last line and the statistics hold every count; people read durations."""

import json
from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.runner.progress import Progress, Stats, duration, last_sentence, peak_bytes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (12.4, "12s"),
        (312, "5m12s"),
        (3600, "1h00m"),
        (32_940, "9h09m"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def counted() -> Stats:
    stats = Stats("caption", done_before=2)
    for result in ({"id": "a"}, {"id": "b"}, Failure({"id": "c"}, "bad_image", "c is cut off")):
        stats.add(result)
    stats.reject("blank")
    return stats


def test_the_last_sentence_holds_every_count() -> None:
    sentence = last_sentence(counted(), Path("x.errors.jsonl"))

    assert sentence.startswith(
        "caption: 4 in (2 done before) \u00b7 2 out \u00b7 1 rejected (1 blank) \u00b7"
        " 1 failed \u2192 x.errors.jsonl \u00b7 "
    )


def test_the_statistics_hold_counts_and_what_a_step_measured(tmp_path: Path) -> None:
    stats = counted()
    stats.measured["judged"] = 7

    stats.write(tmp_path / "stats.json")

    written = json.loads((tmp_path / "stats.json").read_text())
    assert written["in"] == 4 and written["out"] == 2 and written["failed"] == 1
    assert written["kinds"] == {"bad_image": 1} and written["rejected"] == {"blank": 1}
    assert written["judged"] == 7
    assert 0 < written["peak_bytes"] <= peak_bytes()


def test_without_a_terminal_a_line_comes_only_after_half_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = counted()
    progress = Progress(stats, quiet=False, to_stdout=False, total=8)

    progress.show()
    assert capsys.readouterr().err == ""
    progress._last_s -= 31
    progress.show()

    assert capsys.readouterr().err.startswith("caption 4/8 \u00b7 ")
