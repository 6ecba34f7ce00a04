"""Comparisons: all pairs of systems equally often, the same whatever the order of records."""

from collections import Counter

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.preference.comparisons import draw_comparisons


def rendered(system, styles=6, contents=5):
    return [
        {
            "id": f"{system}{style}{content}",
            "style_id": f"s{style}",
            "content_id": f"c{content}",
            "content": f"thing {content}",
            "style_file_name": f"ref{style}.png",
            "file_name": f"{system}/{style}{content}.png",
        }
        for style in range(styles)
        for content in range(contents)
    ]


def three():
    return {name: rendered(name) for name in ("a", "b", "c")}


def test_pairs_of_systems_come_equally_often():
    votes = [each for each in draw_comparisons(three(), 60, 0) if each.kind == "vote"]

    assert set(Counter(each.systems for each in votes).values()) == {20}
    assert all(one.path.startswith(each.systems[0]) for each in votes for one in each.pictures[:1])
    assert len({(each.systems, each.pictures) for each in votes}) == 60


def test_two_pictures_of_a_comparison_have_one_style_and_content():
    for each in draw_comparisons(three(), 30, 1):
        if each.kind == "vote":
            one, other = (picture.path.rpartition("/")[2] for picture in each.pictures)
            assert one == other and each.reference == f"ref{one[0]}.png"
            assert each.prompt == f"thing {one[1]}"
            assert each.questions == ("style", "prompt")


def test_one_in_ten_is_repeated_and_one_in_twenty_is_a_control():
    drawn = draw_comparisons(three(), 60, 0)

    assert Counter(each.kind for each in drawn) == {"vote": 60, "repeat": 6, "control": 3}
    for each in drawn:
        if each.kind == "repeat":
            assert each.pictures == drawn[each.repeats].pictures
        if each.kind == "control":
            right, wrong = each.pictures
            assert right.path == each.reference != wrong.path
            assert right.corner == wrong.corner is not None
            assert each.questions == ("style",) and each.systems is None


def test_the_order_of_records_changes_nothing():
    turned = {name: records[::-1] for name, records in three().items()}

    assert draw_comparisons(turned, 40, 5) == draw_comparisons(three(), 40, 5)
    assert draw_comparisons(three(), 40, 6) != draw_comparisons(three(), 40, 5)


def test_a_system_without_a_picture_is_not_compared_there():
    systems = {"a": rendered("a"), "b": rendered("b")[:7] + [{"id": "failed"}]}

    votes = [each for each in draw_comparisons(systems, 100, 0) if each.kind == "vote"]

    assert len(votes) == 7


def test_without_prompts_only_styles_are_compared():
    systems = {
        name: [{**r, "content": "", "content_id": r["content"]} for r in records]
        for name, records in three().items()
    }

    assert {each.questions for each in draw_comparisons(systems, 9, 0)} == {("style",)}


def test_one_reference_has_no_controls():
    systems = {name: rendered(name, styles=1) for name in ("a", "b")}

    assert all(each.kind != "control" for each in draw_comparisons(systems, 9, 0))


def test_systems_that_share_nothing_and_records_without_a_reference_are_refused():
    apart = {"a": rendered("a"), "b": [{**r, "style_id": "x"} for r in rendered("b")]}
    with pytest.raises(MegastyleError, match="no two of a, b have a picture of one style"):
        draw_comparisons(apart, 9, 0)

    without = [{"id": "q", "file_name": "q.png"}]
    with pytest.raises(MegastyleError, match="b: q has no reference picture"):
        draw_comparisons({"a": rendered("a"), "b": without}, 9, 0)
