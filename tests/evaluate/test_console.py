"""A summary in words: a line, a table, and what would add the measures it lacks."""

from megastyle_cli.core.record import annotate
from megastyle_cli.evaluate.console import headline, missing_metric_hints, table
from tests.evaluate.small_set import VECTORS, Rows, record, scored_set, styled

SUMMARY = {
    "n": 1200,
    "style_score": 0.7019,
    "style_score_low": 0.694,
    "style_score_high": 0.711,
    "random_style_score": 0.3125,
    "map_10": 0.5,
    "other_contents_only": True,
    "split": "leave-one-out",
    "benchmark": None,
    "_megastyle": {"eval": {"model": "enc@77c1a0b2", "run": "12345678"}},
}


def test_the_headline_has_the_main_measures_with_intervals_and_baselines():
    assert headline(SUMMARY) == (
        "style score 0.702 [0.694, 0.711], random 0.312 \u00b7 mAP@10 0.500"
    )
    assert headline({"n": 1200}) == "1,200 images, none with a style to compare"


def test_the_table_has_a_line_for_each_measure():
    lines = table(SUMMARY).splitlines()

    assert [line.split() for line in lines] == [
        ["model", "enc@77c1a0b2"],
        ["value", "95", "%", "interval", "random"],
        ["n", "1,200"],
        ["style_score", "0.702", "[0.694,", "0.711]", "0.312"],
        ["map_10", "0.500"],
        ["other_contents_only", "yes"],
        ["split", "leave-one-out"],
        ["benchmark", "-"],
    ]
    assert table({"n": 1, "other_contents_only": False}).endswith("no\n")


def hints(summary, found, *, leakage=False):
    return list(missing_metric_hints(summary, found, leakage=leakage))


def test_a_complete_summary_lacks_nothing():
    complete = {"style_score": 1, "random_style_score": 1, "text_score": 1, "random_text_score": 1}

    assert hints(complete, scored_set(styled())) == []
    assert hints({**complete, "content_leakage": 1}, scored_set(styled()), leakage=True) == []


def test_negatives_come_from_others_or_from_the_references_of_before():
    bare = {"style_score": 0.5}
    before = annotate(record(1), "eval", model="rows@1", reference_set="12345678")

    (given,) = hints(bare, scored_set([record(1)], given=[record(2)]))
    (folded,) = hints(bare, scored_set([before]))
    (_, single) = hints(bare, scored_set(styled(2, styles=1)))

    assert given == "no random style score and no CSLS: add --others with images of other styles"
    assert folded.endswith("give --reference and --others again")
    assert single.endswith("there are no references of other styles")


def test_prompts_of_others_need_the_text_model():
    bare = {"text_score": 0.5}

    (without,) = hints(bare, scored_set([record(1)]))
    (single,) = hints(bare, scored_set([record(1, content="x")], text=Rows(VECTORS)))

    assert without == "no random text score: give --text-model again"
    assert single == "no random text score: there are no prompts of other images"


def test_leakage_says_what_it_needs():
    (asked,) = hints({}, scored_set([record(1)]), leakage=True)
    one_style = scored_set(styled(2, styles=1))
    (_, no_others) = hints({"content_similarity": 0.5}, one_style, leakage=True)
    (folded,) = hints({"content_similarity": 0.5}, scored_set([record(1)]))

    assert asked == "no content leakage: no image has a reference to compare contents with"
    assert no_others == "no content leakage: there are no references of other styles"
    assert folded.startswith("no content leakage: give --leakage, and --text-model")


def test_images_of_one_style_or_of_no_two_are_not_searched_for():
    (one,) = hints({}, scored_set([record(i, style_id="ink") for i in range(3)]))
    (alone,) = hints({}, scored_set([record(i, style_id=f"s{i}") for i in range(3)]))

    assert one == "no retrieval: all images are of one style (ink)"
    assert alone == "no retrieval: no style has two images"
    assert hints({}, scored_set([record(1), record(2)])) == []  # there are no labels at all


def test_without_content_labels_it_says_what_a_query_may_find():
    searched = {"other_contents_only": False, "split": "leave-one-out"}
    images = scored_set([record(i, style_id=f"s{i % 2}") for i in range(4)])

    (hint,) = hints(searched, images)

    assert hint.startswith("no content labels") and "--content-label" in hint
    assert hints({**searched, "other_contents_only": True}, images) == []
    assert hints({**searched, "split": "4 queries, 12 gallery"}, images) == []
