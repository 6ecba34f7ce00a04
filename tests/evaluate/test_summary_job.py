"""A summary is one object; what identifies its run are the settings."""

import json

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from tests.conftest import jsonl


def run(folder, settings, **existing):
    job = summary_job(
        settings,
        [str(folder / "in.jsonl")],
        lambda summary: f"text {summary['n']}\n",
        output=OutputOptions(output=str(folder / "out.json")),
        existing=ResumeOptions(**existing),
        report=ReportOptions(),
        as_json=False,
    )
    with job:
        job.write([{"n": len(list(job.collect().read()))}])
    return job


def test_a_file_gets_json_and_the_settings_identify_the_run(tmp_path):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}, {"id": "b"}])

    job = run(tmp_path, {"measure": "one"})
    other = run(tmp_path, {"measure": "two"}, overwrite=True)

    assert job.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"n": 2}
    assert job.run.key != other.run.key


def test_an_existing_summary_is_refused(tmp_path):
    jsonl(tmp_path / "in.jsonl", [{"id": "a"}])
    run(tmp_path, {})

    with pytest.raises(MegastyleError, match=r"out\.json exists"):
        run(tmp_path, {})
