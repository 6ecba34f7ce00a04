"""What a report draws of a scored set, against loops over its pairs."""

import numpy as np
import pytest

from megastyle_cli.evaluate import report_data
from megastyle_cli.evaluate.report_data import DIFFERENT, SAME, build_report_data
from tests.evaluate.small_set import VECTORS, record, scored_set, styled
from tests.retrieval.vectors import cosines

STYLES = np.arange(12) % 3


def rounded(values):
    return set(np.round(values, 4).tolist())


def test_histograms_are_of_pairs_of_equal_and_of_different_styles():
    data = build_report_data(scored_set(styled()))

    direct = cosines(VECTORS[:12], VECTORS[50:53])
    is_own = STYLES[:, None] == np.arange(3)
    assert sorted(data.histograms[SAME]) == sorted(np.round(direct[is_own], 4))
    assert set(data.histograms[DIFFERENT]) <= rounded(direct[~is_own])
    assert len(data.histograms[DIFFERENT]) > 12


def test_without_references_images_are_compared_with_their_own_style():
    records = [record(i, style_id=f"s{i % 3}") for i in range(12)]

    data = build_report_data(scored_set(records))

    direct = cosines(VECTORS[:12], VECTORS[:12])
    is_own = (STYLES[:, None] == STYLES) & ~np.eye(12, dtype=bool)
    assert set(data.histograms[SAME]) <= rounded(direct[is_own])
    assert set(data.histograms[DIFFERENT]) <= rounded(direct[STYLES[:, None] != STYLES])
    means = {f"s{s}": direct[s == STYLES][:, s == STYLES] for s in range(3)}
    expected = {name: (block.sum() - np.trace(block)) / 12 for name, block in means.items()}
    assert {bar.name: (bar.score, bar.number) for bar in data.bars} == {
        name: (pytest.approx(score, abs=1e-6), 4) for name, score in expected.items()
    }


def test_bars_are_mean_scores_best_first():
    found = scored_set(styled())

    data = build_report_data(found)

    scores = found.values("style_score")
    assert {bar.name: bar.score for bar in data.bars} == {
        f"s{s}": pytest.approx(scores[s::3].mean()) for s in range(3)
    }
    values = [bar.score for bar in data.bars]
    assert values == sorted(values, reverse=True)
    assert [bar.number for bar in data.bars] == [4, 4, 4]


def test_the_worst_are_least_above_their_random_baseline():
    found = scored_set(styled())

    worst = build_report_data(found).worst

    direct = cosines(VECTORS[:12], VECTORS[50:53])
    own = found.values("style_score")
    random = (direct.sum(axis=1) - direct[np.arange(12), STYLES]) / 2
    order = np.argsort(own - random, kind="stable")
    assert [each["id"] for each in worst] == [f"r{i}" for i in order]
    first = order[0]
    neighbor = (cosines(VECTORS[:12], VECTORS[:12]) - 3 * np.eye(12))[first].argmax()
    why = f"cosine {own[first]:.2f} with its style (s{first % 3}), {random[first]:.2f} with others"
    if neighbor % 3 != first % 3:
        why += f"; nearest image: s{neighbor % 3}"
    assert worst[0]["why"] == why
    assert worst[0]["neighbor_file_name"] == str(50 + first % 3)


def test_without_a_reference_the_nearest_image_stands_beside_the_worst():
    records = [record(i, style_id=f"s{i % 3}") for i in range(12)]

    worst = build_report_data(scored_set(records)).worst

    row = int(worst[0]["file_name"])
    neighbor = (cosines(VECTORS[:12], VECTORS[:12]) - 3 * np.eye(12))[row].argmax()
    assert worst[0]["neighbor_file_name"] == str(neighbor)


def test_an_image_of_another_style_is_named_where_it_is_the_nearest():
    nearest_row = (cosines(VECTORS[:12], VECTORS[:12]) - 3 * np.eye(12)).argmax(axis=1)
    first = 1
    order = [nearest_row[first], *(i for i in range(12) if i != nearest_row[first])]
    records = [record(i, style_id="oil" if row else "ink") for row, i in enumerate(order)]

    worst = build_report_data(scored_set(records)).worst

    named = {each["file_name"]: each["why"] for each in worst}
    assert named[str(first)].endswith("; nearest image: ink")


def test_only_some_of_many_images_are_drawn_and_listed(monkeypatch):
    monkeypatch.setattr(report_data, "MAX_HISTOGRAM_IMAGES", 5)
    monkeypatch.setattr(report_data, "NUM_WORST", 4)

    data = build_report_data(scored_set(styled()))

    assert len(data.histograms[SAME]) == 5
    assert len(data.worst) == 4


def test_the_seed_decides_which_pairs_are_drawn(monkeypatch):
    monkeypatch.setattr(report_data, "MAX_HISTOGRAM_IMAGES", 5)
    found = scored_set(styled())

    one, again, other = (build_report_data(found, seed).histograms for seed in (1, 1, 2))

    assert one == again != other


def test_there_is_nothing_to_draw_without_references_and_styles():
    data = build_report_data(scored_set([record(1), record(2)]))

    assert (data.histograms, data.bars, data.worst) == ({}, [], [])


def test_styles_have_names_and_pictures_in_place_of_ids():
    hashed = "b54b5beb969b0e1f"
    reference = {"style_id": hashed, "style_identity": "ink wash", "style_file_name": "50"}
    records = [record(i, **reference) for i in range(2)]

    data = build_report_data(scored_set(records))

    assert [(bar.name, bar.picture) for bar in data.bars] == [("ink wash", "50")]
    assert "(ink wash)" in data.worst[0]["why"]
