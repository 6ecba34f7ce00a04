"""Runs of a benchmark from end to end: encoders, painters, folding, bad input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from megastyle_cli.benchmark.score_systems import (
    RunSettings,
    check_tiers,
    fold_results,
    holds_query_results,
    run_benchmark,
)
from megastyle_cli.benchmark.selection import Selection
from megastyle_cli.benchmark.systems import System, parse_systems
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.baselines import RandomEncoder
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from tests.benchmark.small_bench import drawn, make
from tests.conftest import jsonl, lines

BUILTIN = System(name="builtin", kind="encoder", backend="builtin")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """22 styles of 4 contents, of which each has one query."""
    folder = tmp_path_factory.mktemp("run")
    selection = Selection(styles=22, per_style=4, group="design")
    records = [{**r, "design": r["style_id"]} for r in drawn(folder, 22, 4, 32)]
    make(folder / "bench", records, selection)
    return folder / "bench"


class CountingEncoder(RandomEncoder):
    """Random vectors, and the number of images that were encoded."""

    num_images = 0

    def embed(self, pictures):
        CountingEncoder.num_images += len(pictures)
        return super().embed(pictures)


def run(bench, output, *systems, tiers=("plain",), each=False, **more):
    settings = RunSettings(
        systems=parse_systems(systems), judge=BUILTIN, tiers=tiers, ks=(1, 3), seed=0, **more
    )
    code = run_benchmark(bench, settings, each=each, **how(output))
    assert code == 0
    return lines(output) if each else json.loads(Path(output).read_text())


def how(output):
    return {
        "table": None,
        "page": None,
        "as_json": True,
        "output": OutputOptions(output=str(output)),
        "existing": ResumeOptions(),
        "report": ReportOptions(quiet=True),
    }


def plain(table):
    """A table without the provenance of its run."""
    return {key: value for key, value in table.items() if key != "_megastyle"}


@pytest.fixture(scope="module")
def results(bench, tmp_path_factory):
    """The results by query of two systems in one call, and of each in a call of its own."""
    folder = tmp_path_factory.mktemp("results")
    names = ("edges", "random")
    both = run(bench, folder / "both.jsonl", *names, each=True, cache=folder / "cache")
    alone = [run(bench, folder / f"{name}.jsonl", name, each=True) for name in names]
    return folder, both, alone


def measured(found):
    return [
        {k: v for k, v in line.items() if k not in ("_megastyle", "file_name")} for line in found
    ]


def test_two_systems_in_one_call_equal_two_calls(results):
    _, both, (edges, random) = results

    assert measured(both) == measured([*edges, *random])


def test_results_of_several_files_fold_to_the_table_of_one_call(bench, results, tmp_path):
    folder, _, _ = results
    table = run(bench, tmp_path / "table.json", "edges", "random")

    files = [str(folder / "edges.jsonl"), str(folder / "random.jsonl")]
    assert holds_query_results(files)
    assert fold_results(files, 0, **how(tmp_path / "folded.json")) == 0

    assert plain(json.loads((tmp_path / "folded.json").read_text())) == plain(table)


def test_two_runs_give_equal_bytes(bench, tmp_path):
    for name in ("a.json", "b.json"):
        run(bench, tmp_path / name, "edges", "random")

    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_all_tiers_run_and_near_styles_name_their_judge(bench, tmp_path):
    tiers = ("other-contents", "same-content", "near", "grey", "color-matched")

    table = run(bench, tmp_path / "t.json", "colors", "random", tiers=tiers)

    assert table["benchmark"]["tiers"] == list(tiers)
    assert table["benchmark"]["near"] == "color histograms"
    grey, matched = (
        table["systems"][0]["measures"][f"{tier}.map_3"]["value"]
        for tier in ("grey", "color-matched")
    )
    assert grey != matched


def test_tiers_that_are_masks_share_one_set_of_vectors(bench, tmp_path):
    tiers = ("plain", "other-contents", "same-content", "near")

    run(bench, tmp_path / "t.json", f"x={__name__}:CountingEncoder", tiers=tiers)

    assert CountingEncoder.num_images == 88 + 1  # one shows the width


def test_painters_are_scored_by_a_judge_and_missing_pictures_count(bench, tmp_path):
    queries = [row for row in lines(bench / "metadata.jsonl") if row["benchmark"] == "query"]
    painted = [
        {
            "id": f"p{number}",
            "file_name": str(bench / row["file_name"]),
            "style_id": row["style_id"],
            "content_id": row["content_id"],
        }
        for number, row in enumerate(queries[2:])
    ]
    records = jsonl(tmp_path / "painted.jsonl", painted)

    table = run(bench, tmp_path / "t.json", "originals", f"mine={records}")

    originals, mine = table["systems"]
    assert table["missing"] == {"mine": 2} and table["benchmark"]["judge"] == "builtin"
    assert mine["measures"]["recall_3"]["value"] <= originals["measures"]["recall_3"]["value"]
    assert originals["measures"]["style_score"]["random"] is not None


def test_what_changes_the_results_changes_the_run(tmp_path):
    settings = RunSettings(
        systems=parse_systems(["edges"]), judge=BUILTIN, tiers=("plain",), ks=(1,), seed=0
    )

    others = [
        replace(settings, systems=parse_systems(["x=edges"])),
        replace(settings, systems=parse_systems(["originals"])),
        replace(settings, tiers=("grey",)),
        replace(settings, ks=(1, 5)),
    ]
    judged = replace(others[1], judge=System(name="e", kind="encoder", backend="edges"))
    for other in (*others, judged):
        assert other.options != settings.options
    assert judged.options != others[1].options
    assert replace(settings, cache=tmp_path).options == settings.options


def test_a_tier_of_groups_needs_siblings(bench, tmp_path):
    with pytest.raises(MegastyleError, match="no query has another style to search in tier within"):
        run(bench, tmp_path / "t.json", "random", tiers=("within-group",))


def test_unknown_tiers_are_named_with_those_there_are():
    assert check_tiers([]) == ["plain"] and check_tiers(["grey", "grey"]) == ["grey"]
    with pytest.raises(MegastyleError, match="there is no tier 'gray'") as error:
        check_tiers(["gray"])
    assert "grey" in error.value.hint


def test_other_records_are_no_results(results, tmp_path):
    folder, both, _ = results
    other = jsonl(tmp_path / "other.jsonl", [{"id": "a", "style_id": "s"}])
    mixed = jsonl(tmp_path / "mixed.jsonl", [both[0], {"id": "a"}])

    assert not holds_query_results([str(other)]) and not holds_query_results([])
    assert not holds_query_results([str(folder)])
    with pytest.raises(MegastyleError, match="record a is no result of a query"):
        fold_results([str(mixed)], 0, **how(tmp_path / "t.json"))
