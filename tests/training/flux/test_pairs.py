"""Pairs are a function of seed and place: two pictures of a style, every style once an epoch."""

from collections import Counter

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.training.flux.pairs import CROP, FLIP, PairSampler, pairs_of

PLAIN = {"label": "style_id", "holdout": 0.0, "split_key": None, "seed": 0}


def records_of(*sizes):
    return [
        {"id": f"{s}-{n}", "style_id": f"s{s}", "file_name": f"{s}-{n}.png", "content": f"c{n}"}
        for s, size in enumerate(sizes)
        for n in range(size)
    ]


def sampler_of(*sizes, batch=3, seed=1):
    return PairSampler(pairs_of(records_of(*sizes), **PLAIN).training, batch=batch, seed=seed)


def test_an_epoch_draws_every_style_once_whatever_its_size():
    sampler = sampler_of(2, 8, 3, 50, 2)

    for epoch in range(3):
        drawn = [sampler.drawn(place) for place in range(5 * epoch, 5 * epoch + 5)]
        assert sorted(one.unit for one in drawn) == list(range(5))


def test_a_pair_is_two_pictures_of_one_style_and_all_of_them_come():
    sampler = sampler_of(3, 2)
    seen = Counter()

    for place in range(600):
        one = sampler.drawn(place)
        rows = sampler.pairs.units[one.unit]
        assert {one.target, one.reference} <= set(rows.tolist()) and one.target != one.reference
        seen[one.target, one.reference] += 1

    assert len(seen) == 3 * 2 + 2
    assert all(30 < count < 75 for pair, count in seen.items() if max(pair) < 3)  # 50 each


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_world_cuts_the_same_batch_and_a_step_needs_none_before_it(world):
    places = sampler_of(2, 3, 4, 5, 6, batch=8).places(7)
    uninterrupted = sampler_of(2, 3, 4, 5, 6, batch=8)
    for step in range(7):
        [uninterrupted.drawn(place) for place in uninterrupted.places(step)]
    expected = [uninterrupted.drawn(place) for place in places]
    resumed = sampler_of(2, 3, 4, 5, 6, batch=8)
    share = 8 // world

    found = [resumed.drawn(p) for k in range(world) for p in places[k * share : (k + 1) * share]]

    for one, other in zip(found, expected, strict=True):
        assert (one.target, one.reference, one.place) == (
            other.target,
            other.reference,
            other.place,
        )
        assert np.array_equal(one.draws, other.draws)


def test_a_batch_reaches_over_the_end_of_an_epoch():
    sampler = sampler_of(2, 2, 2, batch=2)

    units = [sampler.drawn(place).unit for step in range(3) for place in sampler.places(step)]

    assert sorted(units[:3]) == sorted(units[3:]) == [0, 1, 2]


def test_half_of_the_references_are_to_be_mirrored_and_half_cut_independently():
    sampler = sampler_of(*[2] * 400)
    draws = np.array([sampler.drawn(place).draws for place in range(2000)])

    mirrored, cut = draws[:, FLIP] < 0.5, draws[:, CROP] < 0.5
    assert abs(mirrored.mean() - 0.5) < 0.04 and abs(cut.mean() - 0.5) < 0.04
    assert abs((mirrored & cut).mean() - 0.25) < 0.04


def test_what_is_no_pair_is_said_and_a_single_picture_is_counted():
    records = [
        *records_of(2, 1),
        {"id": "text", "style_id": "s0", "content": "words"},
        {"id": "mute", "style_id": "s0", "file_name": "x.png", "content": " "},
        {"id": "nobody", "file_name": "x.png", "content": "c"},
        {"id": "half", "target_file_name": "x.png", "content": "c"},
    ]

    found = pairs_of(records, **PLAIN)

    assert (len(found.training), found.num_single, found.num_read) == (1, 1, 7)
    assert {f.record["id"]: f.kind for f in found.failures} == dict.fromkeys(
        ("text", "mute", "nobody", "half"), "missing_key"
    )
    assert "neither file_name nor target_file_name" in found.failures[0].message


def test_a_content_that_cannot_be_told_is_unusable_and_said_of_each_record():
    def refuse(content):
        if "dog" in content:
            raise BadRecord("unknown_word", "the model does not know dog")

    told = {"style_id": "s0", "file_name": "x.png"}
    records = [
        *records_of(2),
        *({**told, "id": name, "content": "a dog"} for name in ("one", "two")),
        {**told, "id": "half", "content": "thing \ud800"},
    ]

    found = pairs_of(records, **{**PLAIN, "refuse": refuse})

    assert found.training.prompts == ["c0", "c1"]
    assert {f.message: f.kind for f in found.failures} == {
        "record one: the model does not know dog": "unknown_word",
        "record two: the model does not know dog": "unknown_word",
        "record half has half a character (a lone surrogate) in its content": "bad_json",
    }


def test_a_told_pair_keeps_its_reference_and_is_drawn_once_an_epoch():
    pair = {"style_file_name": "r.png", "target_file_name": "t.png", "content": "c"}
    found = pairs_of([{"id": "p", **pair}, {"id": "q", **pair, "style_id": "s0"}], **PLAIN)

    sampler = PairSampler(found.training, batch=1, seed=0)

    drawn = [sampler.drawn(place) for place in range(2)]
    assert {one.target for one in drawn} == {0, 1} and {one.reference for one in drawn} == {None}
    assert found.training.references == ["r.png", "r.png"]
    assert found.training.styles == ["r.png", "s0"]


def test_held_out_styles_are_whole():
    found = pairs_of(records_of(*[3] * 100), **{**PLAIN, "holdout": 0.3})

    assert not set(found.training.styles) & set(found.held_out.styles)
    assert 15 < len(found.held_out) < 45 and {len(u) for u in found.held_out.units} == {3}


def test_the_key_tells_pairs_apart():
    keys = {
        pairs_of(records, **PLAIN).training.key
        for records in (records_of(2, 2), records_of(2, 3), records_of(4))
    }
    changed = [{**record, "content": "other"} for record in records_of(2, 2)]

    assert len(keys | {pairs_of(changed, **PLAIN).training.key}) == 4


def test_no_pairs_are_one_sentence():
    with pytest.raises(MegastyleError, match="no style with two pictures"):
        sampler_of(1, 1)
