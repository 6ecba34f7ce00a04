"""A dry run of train-encoder plans as the training does, and loads no weight."""

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image

from megastyle_cli.core.check import Check, is_complete
from megastyle_cli.core.record import Run
from megastyle_cli.models.encoders.siglip_vision import load_tower, save_folder
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.runner.options import ReportOptions
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.run import open_run
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.data import load_training_data
from megastyle_cli.training.encoder.preflight import check_encoder_run
from megastyle_cli.training.encoder.trainer import EncoderTrainer
from tests.conftest import jsonl

RUN = Run("train-encoder", {}, "0")
SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """12 images of three styles with prompts, beside size.json."""
    (tmp_path / "size.json").write_text(json.dumps(SIZE))
    records = []
    for n in range(12):
        noise = np.random.default_rng(n).integers(0, 255, (20, 20, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{n}.png")
        records.append({"file_name": f"{n}.png", "style_id": str(n % 3), "style": f"ink {n % 3}"})
    return jsonl(tmp_path / "images.jsonl", records)


def config_for(images: Path, **how: object) -> EncoderConfig:
    values = {"init": str(images.with_name("size.json")), "global_batch": 4, "holdout": 0.0}
    return EncoderConfig(**{**values, "images_per_style": 2, **how})  # type: ignore[arg-type]


def checks_of(images: Path, config: EncoderConfig) -> dict[str, Check]:
    data = load_training_data([str(images)], config, None)
    folder = images.with_name("run")
    found = check_encoder_run(config, RUN, data, folder, RunOptions())
    return {check.name: check for check in found}


def test_the_plan_is_that_of_the_trainer(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(accelerator: Accelerator) -> int:
        return 1 << 30

    for user in ("preflight", "trainer"):
        monkeypatch.setattr(f"megastyle_cli.training.encoder.{user}.least_free_bytes", free)
    config = config_for(images)

    checks = checks_of(images, config)

    data = load_training_data([str(images)], config, None)
    with open_run(
        RUN,
        images.with_name("run"),
        global_batch=4,
        num_read=12,
        num_used=12,
        failures=(),
        options=RunOptions(),
        tolerance=Tolerance.parse("0"),
        report=ReportOptions(quiet=True),
    ) as run:
        trainer = EncoderTrainer(config, 1, data, run)
    assert list(checks) == ["output", "weights", "prompts", "memory", "disk"]
    assert is_complete(checks.values())
    assert checks["memory"].text == trainer.plan.sentence


def test_weights_are_found_and_not_read(images: Path) -> None:
    folder = images.with_name("tower")
    folder.mkdir()
    save_folder(load_tower(str(images.with_name("size.json"))), folder)
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(b"not read")

    checks = checks_of(images, config_for(images, init=str(folder)))

    assert checks["weights"].ok and str(folder) in checks["weights"].text
    assert checks["memory"].ok


def test_a_model_that_is_not_downloaded_is_missing(images: Path) -> None:
    checks = checks_of(images, config_for(images, init="owner/model"))

    assert "owner/model is not in the local cache" in checks["weights"].text
    assert not is_complete(checks.values())


def test_styles_without_a_prompt_are_missing_unless_they_are_not_needed(images: Path) -> None:
    images.write_text(images.read_text().replace('"style": "ink 1"', '"style": ""'))

    assert not checks_of(images, config_for(images))["prompts"].ok
    assert "prompts" not in checks_of(images, config_for(images, text_weight=0.0))
