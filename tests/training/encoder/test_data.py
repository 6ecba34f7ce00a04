"""Records become labelled images, split into training and held-out styles, with a sampler."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.data import load_training_data, split_images
from tests.conftest import jsonl

PLAIN = {"label": "style_id", "holdout": 0.0, "split_key": None, "seed": 0}


def test_images_keep_the_order_of_records_and_styles_are_numbered_by_name():
    records = [
        {"id": "1", "file_name": "1.png", "style_id": "b", "style": "ink"},
        {"id": "2", "file_name": "2.png", "style_id": "a"},
        {"id": "3", "file_name": "3.png", "style_id": "a", "style": "oil"},
        {"id": "4", "file_name": "4.png", "style_id": "b", "style": "later"},
    ]

    training = split_images(records, **PLAIN).training

    assert training.ids == ["1", "2", "3", "4"] and training.style_ids == ["a", "b"]
    assert training.styles.tolist() == [1, 0, 0, 1] and training.prompts == ["oil", "ink"]


def test_unusable_records_are_counted():
    records = [
        {"id": "1", "file_name": "1.png", "style_id": "a"},
        {"id": "2", "file_name": "2.png", "style_id": "a"},
        {"id": "3", "file_name": "3.png", "style_id": "alone"},
        {"id": "4", "file_name": "4.png"},
        {"id": "5", "style_id": "a"},
        Failure({}, "bad_json", "line 6"),
    ]

    split = split_images(records, **PLAIN)

    assert (len(split.training), split.num_single, split.num_read) == (2, 1, 6)
    assert [failure.kind for failure in split.failures] == [
        "missing_key",
        "missing_key",
        "bad_json",
    ]


def test_held_out_styles_are_complete_and_do_not_change_when_styles_are_added():
    records = [
        {"id": f"{s}-{n}", "file_name": "x.png", "style_id": f"s{s}"}
        for s in range(200)
        for n in range(2)
    ]
    options = {**PLAIN, "holdout": 0.25}

    everything = split_images(records, **options)
    half = split_images(records[:200], **options)

    assert not set(everything.training.style_ids) & set(everything.held_out.style_ids)
    assert 30 < len(everything.held_out.style_ids) < 70
    assert set(half.held_out.style_ids) <= set(everything.held_out.style_ids)
    assert len(half.held_out) == 2 * len(half.held_out.style_ids)


def test_a_split_key_selects_the_held_out_styles():
    records = [
        {
            "id": f"{s}-{n}",
            "file_name": "x",
            "style_id": s,
            "split": "heldout" if s == 2 else "train",
        }
        for s in range(4)
        for n in range(3)
    ]

    split = split_images(records, **{**PLAIN, "holdout": 0.9, "split_key": "split"})

    assert split.held_out.style_ids == ["2"] and split.training.style_ids == ["0", "1", "3"]


def test_contents_are_known_only_if_every_image_has_one_and_styles_share_them():
    def known(contents):
        records = [
            {"id": f"{s}{n}", "file_name": "x.png", "style_id": s, **contents(s, n)}
            for s in "ab"
            for n in range(2)
        ]
        return split_images(records, **PLAIN).training.known_contents()

    assert known(lambda s, n: {"content_id": n}) == ["0", "1", "0", "1"]
    assert known(lambda s, n: {"content_id": s}) is None  # nothing to tell style from content by
    assert known(lambda s, n: {"content_id": n} if s == "a" else {}) is None


def test_the_first_styles_are_complete_and_within_the_limit():
    records = [
        {"id": f"{s}{n}", "file_name": "x.png", "style_id": s} for n in range(3) for s in "cab"
    ]

    first = split_images(records, **PLAIN).training.first_styles(8)

    assert first.style_ids == ["a", "b"] and first.ids == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert first.styles.tolist() == [0, 1] * 3


def test_the_key_depends_on_ids_and_styles():
    records = [{"id": str(n), "file_name": "x.png", "style_id": n // 2} for n in range(4)]
    renamed = [{**record, "id": f"r{record['id']}"} for record in records]
    moved = [{**record, "style_id": n % 2} for n, record in enumerate(records)]

    keys = {split_images(each, **PLAIN).training.key for each in (records, renamed, moved)}

    assert len(keys) == 3


def test_a_batch_that_the_images_cannot_fill_is_rejected(tmp_path):
    records = [{"id": str(n), "file_name": "x.png", "style_id": n // 2} for n in range(8)]
    names = [str(jsonl(tmp_path / "records.jsonl", records))]
    plain = {"images_per_style": 2, "holdout": 0.0, "content_label": "content_id"}

    data = load_training_data(names, EncoderConfig(**plain, global_batch=8), None)

    assert data.sampler.steps_per_epoch == 1 and len(data.split.training) == 8
    with pytest.raises(MegastyleError, match="--global-batch 9 is not a multiple of") as odd:
        load_training_data(names, EncoderConfig(**plain, global_batch=9), None)
    with pytest.raises(MegastyleError, match="exceeds the 8 images of an epoch"):
        load_training_data(names, EncoderConfig(**plain, global_batch=10), None)
    assert odd.value.hint == "give 8"
