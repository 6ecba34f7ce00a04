"""Counts, metadata and the report of decisions on known records."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from megastyle_cli.dedup.config import DedupConfig, NearConfig, SemanticConfig
from megastyle_cli.dedup.deduplicate import Decisions
from megastyle_cli.dedup.ivf_search import SearchRecall
from megastyle_cli.dedup.report import (
    build_report,
    count_stages,
    kept_metadata,
    rejected_metadata,
    summary,
)
from megastyle_cli.dedup.semantic import SearchStats
from megastyle_cli.io.temporary_files import Spool

EVERY_STAGE = DedupConfig(near=NearConfig(), semantic=SemanticConfig())


def decisions(groups: list[list[float]]) -> Decisions:
    """Groups one after another: a kept record, and one near duplicate for each score."""
    stage, duplicate_of, score = [], [], []
    for scores in groups:
        keeper = len(stage)
        stage += [0] + [2] * len(scores)
        duplicate_of += [keeper] * (1 + len(scores))
        score += [1.0, *scores]
    return Decisions(
        stage=np.array(stage, np.uint8),
        duplicate_of=np.array(duplicate_of),
        score=np.array(score),
        is_copy=np.zeros(len(stage), bool),
        seconds={"exact": 1.5, "near": 0.5},
    )


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool() as spool:
        for row in range(200):
            spool.add({"id": f"r{row}", "style": f"text {row}"})
        yield spool


def test_each_stage_sees_what_the_one_before_left_and_shows_its_least_similar_pair() -> None:
    found = Decisions(
        stage=np.array([0, 1, 0, 2, 2, 0, 0, 0, 0, 0]),
        duplicate_of=np.array([0, 0, 2, 0, 2, 5, 6, 7, 8, 9]),
        score=np.array([1, 1, 1, 0.9, 0.8, 1, 1, 1, 1, 1]),
        is_copy=np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0], bool),  # the fifth is a copy of the fourth
        seconds={"near": 0.5},
    )
    dropped = list(found)

    exact, near, semantic = count_stages(found, EVERY_STAGE)

    assert (exact.seen, exact.removed, exact.example) == (10, 2, dropped[0])
    assert (near.seen, near.removed, near.example) == (8, 1, dropped[2])
    assert (semantic.seen, semantic.removed, semantic.example) == (7, 0, None)
    assert [stage.seconds for stage in (exact, near, semantic)] == [0.0, 0.5, 0.0]


def test_stages_that_did_not_run_are_not_counted() -> None:
    (near,) = count_stages(decisions([[0.8]]), DedupConfig(exact=None, near=NearConfig()))

    assert (near.stage, near.seen, near.removed) == ("near", 2, 1)


def test_the_summary_counts_what_each_stage_removed() -> None:
    stages = count_stages(decisions([[0.8] * 1200, []]), EVERY_STAGE)

    assert summary(stages) == "removed: exact 0 \u00b7 near 1,200 \u00b7 semantic 0"
    assert summary([]) == "removed: nothing: all stages are switched off"
    assert stages[1].stats() == {"in": 1202, "out": 2, "seconds": 0.5}


def test_kept_records_count_what_was_dropped_in_their_favour() -> None:
    found = decisions([[0.8, 0.9], [], [0.7], []])

    metadata, which = kept_metadata(found, run="1234abcd")

    assert [metadata[number] for number in which.tolist()] == [
        {"run": "1234abcd", "dropped": count} for count in (2, 0, 1, 0)
    ]
    assert len(metadata) == 3


def test_dropped_records_name_the_kept_one_the_stage_and_the_score(spool: Spool) -> None:
    found = decisions([[0.87654], [], [1.0]])

    assert list(rejected_metadata(found, spool, run="x")) == [
        {"run": "x", "duplicate_of": "r0", "how": "near", "score": 0.8765},
        {"run": "x", "duplicate_of": "r3", "how": "near", "score": 1.0},
    ]


def report_of(found: Decisions, spool: Spool) -> dict[str, Any]:
    return build_report(found, count_stages(found, EVERY_STAGE), spool, "style")


def test_the_report_shows_the_least_similar_pair_of_each_stage(spool: Spool) -> None:
    found = decisions([[0.9], [0.75123, 0.8]])

    report = report_of(found, spool)

    assert (report["in"], report["out"]) == (5, 2)
    assert report["measures"] == [
        {"how": "exact", "in": 5, "removed": 0},
        {
            "how": "near",
            "in": 5,
            "removed": 3,
            "example": {
                "id": "r3",
                "style": "text 3",
                "how": "near",
                "score": 0.7512,
                "for": {"id": "r2", "style": "text 2"},
            },
        },
        {"how": "semantic", "in": 2, "removed": 0},
    ]


def test_the_report_says_how_close_texts_were_searched_for(spool: Spool) -> None:
    found = decisions([[0.9]])
    found.search.searches.append(SearchRecall())

    exact, near, semantic = report_of(found, spool)["measures"]

    assert semantic == {"how": "semantic", "in": 1, "removed": 0, "search": "exact"}
    assert "search" not in exact and "search" not in near
    assert found.search == SearchStats(searches=[SearchRecall()])


def test_groups_are_shown_largest_first_with_their_least_similar_members(spool: Spool) -> None:
    scores = [0.9, 0.8, 0.99, 0.95, 0.85, 0.97, 0.9]

    report = report_of(decisions([[0.9], [], scores, [0.8]]), spool)

    first, second, third = report["largest_groups"]
    assert (first["kept"], first["removed"]) == ({"id": "r3", "style": "text 3"}, 7)
    assert [one["score"] for one in first["examples"]] == [0.8, 0.85, 0.9, 0.9, 0.95]
    assert first["examples"][0] == {"id": "r5", "style": "text 5", "how": "near", "score": 0.8}
    assert [second["kept"]["id"], third["kept"]["id"]] == ["r0", "r11"]  # ties by row


@pytest.mark.parametrize(("groups", "shown"), [(19, 19), (20, 20), (21, 20), (60, 20)])
def test_at_most_twenty_groups_are_shown(groups: int, shown: int, spool: Spool) -> None:
    report = report_of(decisions([[0.9]] * groups + [[]]), spool)

    assert len(report["largest_groups"]) == shown
    assert report["measures"][1]["removed"] == groups
