"""run.json tells what each start was made with, and a run does not change its frozen weights."""

import json
from hashlib import sha256

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.flux.provenance import record_provenance
from tests.tiny_flux import random_lora, save_tiny_flux
from tests.training.flux.test_trainer import data, model, trainer_of

__all__ = ["data", "model", "trainer_of"]  # fixtures


@pytest.fixture
def made_with(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"run": "01234567"}))

    def record(trainer, **options):
        record_provenance(trainer, ["imgs/"], RunOptions(**options))
        return json.loads((tmp_path / "run.json").read_text())["made_with"]

    return record


def test_a_start_is_recorded_with_its_options_and_versions(trainer_of, made_with):
    trainer = trainer_of(holdout=0.25, chunk="1")

    facts = made_with(trainer, limit=9, max_errors="2%")

    assert facts["model"] == trainer.trainable.model and facts["dtype"] == "float32"
    assert facts["packages"].keys() >= {"python", "torch", "diffusers", "peft"}
    options = facts["options"]
    assert (options["inputs"], options["limit"], options["max_errors"]) == (["imgs/"], 9, "2%")
    assert (options["holdout"], options["chunk"], options["samples"]) == (0.25, 1, 0)
    assert facts["lora"] is None


def test_the_lora_it_starts_from_is_recorded_by_its_hash(trainer_of, made_with, tmp_path):
    path = tmp_path / "lora.safetensors"
    save_lora(random_lora(target_modules(2, 2)), path)

    facts = made_with(trainer_of(lora=str(path), rank=None))

    assert facts["lora"] == sha256(path.read_bytes()).hexdigest()


def test_a_run_of_other_frozen_weights_is_rejected(trainer_of, made_with, tmp_path):
    made_with(trainer_of())
    made_with(trainer_of(lr=0.5))  # the same weights
    other = save_tiny_flux(tmp_path / "other", seed=1, text_tokens=5)

    with pytest.raises(MegastyleError, match="was started with"):
        made_with(trainer_of(model=str(other)))
