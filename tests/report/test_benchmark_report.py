"""The page of a benchmark: each figure it was given, and no words that act."""

import re
from html import unescape

import pytest
from PIL import Image

from megastyle_cli.report.benchmark_report import (
    Chart,
    PairMatrix,
    StyleValues,
    SystemValue,
    TierCharts,
    WorstStyle,
    write_benchmark_report,
)
from tests.report.test_gallery import HOSTILE


def value(name="edges", has_interval=True, **more):
    given = {"is_fitted": True, "value": 0.5, "low": 0.4, "high": 0.62, "chance": 0.1}
    given |= {"rank": "2-3", "letters": "ab", "is_best": False}
    return SystemValue(name=name, has_interval=has_interval, **(given | more))


def page_data(folder, name="edges"):
    """One tier of two systems, their styles, and one style with a picture."""
    Image.new("RGB", (20, 20), "red").save(folder / "red.png")
    red = str(folder / "red.png")
    charts = [
        Chart(label="mAP@10", is_share=True, values=[value(name), value("random")]),
        Chart(label="style score", is_share=False, values=[value(name, False)]),
    ]
    return {
        "title": f"Benchmark of {name}",
        "notes": [f"Fitted: {name}"],
        "tiers": [TierCharts(name="plain", num_queries=60, charts=charts)],
        "matrix": PairMatrix(
            label="Recall@1",
            is_share=True,
            names=[name, "random"],
            diff=[[0, 0.123], [-0.123, 0]],
            differs=[[False, True], [True, False]],
        ),
        "by_style": StyleValues(
            label="mAP@10",
            systems=[name, "random"],
            styles=["ink", name],
            values=[[0.5, 1], [0, 0.25]],
        ),
        "worst": [
            WorstStyle(name=name, picture=red, values=[(name, 0.25)], found=[(name, red, False)])
        ],
    }


@pytest.fixture
def written(tmp_path):
    """Writes the page and gives it as text."""

    def write(name="edges", **more):
        path = tmp_path / "page.html"
        write_benchmark_report(path, **{**page_data(tmp_path, name), **more})
        return path.read_text()

    return write


def words(page):
    """The page as text, without tags, styles and scripts."""
    body = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
    return " ".join(unescape(re.sub("<[^>]*>", " ", body)).split())


def test_a_system_has_its_value_interval_rank_letters_and_mark(written):
    text = words(written())

    assert "plain, 60 queries" in text
    assert "edges * ab 2-3 50.0 40.0 \u2013 62.0" in text.replace("edges*", "edges *")
    assert "0.500" in text and "0.400" not in text  # a cosine, without an interval


def test_pairs_are_colored_where_they_are_told_apart(written):
    page = written()

    assert '<td class="better">+12.3</td>' in page and '<td class="worse">-12.3</td>' in page
    tie = PairMatrix(
        label="x", is_share=False, names="ab", diff=[[0, 0.1], [-0.1, 0]], differs=[[False] * 2] * 2
    )
    assert '<td class="tie">+0.100</td>' in written(matrix=tie)


def test_parts_without_data_are_left_out(written):
    one = StyleValues(label="x", systems=["a"], styles=["s"], values=[[1]])

    text = words(written(matrix=None, by_style=one, worst=[]))

    assert not any(part in text for part in ("Pairs of systems", "style by style", "do worst"))


def test_words_of_records_do_not_act(written):
    page = written(HOSTILE)

    assert HOSTILE not in page and "<img src=x" not in page


def test_a_miss_is_framed_and_a_hit_is_not(written, tmp_path):
    assert 'class="beside miss"' in written()

    hit = page_data(tmp_path)["worst"][0]
    hit = WorstStyle(**{**vars(hit), "found": [("edges", hit.picture, True)]})
    assert 'class="beside miss"' not in written(worst=[hit])
