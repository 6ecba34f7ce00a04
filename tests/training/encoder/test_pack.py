"""--pack: pictures become shards that train like pictures; what fails is told, and tried again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.encoder.pack import pack_pictures
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
    """A folder of sixteen pictures of four styles, and beside it the config of a tiny tower."""
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


def packed(imgs: Path, may_fail: int = 0, **flags: bool) -> int:
    told = {"resume": False, "overwrite": False, **flags}
    return pack_pictures(
        [str(imgs)],
        imgs.parent / "shards",
        limit=None,
        label="style_id",
        may_fail=lambda failed, read: failed <= may_fail,
        quiet=True,
        **told,
    )


def test_packed_pictures_train(megastyle: Runner, imgs: Path) -> None:
    shards, run = imgs.parent / "shards", imgs.parent / "run"
    told = ["--text-weight", 0, "--global-batch", 8, "--images-per-style", 2, "--holdout", 0]

    packing = megastyle("train-encoder", imgs, "--pack", shards)
    training = megastyle(
        *("train-encoder", shards, "--init", imgs.parent / "size.json", "--steps", 1),
        *(*told, "-o", run),
    )

    assert packing.returncode == 0, packing.stderr.decode()
    assert b"train-encoder: 16 in" in packing.stderr and packing.stdout == b""
    assert training.returncode == 0, training.stderr.decode()
    assert b"16 pictures of 4 styles" in training.stderr
    assert lines(training.stdout)[0]["step"] == 1


def test_what_cannot_be_packed_is_told_and_counted(imgs: Path) -> None:
    (imgs / "3.png").write_bytes(b"no picture")

    assert packed(imgs) == 3
    (failed,) = lines(imgs.parent / "shards" / "errors.jsonl")
    assert failed["id"] == "p3" and failed["_error"]["kind"] == "bad_image"
    assert packed(imgs, may_fail=1, overwrite=True) == 0


def test_a_record_that_was_mended_is_packed_and_no_error_any_more(imgs: Path) -> None:
    whole = (imgs / "3.png").read_bytes()
    (imgs / "3.png").write_bytes(b"no picture")
    assert packed(imgs) == 3
    (imgs / "3.png").write_bytes(whole)

    assert packed(imgs, resume=True) == 0
    assert not (imgs.parent / "shards" / "errors.jsonl").exists()


def test_existing_shards_are_refused(imgs: Path) -> None:
    assert packed(imgs) == 0

    with pytest.raises(MegastyleError, match="exists"):
        packed(imgs)


def test_several_processes_do_not_pack(imgs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(MegastyleError, match="one process packs"):
        packed(imgs)
