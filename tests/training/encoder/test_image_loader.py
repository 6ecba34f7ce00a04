"""Image loader: batches of the sampled images, replacements for unreadable ones, ranks agree."""

import numpy as np
import pytest
import torch
from PIL import Image

from megastyle_cli.models.encoders.siglip_vision import resize_to_square
from megastyle_cli.training.encoder.data import split_images
from megastyle_cli.training.encoder.decode import decode
from megastyle_cli.training.encoder.image_loader import (
    PINNED_BYTES,
    ImageLoader,
    is_pinned,
    num_ahead,
    read_images,
)
from megastyle_cli.training.encoder.sampler import GroupSampler
from tests.conftest import draw


@pytest.fixture
def images(tmp_path):
    """Five images of each of four styles."""
    records = []
    for style in range(4):
        for n in range(5):
            path = tmp_path / f"{style}-{n}.png"
            draw(10 * style + n, 40, 30).save(path)
            records.append({"id": path.stem, "file_name": str(path), "style_id": f"s{style}"})
    split = split_images(records, label="style_id", holdout=0.0, split_key=None, seed=0)
    return split.training


def loader_of(images, rank=0, world=1, groups=4):
    sampler = GroupSampler(images.styles, groups_per_batch=groups, k=2, seed=3)
    cpu = torch.device("cpu")
    return ImageLoader(images, sampler, side_px=16, device=cpu, rank=rank, world=world)


def sampled_rows(loader, steps):
    """The rows that the sampler drew for the first steps."""
    return np.concatenate([loader.sampler.batch(step) for step in range(steps)])


def shown_in(batches):
    """The pixels of every row of the batches."""
    return [pixels for batch in batches for pixels in batch.pixels]


def test_batches_hold_the_images_of_their_rows(images):
    loader = loader_of(images)

    batches = list(loader.batches(0, 5))
    loader.close()

    assert len(batches) == 5
    for step, batch in enumerate(batches):
        assert np.array_equal(batch.rows, loader.sampler.batch(step)) and not batch.failures
        for row, pixels in zip(batch.rows, batch.pixels, strict=True):
            assert torch.equal(pixels, decode(images.names[row], 16))


@pytest.mark.parametrize("images_of_a_rank", [8, 205, 1024, 8192])
def test_pinned_memory_is_bounded(images_of_a_rank):
    size = images_of_a_rank * 3 * 448**2
    held = (num_ahead(size) + 2) * size

    assert is_pinned(size) is (held <= PINNED_BYTES)
    assert is_pinned(size) is (images_of_a_rank <= 1024)  # 8,192 images take 4.9 GB


def test_ranks_hold_slices_of_the_same_batches(images):
    whole, *parts = (
        list(loader_of(images, rank, world).batches(2, 4))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )

    for step in range(2):
        joined = torch.cat([part[step].pixels for part in parts])
        assert torch.equal(joined, whole[step].pixels)


def test_an_unreadable_image_is_replaced_by_one_of_its_style_and_reported_once(images, tmp_path):
    broken = tmp_path / "1-2.png"
    broken.write_bytes(broken.read_bytes()[:60])
    loader = loader_of(images)

    batches = list(loader.batches(0, 9))
    loader.close()

    failures = [failure for batch in batches for failure in batch.failures]
    assert [(f.record["id"], f.kind) for f in failures] == [("1-2", "bad_image")]
    replacement = decode(str(tmp_path / "1-3.png"), 16)
    shown = [
        pixels
        for batch in batches
        for row, pixels in zip(sampled_rows(loader, 9), shown_in(batches), strict=True)
        if images.ids[row] == "1-2"
    ]
    assert shown and all(torch.equal(pixels, replacement) for pixels in shown)


def test_a_style_without_readable_images_is_replaced_by_the_next(images, tmp_path):
    for path in [*tmp_path.glob("2-*.png"), *tmp_path.glob("3-*.png"), tmp_path / "0-1.png"]:
        path.write_bytes(b"")
    loader = loader_of(images)

    batches = list(loader.batches(0, 9))
    loader.close()

    replacement = {  # those of style 0, which follows 3, at the same positions
        **{f"{style}-{n}": f"0-{n}" for style in (0, 2, 3) for n in range(5)},
        **{f"{style}-1": "0-2" for style in (0, 2, 3)},
    }
    sampled = [images.ids[row] for row in sampled_rows(loader, 9)]
    shown = [images.ids[row] for batch in batches for row in batch.rows]
    assert shown == [replacement.get(name, name) for name in sampled]
    for name, pixels in zip(shown, shown_in(batches), strict=True):
        assert torch.equal(pixels, decode(str(tmp_path / f"{name}.png"), 16))
    failures = [failure.record["id"] for batch in batches for failure in batch.failures]
    assert len(failures) == 11 and len(set(failures)) == 11
    assert all(batch.is_complete for batch in batches)


def test_ranks_agree_on_the_replacements_of_an_unreadable_style(images, tmp_path):
    for path in tmp_path.glob("1-*.png"):
        path.write_bytes(b"")
    whole, *parts = (
        list(loader_of(images, rank, world).batches(0, 5))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )

    for step in range(5):
        assert torch.equal(torch.cat([part[step].pixels for part in parts]), whole[step].pixels)
        joined = np.concatenate([part[step].rows for part in parts])
        assert np.array_equal(joined, whole[step].rows)
        shown = images.styles[whole[step].rows].reshape(-1, 2)
        assert (shown[:, 0] == shown[:, 1]).all() and 1 not in shown  # groups stay together


def test_a_batch_is_incomplete_if_no_image_can_be_opened(images, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"")
    loader = loader_of(images)

    batches = list(loader.batches(0, 2))
    loader.close()

    assert [batch.is_complete for batch in batches] == [False, False]


def test_read_images_gives_the_readable_ones_and_the_failures(images, tmp_path):
    (tmp_path / "0-1.png").write_bytes(b"")

    rows, pixels, failures = read_images(images, range(4), 16)

    assert rows == [0, 2, 3] and [failure.record["id"] for failure in failures] == ["0-1"]
    with Image.open(images.names[2]) as image:
        assert torch.equal(pixels[1], resize_to_square(image, 16))
