"""--pack: images become shards to train from; failures are reported and tried again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.encoder.pack import pack_images
from tests.conftest import Runner, jsonl, lines

SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture
def imgs(tmp_path: Path) -> Path:
    """A folder of sixteen images of four styles, and the config of a tiny tower beside it."""
    folder = tmp_path / "imgs"
    folder.mkdir()
    records = []
    for n in range(16):
        noise = np.random.default_rng(n).integers(0, 40, (24, 32, 3)) + 50 * (n // 4)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{n}.png")
        records.append({"id": f"p{n}", "file_name": f"{n}.png", "style_id": str(n // 4)})
    jsonl(folder / "metadata.jsonl", records)
    (tmp_path / "size.json").write_text(json.dumps(SIZE))
    return folder


def packed(imgs: Path, max_errors: str = "0", **flags: bool) -> int:
    return pack_images(
        [str(imgs)],
        imgs.parent / "shards",
        command="train-encoder",
        side_px=448,
        label="style_id",
        options=RunOptions(**flags),
        tolerance=Tolerance.parse(max_errors),
        quiet=True,
    )


def test_a_training_reads_packed_images(megastyle: Runner, imgs: Path) -> None:
    shards, run = imgs.parent / "shards", imgs.parent / "run"
    options = ["--text-weight", 0, "--global-batch", 8, "--images-per-style", 2, "--holdout", 0]

    packing = megastyle("train-encoder", imgs, "--pack", shards)
    training = megastyle(
        *("train-encoder", shards, "--init", imgs.parent / "size.json", "--steps", 1),
        *(*options, "-o", run),
    )

    assert packing.returncode == 0, packing.stderr.decode()
    assert b"train-encoder: 16 in" in packing.stderr and packing.stdout == b""
    assert training.returncode == 0, training.stderr.decode()
    assert b"16 images of 4 styles" in training.stderr
    assert lines(training.stdout)[0]["step"] == 1


def test_images_that_cannot_be_packed_are_reported_and_counted(imgs: Path) -> None:
    (imgs / "3.png").write_bytes(b"no picture")

    assert packed(imgs) == 3
    (failed,) = lines(imgs.parent / "shards" / "errors.jsonl")
    assert failed["id"] == "p3" and failed["_error"]["kind"] == "bad_image"
    assert packed(imgs, max_errors="1", overwrite=True) == 0


def test_a_repaired_image_is_packed_and_no_longer_an_error(imgs: Path) -> None:
    content = (imgs / "3.png").read_bytes()
    (imgs / "3.png").write_bytes(b"no picture")
    assert packed(imgs) == 3
    (imgs / "3.png").write_bytes(content)

    assert packed(imgs, resume=True) == 0
    assert not (imgs.parent / "shards" / "errors.jsonl").exists()


def test_existing_shards_are_not_overwritten(imgs: Path) -> None:
    assert packed(imgs) == 0

    with pytest.raises(MegastyleError, match="exists"):
        packed(imgs)


def test_packing_by_several_processes_is_rejected(
    imgs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(MegastyleError, match="--pack runs in one process"):
        packed(imgs)
