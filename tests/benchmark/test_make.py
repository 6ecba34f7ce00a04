"""Making a benchmark: what the options ask for, and a folder that replaces another."""

import json

import pytest

from megastyle_cli.benchmark.make import make_benchmark, selection_of
from megastyle_cli.benchmark.options import BenchmarkOptions
from megastyle_cli.benchmark.selection import Selection
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from tests.benchmark.small_bench import drawn
from tests.conftest import jsonl, lines


def made(data, folder, selection, where=None, overwrite=False):
    return make_benchmark(
        [str(data)],
        folder,
        selection,
        where or {},
        output=OutputOptions(),
        existing=ResumeOptions(overwrite=overwrite),
        report=ReportOptions(quiet=True),
    )


def test_options_become_a_selection_and_filters():
    options = BenchmarkOptions(
        styles=4, queries=2, group="design", where=["license=MIT"], split_key="split"
    )

    selection, where = selection_of(options, "style", "content", 3)

    assert where == {"license": ["MIT"], "split": ["heldout"]}
    assert selection == Selection(
        styles=4,
        per_style=8,
        seed=3,
        label="style",
        content_label="content",
        queries=2,
        group="design",
    )


def test_one_per_group_needs_a_group():
    with pytest.raises(MegastyleError, match="--one-per-group needs groups"):
        selection_of(BenchmarkOptions(one_per_group=True), "style_id", "content_id", 0)


def test_a_benchmark_that_replaces_a_larger_one_keeps_only_its_own_pictures(tmp_path):
    data = jsonl(tmp_path / "set.jsonl", drawn(tmp_path, license="CC0", split="heldout"))
    bench = tmp_path / "bench"
    assert made(data, bench, Selection(styles=5, per_style=8)) == 0

    assert made(data, bench, Selection(styles=2, per_style=4), {"license": ["CC0"]}, True) == 0

    rows = lines(bench / "metadata.jsonl")
    pictures = {str(path.relative_to(bench)) for path in bench.glob("images/*/*")}
    assert len(rows) == 8 and {row["file_name"] for row in rows} == pictures
    settings = json.loads((bench / "benchmark.json").read_text())
    assert settings["where"] == {"license": ["CC0"]} and settings["licenses"] == {"CC0": 8}
    assert "## CC0" in (bench / "ATTRIBUTION.md").read_text()
