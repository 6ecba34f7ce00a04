"""Pairs are a function of seed and index: two images of a style, every style once per epoch."""

from collections import Counter

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.known_words import Vocabulary
from megastyle_cli.training.flux.pairs import (
    CROP,
    FLIP,
    PairSampler,
    load_pairs,
    split_pairs,
)
from tests.conftest import jsonl
from tests.tiny_flux import save_tiny_flux

PLAIN = {"label": "style_id", "holdout": 0.0, "split_key": None, "seed": 0}


def records_of(*sizes):
    return [
        {"id": f"{s}-{n}", "style_id": f"s{s}", "file_name": f"{s}-{n}.png", "content": f"c{n}"}
        for s, size in enumerate(sizes)
        for n in range(size)
    ]


def sampler_of(*sizes, batch=3, seed=1):
    return PairSampler(split_pairs(records_of(*sizes), **PLAIN).training, batch=batch, seed=seed)


def test_an_epoch_draws_every_style_once_whatever_its_size():
    sampler = sampler_of(2, 8, 3, 50, 2)

    for epoch in range(3):
        draws = [sampler.draw(index) for index in range(5 * epoch, 5 * epoch + 5)]
        assert sorted(one.unit for one in draws) == list(range(5))


def test_a_pair_is_two_images_of_one_style_and_all_such_pairs_are_drawn():
    sampler = sampler_of(3, 2)
    seen = Counter()

    for index in range(600):
        one = sampler.draw(index)
        rows = sampler.pairs.units[one.unit]
        assert {one.target, one.reference} <= set(rows.tolist()) and one.target != one.reference
        seen[one.target, one.reference] += 1

    assert len(seen) == 3 * 2 + 2
    assert all(30 < count < 75 for pair, count in seen.items() if max(pair) < 3)  # 50 each


@pytest.mark.parametrize("world", [1, 2, 4])
def test_batches_do_not_depend_on_world_size_or_earlier_steps(world):
    indices = sampler_of(2, 3, 4, 5, 6, batch=8).indices(7)
    uninterrupted = sampler_of(2, 3, 4, 5, 6, batch=8)
    for step in range(7):
        [uninterrupted.draw(index) for index in uninterrupted.indices(step)]
    expected = [uninterrupted.draw(index) for index in indices]
    resumed = sampler_of(2, 3, 4, 5, 6, batch=8)
    share = 8 // world

    split = [resumed.draw(p) for k in range(world) for p in indices[k * share : (k + 1) * share]]

    for one, other in zip(split, expected, strict=True):
        assert (one.target, one.reference, one.index) == (
            other.target,
            other.reference,
            other.index,
        )
        assert np.array_equal(one.draws, other.draws)


def test_a_batch_may_cross_the_end_of_an_epoch():
    sampler = sampler_of(2, 2, 2, batch=2)

    units = [sampler.draw(index).unit for step in range(3) for index in sampler.indices(step)]

    assert sorted(units[:3]) == sorted(units[3:]) == [0, 1, 2]


def test_half_of_the_references_are_mirrored_and_half_cropped_independently():
    sampler = sampler_of(*[2] * 400)
    draws = np.array([sampler.draw(index).draws for index in range(2000)])

    mirrored, cropped = draws[:, FLIP] < 0.5, draws[:, CROP] < 0.5
    assert abs(mirrored.mean() - 0.5) < 0.04 and abs(cropped.mean() - 0.5) < 0.04
    assert abs((mirrored & cropped).mean() - 0.25) < 0.04


def test_unusable_records_are_reported_and_single_images_counted():
    records = [
        *records_of(2, 1),
        {"id": "text", "style_id": "s0", "content": "words"},
        {"id": "mute", "style_id": "s0", "file_name": "x.png", "content": " "},
        {"id": "nobody", "file_name": "x.png", "content": "c"},
        {"id": "half", "target_file_name": "x.png", "content": "c"},
    ]

    split = split_pairs(records, **PLAIN)

    assert (len(split.training), split.num_single, split.num_read) == (1, 1, 7)
    assert {f.record["id"]: f.kind for f in split.failures} == dict.fromkeys(
        ("text", "mute", "nobody", "half"), "missing_key"
    )
    assert "neither file_name nor target_file_name" in split.failures[0].message


def test_contents_with_unknown_words_are_reported_for_each_record(tmp_path):
    vocabulary = Vocabulary(save_tiny_flux(tmp_path))  # it knows the letters
    known = {"style_id": "s0", "file_name": "x.png"}
    records = [
        *({**record, "content": "a thing"} for record in records_of(2)),
        *({**known, "id": name, "content": "thing 7"} for name in ("one", "two")),
        {**known, "id": "half", "content": "thing \ud800"},
    ]

    split = split_pairs(records, **PLAIN, vocabulary=vocabulary)

    assert split.training.prompts == ["a thing"] * 2
    messages = {f.message.partition(":")[0]: f.kind for f in split.failures[:2]}
    assert messages == {"record one": "unknown_word", "record two": "unknown_word"}
    assert "does not know 7" in split.failures[0].message
    assert split.failures[2].kind == "bad_json"
    assert "half has half a character (a lone surrogate)" in split.failures[2].message


def test_an_explicit_pair_keeps_its_reference_and_is_drawn_once_per_epoch():
    pair = {"style_file_name": "r.png", "target_file_name": "t.png", "content": "c"}
    split = split_pairs([{"id": "p", **pair}, {"id": "q", **pair, "style_id": "s0"}], **PLAIN)

    sampler = PairSampler(split.training, batch=1, seed=0)

    draws = [sampler.draw(index) for index in range(2)]
    assert {one.target for one in draws} == {0, 1} and {one.reference for one in draws} == {None}
    assert split.training.references == ["r.png", "r.png"]
    assert split.training.styles == ["r.png", "s0"]


def test_held_out_styles_are_complete():
    split = split_pairs(records_of(*[3] * 100), **{**PLAIN, "holdout": 0.3})

    assert not set(split.training.styles) & set(split.held_out.styles)
    assert 15 < len(split.held_out) < 45 and {len(u) for u in split.held_out.units} == {3}


def test_the_key_depends_on_pictures_contents_and_styles():
    keys = {
        split_pairs(records, **PLAIN).training.key
        for records in (records_of(2, 2), records_of(2, 3), records_of(4))
    }
    changed = [{**record, "content": "other"} for record in records_of(2, 2)]

    assert len(keys | {split_pairs(changed, **PLAIN).training.key}) == 4


def test_a_sampler_without_pairs_is_rejected():
    with pytest.raises(MegastyleError, match="pairs need a style with at least two images"):
        sampler_of(1, 1)


def test_loaded_pairs_describe_themselves_and_list_every_prompt(tmp_path):
    listing = jsonl(tmp_path / "records.jsonl", [*records_of(3, 2), {"id": "text"}])
    config = FluxConfig(model="black-forest-labs/FLUX.1-dev", holdout=0, global_batch=4)

    data = load_pairs([str(listing)], config, None)

    assert data.summary(num_steps=8) == (
        "2 styles or pairs for training, 0 held out, 0 styles omitted (only one image),"
        " 1 records unusable; each is drawn 16.0 times"
    )
    assert data.prompts == {"c0", "c1", "c2"} and data.sampler.batch == 4


def test_records_without_content_are_named_where_no_pair_is_left(tmp_path):
    mute = [{key: record[key] for key in record if key != "content"} for record in records_of(3, 2)]
    listing = jsonl(tmp_path / "records.jsonl", mute)

    with pytest.raises(MegastyleError, match="5 of 5 records are unusable.* has no content"):
        load_pairs([str(listing)], FluxConfig(model="black-forest-labs/FLUX.1-dev"), None)
