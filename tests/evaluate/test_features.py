"""Features of images by several models: opened once per size, and cached."""

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.evaluate.features import (
    FeatureCache,
    FeatureExtractors,
    extract_features,
    select_roles,
)
from tests.evaluate.small_set import CONTENTS, VECTORS, RowNumbers, Rows


@pytest.fixture
def reader():
    return RowNumbers()


@pytest.fixture
def extractors(reader):
    return FeatureExtractors([(reader, {"style": Rows(VECTORS), "content": Rows(CONTENTS)})])


def test_each_image_has_a_vector_for_each_role_and_is_opened_once(reader, extractors):
    one, two = extract_features(["3", "7"], extractors)

    assert np.array_equal(one["style"], VECTORS[3]) and np.array_equal(one["content"], CONTENTS[3])
    assert np.array_equal(two["style"], VECTORS[7])
    assert reader.names == ["3", "7"]


def test_an_image_that_one_model_cannot_embed_has_no_features():
    lame = Rows(np.where(np.arange(60)[:, None] == 7, np.nan, VECTORS), "lame")
    roles = ({"a": Rows(VECTORS), "b": lame}, {"b": lame, "a": Rows(VECTORS)})

    for encoders in roles:
        extractors = FeatureExtractors([(RowNumbers(), encoders)])
        good, bad, damaged = extract_features(["3", "7", "broken"], extractors)

        assert good.keys() == {"a", "b"}
        assert (
            isinstance(bad, BadRecord)
            and bad.message == "lame returned values that are not finite for 7"
        )
        assert damaged.message == "broken is damaged"


def test_a_cached_image_is_not_opened_again(reader, extractors):
    cache = FeatureCache(extractors)

    cache.get(["1", "2", "1"])
    again = cache.get(["2", "3"])

    assert reader.names == ["1", "2", "3"]
    assert np.array_equal(again[0]["style"], VECTORS[2])


def test_a_full_cache_drops_the_oldest_names(reader, extractors):
    cache = FeatureCache(extractors, max_size=2)

    all_three = cache.get(["1", "2", "3"])
    cache.get(["2", "3", "1"])

    assert [len(features) for features in all_three] == [2, 2, 2]
    assert reader.names == ["1", "2", "3", "1"]


def test_only_selected_roles_are_extracted(extractors):
    (features,) = extract_features(["3"], select_roles(extractors, ["content"]))

    assert features.keys() == {"content"}
    assert select_roles(extractors, ["text"]).parts == []
