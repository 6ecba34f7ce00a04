"""Tiers: which pictures a query searches, and which styles are near."""

import numpy as np
import pytest

from megastyle_cli.benchmark.tiers import (
    Labels,
    allowed,
    change_of,
    codes,
    near_styles,
    style_means,
)

# gallery rows 1 to 5; the query (row 0) has style a, content x, group g
STYLES, CONTENTS, GROUPS = list("aabbcc"), list("xyxyxy"), list("gggghh")
NEAR = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        ("plain", [1, 1, 1, 1, 1]),
        ("grey", [1, 1, 1, 1, 1]),
        ("other-contents", [1, 0, 1, 0, 1]),
        ("same-content", [1, 1, 0, 1, 0]),
        ("within-group", [1, 1, 1, 0, 0]),
        ("near", [1, 0, 0, 1, 1]),
    ],
)
def test_a_tier_is_a_mask_over_the_gallery(tier, expected):
    labels = Labels(
        style=codes(STYLES),
        content=codes(CONTENTS),
        group=codes(GROUPS),
        is_query=np.arange(6) == 0,
        near=NEAR,
    )

    assert allowed(tier, labels, labels.queries).astype(int).tolist() == [expected]


def test_only_some_tiers_change_the_pictures():
    assert [change_of(tier) for tier in ("near", "plain", "grey")] == ["", "", "grey"]


def test_near_styles_are_those_of_the_largest_cosine_and_the_style_itself():
    angles = np.radians([0, 10, 25, 90, 100])
    prototypes = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [3], [1], [2], [1]]

    near = near_styles(prototypes, 1)

    assert [np.flatnonzero(row).tolist() for row in near] == [
        [0, 1],
        [0, 1],
        [1, 2],
        [3, 4],
        [3, 4],
    ]


def test_style_means_are_the_means_of_their_rows():
    rows = np.array([[1.0, 0], [3, 0], [0, 5]])

    assert style_means(rows, np.array([0, 0, 1])).tolist() == [[2, 0], [0, 5]]
