"""The measures of a summary against loops over all pairs."""

import numpy as np
import pytest

from megastyle_cli.evaluate.config import SummaryConfig
from megastyle_cli.evaluate.diversity import diversity
from megastyle_cli.evaluate.metrics import bootstrap_interval
from megastyle_cli.evaluate.summary import summarize
from tests.evaluate.small_set import CONTENTS, VECTORS, Rows, record, scored_set, styled
from tests.retrieval.vectors import cosines, csls_matrix

SAME_ROUNDING = {"abs": 5.1e-5}  # a summary has 4 digits


def test_style_scores_stand_beside_those_with_references_of_other_styles():
    summary = summarize(scored_set(styled()), SummaryConfig())

    direct = cosines(VECTORS[:12], VECTORS[50:53])
    scaled = csls_matrix(VECTORS[:12], VECTORS[50:53], bank_knows_queries=True)
    is_own = np.arange(12)[:, None] % 3 == np.arange(3)
    assert summary["n"] == 12 and summary["references"] == 3
    # the mean of scores that were rounded themselves
    assert summary["style_score"] == pytest.approx(direct[is_own].mean(), abs=1.1e-4)
    assert summary["random_style_score"] == pytest.approx(direct[~is_own].mean(), **SAME_ROUNDING)
    assert summary["csls_score"] == pytest.approx(scaled[is_own].mean(), abs=2.1e-4)
    assert summary["random_csls_score"] == pytest.approx(scaled[~is_own].mean(), **SAME_ROUNDING)


def test_given_references_add_the_prototype_and_their_own_spread():
    given = [record(n) for n in (30, 31, 32)]

    summary = summarize(scored_set(styled(), given, others=[record(40)]), SummaryConfig())

    among = cosines(VECTORS[30:33], VECTORS[30:33])
    center = VECTORS[30:33].astype(float).mean(axis=0)
    center /= np.linalg.norm(center)
    assert summary["spread_references"] == pytest.approx(
        (among.sum() - np.trace(among)) / 6, **SAME_ROUNDING
    )
    prototype = (VECTORS[:12] @ center).mean()
    assert summary["prototype_score"] == pytest.approx(prototype, abs=1.1e-4)
    others = cosines(VECTORS[:12], VECTORS[40:41]).mean()
    assert summary["random_style_score"] == pytest.approx(others, **SAME_ROUNDING)
    assert summary["references"] == 3


def test_intervals_resample_styles_or_the_images_of_a_single_style():
    many, one = scored_set(styled()), scored_set(styled(5, styles=1))

    scores = many.values("style_score")
    by_style = [scores[style::3].tolist() for style in range(3)]
    low, high = bootstrap_interval(by_style, seed=7)
    summary = summarize(many, SummaryConfig(seed=7))
    assert (summary["style_score_low"], summary["style_score_high"]) == pytest.approx(
        (low, high), **SAME_ROUNDING
    )
    low, high = bootstrap_interval([[score] for score in one.values("style_score")], seed=7)
    summary = summarize(one, SummaryConfig(seed=7))
    assert (summary["style_score_low"], summary["style_score_high"]) == pytest.approx(
        (low, high), **SAME_ROUNDING
    )


def test_a_single_image_has_no_interval():
    summary = summarize(scored_set(styled(1)), SummaryConfig())

    assert "style_score" in summary and "style_score_low" not in summary


def test_text_scores_stand_beside_those_with_prompts_of_other_records():
    texts = ["a" * 20, "a" * 21, "a" * 22, "a" * 20]
    records = [record(i, content=text) for i, text in enumerate(texts)]
    records.append(record(9))  # without a prompt
    text_model = Rows(VECTORS, "words@2")

    summary = summarize(scored_set(records, text=text_model), SummaryConfig())

    direct = cosines(VECTORS[:4], VECTORS[20:23])
    is_own = np.array([[len(text) == 20 + p for p in range(3)] for text in texts])
    assert summary["text_score"] == pytest.approx(direct[is_own].mean(), abs=1.1e-4)
    random = np.mean([row[~own].mean() for row, own in zip(direct, is_own, strict=True)])
    assert summary["random_text_score"] == pytest.approx(random, **SAME_ROUNDING)


def test_content_leakage_is_similarity_above_that_with_other_references():
    summary = summarize(scored_set(styled(), content=Rows(CONTENTS, "content@3")), SummaryConfig())

    direct = cosines(CONTENTS[:12], CONTENTS[50:53])
    is_own = np.arange(12)[:, None] % 3 == np.arange(3)
    own, random = direct[is_own].mean(), direct[~is_own].mean()
    assert summary["content_similarity"] == pytest.approx(own, abs=1.1e-4)
    assert summary["random_content_similarity"] == pytest.approx(random, **SAME_ROUNDING)
    assert summary["content_leakage"] == pytest.approx(own - random, abs=1.6e-4)


def test_retrieval_is_among_other_contents_if_records_have_one():
    records = styled()
    none = [{k: v for k, v in record.items() if k != "content_id"} for record in records]

    among_others = summarize(scored_set(records), SummaryConfig(ks=(1, 3)))
    among_all = summarize(scored_set(none), SummaryConfig(ks=(1, 3)))

    direct = cosines(VECTORS[:12], VECTORS[:12])
    content, style = np.arange(12) // 3, np.arange(12) % 3
    first = [np.where(content == content[i], -2, direct[i]).argmax() for i in range(12)]
    hits = style[first] == style
    assert among_others["other_contents_only"] and among_others["split"] == "leave-one-out"
    assert among_others["recall_1"] == pytest.approx(hits.mean(), **SAME_ROUNDING)
    # each query has 9 images of other contents, 3 of them of its style
    assert among_others["random_recall_1"] == pytest.approx(1 / 3, **SAME_ROUNDING)
    assert {"recall_3", "map_3", "map_csd_3", "same_content_1"} <= among_others.keys()
    assert not among_all["other_contents_only"] and "same_content_1" not in among_all
    assert among_others["queries"] == 12 and among_others["without_positive"] == 0


def test_the_nearest_image_of_the_same_content_is_reported_apart():
    summary = summarize(scored_set(styled()), SummaryConfig())

    direct = cosines(VECTORS[:12], VECTORS[:12]) - 3 * np.eye(12)
    content, style = np.arange(12) // 3, np.arange(12) % 3
    first = direct.argmax(axis=1)
    leaks = (content[first] == content) & (style[first] != style)
    assert summary["same_content_1"] == pytest.approx(leaks.mean(), **SAME_ROUNDING)


def test_a_split_compares_queries_with_the_gallery_alone():
    records = [{**each, "part": "query" if i < 3 else "gallery"} for i, each in enumerate(styled())]

    summary = summarize(scored_set(records), SummaryConfig(split_key="part", benchmark="abcd"))

    style = np.arange(12) % 3
    first = 3 + cosines(VECTORS[:3], VECTORS[3:12]).argmax(axis=1)
    assert summary["split"] == "3 queries, 9 gallery" and summary["queries"] == 3
    hits = style[first] == style[:3]
    assert summary["recall_1"] == pytest.approx(hits.mean(), **SAME_ROUNDING)
    assert summary["benchmark"] == "abcd" and not summary["other_contents_only"]


def test_queries_without_a_positive_are_counted():
    records = [*styled(6), record(20, style_id="alone", content_id="c9")]

    summary = summarize(scored_set(records), SummaryConfig())

    assert summary["queries"] == 6 and summary["without_positive"] == 1
    assert summary["styles"] == 4


def test_without_groups_there_is_no_retrieval():
    summary = summarize(scored_set([record(1), record(2)]), SummaryConfig())

    assert summary == {"n": 2}


def test_diversity_is_of_images_and_of_distinct_prompts():
    config = SummaryConfig(diversity=True)

    summary = summarize(scored_set([record(i) for i in range(5)]), config, VECTORS[20:24])

    for name, value in diversity(VECTORS[:5]).items():
        assert summary[name] == pytest.approx(value, **SAME_ROUNDING)
    for name, value in diversity(VECTORS[20:24]).items():
        assert summary[f"{name}_prompts"] == pytest.approx(value, **SAME_ROUNDING)
    assert summary["prompts"] == 4


def test_spread_is_within_and_between_styles():
    summary = summarize(scored_set(styled()), SummaryConfig())

    direct, style = cosines(VECTORS[:12], VECTORS[:12]), np.arange(12) % 3
    is_same = style[:, None] == style
    assert summary["spread_within"] == pytest.approx(
        direct[is_same & ~np.eye(12, dtype=bool)].mean(), **SAME_ROUNDING
    )
    assert summary["spread_between"] == pytest.approx(direct[~is_same].mean(), **SAME_ROUNDING)


@pytest.mark.parametrize("missing", [None, "", " ", "absent"])
def test_a_missing_style_or_content_is_left_out_and_counted(missing: object) -> None:
    records = styled()
    for changed, key in ((records[3], "style_id"), (records[7], "content_id")):
        changed[key] = missing
        if missing == "absent":
            del changed[key]
    whole = [row for row in range(len(records)) if row not in (3, 7)]

    summary = summarize(scored_set(records), SummaryConfig(ks=(1, 3), diversity=False))

    alone = scored_set(records)
    alone.scored = [alone.scored[row] for row in whole]
    expected = summarize(alone, SummaryConfig(ks=(1, 3), diversity=False))
    assert summary.pop("without_style") == summary.pop("without_content") == 1
    same = ("recall_1", "map_3", "map_csd_3", "styles", "queries", "random_map_3")
    assert [summary[key] for key in same] == [expected[key] for key in same]


def test_a_copied_picture_is_no_style_and_no_neighbour() -> None:
    records = styled()
    unlabelled = [{k: v for k, v in record.items() if k != "style_id"} for record in records]
    copied, labelled = scored_set(unlabelled), scored_set(records)
    copied.scored.append(copied.scored[0])
    before = summarize(scored_set(records), SummaryConfig(ks=(1,), diversity=False))
    labelled.scored.append(labelled.scored[0])
    after = summarize(labelled, SummaryConfig(ks=(1,), diversity=False))

    assert "map_1" not in summarize(copied, SummaryConfig(ks=(1,), diversity=False))
    assert after.pop("copies") == 1 and after["recall_1"] == before["recall_1"]
