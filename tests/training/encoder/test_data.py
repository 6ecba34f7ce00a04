"""Records become training and held-out pictures; pictures become batches, broken ones replaced."""

import numpy as np
import torch
from PIL import Image

from megastyle_cli.core.record import Failure
from megastyle_cli.models.encoders.siglip_vision import resize_to_square
from megastyle_cli.training.encoder.data import (
    Augmentation,
    Loader,
    augmented,
    sort_records,
    whole_pictures,
)
from megastyle_cli.training.encoder.decode import decode
from megastyle_cli.training.encoder.sampler import GroupSampler
from tests.conftest import draw

PLAIN = {"label": "style_id", "holdout": 0.0, "split_key": None, "seed": 0}


def records_of(folder, styles=4, each=5):
    records = []
    for style in range(styles):
        for n in range(each):
            path = folder / f"{style}-{n}.png"
            draw(10 * style + n, 40, 30).save(path)
            records.append({"id": path.stem, "file_name": str(path), "style_id": f"s{style}"})
    return records


def loader_of(pictures, rank=0, world=1, groups=4):
    sampler = GroupSampler(pictures.styles, groups_per_batch=groups, k=2, seed=3)
    return Loader(pictures, sampler, side_px=16, rank=rank, world=world)


def asked_for(loader, steps):
    """The rows that the sampler drew for the first steps."""
    return np.concatenate([loader.sampler.batch(step) for step in range(steps)])


def shown_in(batches):
    """The pixels of every place of the batches."""
    return [pixels for batch in batches for pixels in batch.pixels]


def test_pictures_keep_the_order_of_records_and_number_styles_by_name():
    records = [
        {"id": "1", "file_name": "1.png", "style_id": "b", "style": "ink"},
        {"id": "2", "file_name": "2.png", "style_id": "a"},
        {"id": "3", "file_name": "3.png", "style_id": "a", "style": "oil"},
        {"id": "4", "file_name": "4.png", "style_id": "b", "style": "later"},
    ]

    training = sort_records(records, **PLAIN).training

    assert training.ids == ["1", "2", "3", "4"] and training.style_ids == ["a", "b"]
    assert training.styles.tolist() == [1, 0, 0, 1] and training.prompts == ["oil", "ink"]


def test_what_cannot_be_used_is_counted():
    records = [
        {"id": "1", "file_name": "1.png", "style_id": "a"},
        {"id": "2", "file_name": "2.png", "style_id": "a"},
        {"id": "3", "file_name": "3.png", "style_id": "alone"},
        {"id": "4", "file_name": "4.png"},
        {"id": "5", "style_id": "a"},
        Failure({}, "bad_json", "line 6"),
    ]

    found = sort_records(records, **PLAIN)

    assert (len(found.training), found.num_single, found.num_read) == (2, 1, 6)
    assert [failure.kind for failure in found.failures] == [
        "missing_key",
        "missing_key",
        "bad_json",
    ]


def test_held_out_styles_are_whole_and_do_not_move_when_styles_are_added():
    records = [
        {"id": f"{s}-{n}", "file_name": "x.png", "style_id": f"s{s}"}
        for s in range(200)
        for n in range(2)
    ]
    told = {**PLAIN, "holdout": 0.25}

    all_of_them = sort_records(records, **told)
    half = sort_records(records[:200], **told)

    assert not set(all_of_them.training.style_ids) & set(all_of_them.held_out.style_ids)
    assert 30 < len(all_of_them.held_out.style_ids) < 70
    assert set(half.held_out.style_ids) <= set(all_of_them.held_out.style_ids)
    assert len(half.held_out) == 2 * len(half.held_out.style_ids)


def test_a_split_key_names_the_held_out_styles():
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

    found = sort_records(records, **{**PLAIN, "holdout": 0.9, "split_key": "split"})

    assert found.held_out.style_ids == ["2"] and found.training.style_ids == ["0", "1", "3"]


def test_batches_hold_the_pictures_of_their_rows(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    loader = loader_of(pictures)

    batches = list(loader.batches(0, 5))
    loader.close()

    assert len(batches) == 5
    for step, batch in enumerate(batches):
        assert np.array_equal(batch.rows, loader.sampler.batch(step)) and not batch.failures
        for row, pixels in zip(batch.rows, batch.pixels, strict=True):
            assert torch.equal(pixels, decode(pictures.names[row], 16))


def test_ranks_hold_slices_of_the_same_batches(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    whole, *parts = (
        list(loader_of(pictures, rank, world).batches(2, 4))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )

    for step in range(2):
        joined = torch.cat([part[step].pixels for part in parts])
        assert torch.equal(joined, whole[step].pixels)


def test_a_broken_picture_is_replaced_by_one_of_its_style_and_told_once(tmp_path):
    records = records_of(tmp_path)
    pictures = sort_records(records, **PLAIN).training
    broken = tmp_path / "1-2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    loader = loader_of(pictures)

    batches = list(loader.batches(0, 9))
    loader.close()

    told = [failure for batch in batches for failure in batch.failures]
    assert [(f.record["id"], f.kind) for f in told] == [("1-2", "bad_image")]
    stand_in = decode(str(tmp_path / "1-3.png"), 16)
    shown = [
        pixels
        for batch in batches
        for row, pixels in zip(asked_for(loader, 9), shown_in(batches), strict=True)
        if pictures.ids[row] == "1-2"
    ]
    assert shown and all(torch.equal(pixels, stand_in) for pixels in shown)


def test_a_style_of_which_none_opens_gives_its_places_to_the_next(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    for path in [*tmp_path.glob("2-*.png"), *tmp_path.glob("3-*.png"), tmp_path / "0-1.png"]:
        path.write_bytes(b"")
    loader = loader_of(pictures)

    batches = list(loader.batches(0, 9))
    loader.close()

    stand_in = {  # those of style 0, the next after 3, at the same places
        **{f"{style}-{n}": f"0-{n}" for style in (0, 2, 3) for n in range(5)},
        **{f"{style}-1": "0-2" for style in (0, 2, 3)},
    }
    asked = [pictures.ids[row] for row in asked_for(loader, 9)]
    shown = [pictures.ids[row] for batch in batches for row in batch.rows]
    assert shown == [stand_in.get(name, name) for name in asked]
    for name, pixels in zip(shown, shown_in(batches), strict=True):
        assert torch.equal(pixels, decode(str(tmp_path / f"{name}.png"), 16))
    told = [failure.record["id"] for batch in batches for failure in batch.failures]
    assert len(told) == 11 and len(set(told)) == 11
    assert all(batch.is_whole for batch in batches)


def test_ranks_agree_about_a_style_of_which_none_opens(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    for path in tmp_path.glob("1-*.png"):
        path.write_bytes(b"")
    whole, *parts = (
        list(loader_of(pictures, rank, world).batches(0, 5))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )

    for step in range(5):
        assert torch.equal(torch.cat([part[step].pixels for part in parts]), whole[step].pixels)
        joined = np.concatenate([part[step].rows for part in parts])
        assert np.array_equal(joined, whole[step].rows)
        shown = pictures.styles[whole[step].rows].reshape(-1, 2)
        assert (shown[:, 0] == shown[:, 1]).all() and 1 not in shown  # groups stay together


def test_a_batch_is_not_whole_if_no_picture_opens(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"")
    loader = loader_of(pictures)

    batches = list(loader.batches(0, 2))
    loader.close()

    assert [batch.is_whole for batch in batches] == [False, False]


def gradient_picture(side=64):
    across = np.tile(np.linspace(0, 255, side), (side, 1))
    return torch.from_numpy(np.stack([across, across.T, across * 0]).astype(np.uint8))[None]


def test_augmentation_flips_and_crops_within_the_picture():
    pixels = gradient_picture().repeat(200, 1, 1, 1)
    augmentation = Augmentation(crop_area=0.5)

    draws = augmentation.draws(seed=1, step=2, size=200)
    shown = augmented(pixels, draws, augmentation, 32)

    assert shown.shape == (200, 3, 32, 32) and shown.abs().max() <= 1
    across = shown[:, 0, 0, -1] - shown[:, 0, 0, 0]  # its sign is the flip, its length the side
    down = shown[:, 1, -1, 0] - shown[:, 1, 0, 0]
    assert 60 < (across < 0).sum() < 140 and (down > 0).all()
    area = (down / (2 * 31 / 32)) ** 2
    assert area.min() > 0.45 and area.max() < 1.05 and area.std() > 0.1
    assert torch.allclose(across.abs(), down, atol=0.05)  # square


def test_draws_are_a_function_of_seed_and_step():
    augmentation = Augmentation()
    draws = [augmentation.draws(seed, step, 8) for seed, step in ((1, 1), (1, 1), (1, 2), (2, 1))]

    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[3])


def test_without_crop_and_flip_the_pixels_stay_as_they_are():
    augmentation = Augmentation(flip=False, crop_area=1)
    pixels = gradient_picture(32)

    shown = augmented(pixels, augmentation.draws(0, 0, 1), augmentation, 32)

    assert augmentation.decoded_px(32) == 32
    assert torch.equal(((shown + 1) * 127.5).round().to(torch.uint8), pixels)


def test_whole_pictures_are_those_that_open_and_the_others_are_told(tmp_path):
    pictures = sort_records(records_of(tmp_path), **PLAIN).training
    (tmp_path / "0-1.png").write_bytes(b"")

    rows, pixels, failures = whole_pictures(pictures, range(4), 16)

    assert rows == [0, 2, 3] and [failure.record["id"] for failure in failures] == ["0-1"]
    with Image.open(pictures.names[2]) as picture:
        assert torch.equal(pixels[1], resize_to_square(picture, 16))


def test_a_picture_is_squashed_to_the_side(tmp_path):
    Image.new("RGB", (60, 20), "red").save(tmp_path / "wide.png")

    pixels = decode(str(tmp_path / "wide.png"), 16)

    assert pixels.shape == (3, 16, 16) and pixels.dtype == torch.uint8
    assert (pixels[0] == 255).all() and (pixels[1:] == 0).all()
