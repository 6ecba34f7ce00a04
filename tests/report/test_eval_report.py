"""The report tells each figure it was given, lets no words act, and is whole or not there."""

import re
from html import unescape

import pytest
from PIL import Image

from megastyle_cli.report.eval_report import NUM_BARS, NUM_WORST, Bar, write_report
from tests.report.test_gallery import HOSTILE, Elements

SUMMARY = {
    "n": 1200,
    "style_score": 0.7019,
    "style_score_low": 0.694,
    "style_score_high": 0.711,
    "random_style_score": 0.3125,
    "split": "leave-one-out",
    "map_csd_10": 0.81,
    "vendi": 48.61,
    "_megastyle": {"eval": {"model": "enc@77c1a0b2"}},
}
COSINES = {"same style": [0.7, 0.8, 0.9], "different styles": [0.1, 0.2, 0.3, 0.4]}


@pytest.fixture
def written(tmp_path):
    """Writes a report and gives it as text."""

    def write(title="trial", summary=SUMMARY, histograms=COSINES, bars=(), worst=()):
        path = tmp_path / "report.html"
        write_report(
            path, title=title, summary=summary, histograms=histograms, bars=bars, worst=worst
        )
        return path.read_text()

    return write


def cells(page, table):
    """The cells of a table's rows, as text."""
    inside = re.search(rf'<table class="{table}">.*?</table>', page, re.S)[0]
    plain = [
        [unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in re.findall(r"<tr>.*?</tr>", inside)
    ]
    return plain[1:]


def test_a_measure_stands_with_its_interval_and_what_chance_gives(written):
    rows = cells(written(), "measures")

    assert [row[0] for row in rows] == [
        "Style scoremean cosine of an image and its style reference",
        "mAP@10 by CSDmean precision over the first k ranks",
        "Vendieffective number of different items",
    ]
    assert rows[0][1:4] == ["0.702", "0.694 \u2013 0.711", "0.312"]
    assert rows[1][1:4] == ["0.810", "", ""]


def test_a_measure_it_does_not_know_is_told_by_its_key(written):
    assert cells(written(summary={"new_measure": 0.25}), "measures") == [
        ["new measure", "0.250", "", "", ""]
    ]


def test_the_model_with_its_fingerprint_stands_at_the_top(written):
    page = Elements(written()).text.partition("enc@")[2]

    assert page.index("77c1a0b2") < page.index("1,200") < page.index("leave-one-out")
    assert page.index("leave-one-out") < page.index("Measures")


def test_the_legend_tells_size_mean_and_range_of_each_histogram(written):
    page = written(histograms={"same style": [0.5, 0.7, float("nan")], "none": []})

    assert cells(page, "legend") == [["same style", "2", "0.600", "0.510 \u2013 0.690"]]
    assert "same style: mean 0.600" in page  # for who cannot see the drawing


def test_styles_stand_worst_first_and_many_are_folded_away_but_not_lost(written):
    bars = [Bar(f"style {n}", 1 - n / 300, n, "") for n in range(300)]

    page = written(bars=bars)

    seen, folded = page.split("<details>")
    order = [cell[0] for cell in cells(seen, "bars") + cells(folded, "bars")]
    assert order == [f"style {n}" for n in range(299, -1, -1)]
    assert len(cells(seen, "bars")) == NUM_BARS
    assert "276 more styles, 0.083 &ndash; 1.000" in folded


def test_few_styles_are_not_folded(written):
    page = written(bars=[Bar("ink", 0.5, 8, ""), Bar("oil", 0.25, 4, "")])

    assert cells(page, "bars") == [["oil", "", "0.250", "4"], ["ink", "", "0.500", "8"]]
    assert "<details" not in page


def test_a_case_shows_its_picture_beside_what_it_missed_and_says_why(written, tmp_path):
    for name in ("made", "ink", "near"):
        Image.new("RGB", (30, 20), {"made": "red", "ink": "navy", "near": "lime"}[name]).save(
            tmp_path / f"{name}.png"
        )
    record = {"content": "A frog", "file_name": str(tmp_path / "made.png"), "why": "cosine 0.10"}
    record["style_file_name"] = str(tmp_path / "ink.png")
    both = {**record, "neighbor_file_name": str(tmp_path / "near.png")}
    same = {**record, "neighbor_file_name": record["style_file_name"]}

    pages = [written(worst=[each]) for each in (record, both, same)]

    named = [[each["alt"] for each in Elements(page).all("img")] for page in pages]
    assert named == [
        ["A frog", "style reference"],
        ["A frog", "style reference", "nearest image"],
        ["A frog", "style reference"],
    ]
    assert all("cosine 0.10" in page for page in pages)


def test_a_missing_picture_leaves_its_words(written, tmp_path):
    page = Elements(written(worst=[{"id": "a", "content": "A frog", "file_name": "/none/a.png"}]))

    assert page.all("img") == [] and "unreadable picture" in page.text and "A frog" in page.text


def test_cases_past_the_limit_are_counted(written):
    page = written(worst=[{"id": str(n), "why": "far"} for n in range(NUM_WORST + 7)])

    assert page.count('<li class="case">') == NUM_WORST and "+ 7 more" in page


def test_a_style_has_its_picture_beside_its_name(written, tmp_path):
    Image.new("RGB", (30, 20), "navy").save(tmp_path / "ink.png")

    page = written(bars=[Bar("ink wash", 0.5, 8, str(tmp_path / "ink.png"))])

    assert re.search(r'<th scope="row"><img [^>]*alt="ink wash"[^>]*>ink wash</th>', page)


def test_the_marks_of_the_scale_are_explained_where_they_occur(written):
    keys = re.findall(r'class="keys">(.*?)</p>', written(), re.S)
    alone = re.findall(r'class="keys">(.*?)</p>', written(summary={"spread_within": 0.5}), re.S)

    assert ["95 %" in keys[0], "by chance" in keys[0]] == [True, True]
    assert ["95 %" in alone[0], "by chance" in alone[0]] == [False, False]


def test_words_stay_words(written):
    def page(words):
        return Elements(
            written(
                title=words,
                summary={words: 0.5, f"{words}s": words, "_megastyle": {"eval": {words: words}}},
                histograms={words: [0.1, 0.5]},
                bars=[Bar(words, 0.5, 3, "")],
                worst=[{"id": words, "content": words, "why": words, "style_file_name": words}],
            )
        )

    hostile, harmless = page(HOSTILE), page("x")

    assert [tag for tag, _ in hostile.tags if tag != "wbr"] == [
        tag for tag, _ in harmless.tags if tag != "wbr"
    ]
    assert all(not name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_nothing_is_fetched_and_nothing_runs(written):
    page = written(bars=[Bar("ink", 0.5, 8, "")])
    elements = Elements(page)

    policy = next(each["content"] for each in elements.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert policy.count("'sha256-") == 2 and "unsafe" not in policy
    assert len(elements.all("script")) == 1 and "http" not in page.replace("http-equiv", "")
    # The policy would refuse it, and the plot would be a blank.
    assert not any("style" in attributes for _, attributes in elements.tags)


def test_a_part_there_is_nothing_for_is_not_in_the_report(written):
    page = Elements(written(summary={"n": 3}, histograms={}))

    assert page.all("section") == [] and "pictures" in page.text


def test_a_written_report_leaves_nothing_else(written, tmp_path):
    written()

    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
