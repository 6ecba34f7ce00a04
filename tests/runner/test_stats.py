"""The statistics are whole at any time, say how far a run is, and give the rate of the next one."""

import json
from pathlib import Path

from megastyle_cli.core.record import Failure, Run
from megastyle_cli.runner.progress import Stats
from megastyle_cli.runner.stats import StatsFile, measured_rate, peak_bytes


def counted() -> Stats:
    stats = Stats("caption", "12345678", done_before=2, total=10)
    for result in ({"id": "a"}, {"id": "b"}, Failure({"id": "c"}, "bad_image", "c is cut off")):
        stats.add(result)
    stats.reject("blank")
    return stats


def test_the_statistics_hold_counts_and_what_a_step_measured(tmp_path: Path) -> None:
    stats = counted()
    stats.measured["judged"] = 7

    StatsFile(tmp_path / "stats.json", stats).finish("done")

    written = json.loads((tmp_path / "stats.json").read_text())
    assert written["in"] == 4 and written["out"] == 2 and written["failed"] == 1
    assert written["kinds"] == {"bad_image": 1} and written["rejected"] == {"blank": 1}
    assert written["judged"] == 7 and written["state"] == "done" and "eta_s" not in written
    assert 0 < written["peak_bytes"] <= peak_bytes()


def test_a_run_in_progress_says_what_is_left_of_it(tmp_path: Path) -> None:
    path, stats = tmp_path / "stats.json", counted()
    file = StatsFile(path, stats, interval_s=0)

    file.update()
    first = json.loads(path.read_text())
    stats.add({"id": "d"})
    file.update()
    second = json.loads(path.read_text())
    file.abandon()

    assert (first["state"], first["in"], first["to_do"]) == ("running", 4, 8)
    assert second["in"] == 5 and second["eta_s"] >= 0
    assert json.loads(path.read_text())["state"] == "stopped"
    assert [name.name for name in tmp_path.iterdir()] == ["stats.json"]


def test_the_statistics_are_not_written_more_often_than_every_interval(tmp_path: Path) -> None:
    path, stats = tmp_path / "stats.json", counted()
    file = StatsFile(path, stats)
    file.update()
    path.unlink()

    file.update()

    assert not path.exists()


def test_a_rate_is_that_of_the_same_run_on_this_machine(tmp_path: Path) -> None:
    path, run = tmp_path / "stats.json", Run("caption", {"seed": 0})
    stats = Stats("caption", run.key, read=30)
    stats.started_s -= 10
    assert measured_rate(path, run) is None

    StatsFile(path, stats).finish("done")

    assert 2.5 < (measured_rate(path, run) or 0) <= 3
    assert measured_rate(path, Run("caption", {"seed": 1})) is None
    path.write_text("{")
    assert measured_rate(path, run) is None and measured_rate(None, run) is None
