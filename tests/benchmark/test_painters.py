"""A painter's pictures by query: seeds, missing ones, strangers."""

from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.benchmark.painters import PaintedPictures, hash_painted
from megastyle_cli.benchmark.pixel_hash import file_pixel_hash
from megastyle_cli.core.errors import MegastyleError
from tests.benchmark.small_bench import drawn

CELLS = {("s0", "c0"): 7, ("s1", "c1"): 9}


def test_pictures_are_assigned_by_style_and_content_in_the_order_of_seeds(tmp_path):
    records = drawn(tmp_path, 2, 2)
    again = {**records[3], "id": "0", "seed": 5, "style_id": "s0", "content_id": "c0"}
    Path(records[3]["file_name"]).write_bytes(b"not a picture")

    hashes, files, unused = hash_painted([again, *records], "style_id", "content_id", CELLS, "out")

    known = file_pixel_hash(records[0]["file_name"])
    assert hashes == {7: [known, ""], 9: [""]} and unused == 2
    assert files == {known: records[0]["file_name"]}


def test_pictures_of_no_query_are_refused():
    records = [{"style_id": "s5", "content_id": "c0", "file_name": "a.png"}]

    with pytest.raises(MegastyleError, match=r"no picture of out \(1 in all\) has the style"):
        hash_painted(records, "style_id", "content_id", CELLS, "out")


def test_every_query_has_as_many_pictures_as_the_one_with_most():
    painted = PaintedPictures(vectors={4: [np.ones(2), np.zeros(2)], 6: [np.ones(2)]}, per_query=2)

    owner, rows = painted.as_queries(np.array([4, 5, 6]), 2)

    assert owner.tolist() == [4, 4, 5, 5, 6, 6]
    assert np.isnan(rows).all(axis=1).tolist() == [False, False, True, True, False, True]
