"""The encoder trainer: both losses fall, every option of a step counts, checkpoints are exact."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.common.split import Split
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.data import LabelledImages, TrainingData
from megastyle_cli.training.encoder.image_loader import ImageBatch
from megastyle_cli.training.encoder.sampler import GroupSampler
from megastyle_cli.training.encoder.trainer import BETAS, EncoderTrainer
from tests.training.contexts import run_context

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}
LR = 0.01
IMAGES = LabelledImages(
    names=[f"{n}.png" for n in range(8)],
    ids=[f"p{n}" for n in range(8)],
    styles=np.arange(8) // 2,
    style_ids=["a", "b", "c", "d"],
    prompts=["teal ink", "ochre oil", "grey pencil", "plum chalk"],
    contents=[None] * 8,
)
DATA = TrainingData(
    split=Split(training=IMAGES, held_out=IMAGES, failures=[], num_single=0, num_read=8),
    sampler=GroupSampler(IMAGES.styles, groups_per_batch=4, k=2, seed=0),
    held_out=IMAGES,
)


@pytest.fixture
def trainer_of(tmp_path):
    def make(**changed):
        size = tmp_path / "size.json"
        if not size.exists():
            size.write_text(json.dumps({**SIZE, "num_attention_heads": 2, "patch_size": 8}))
        options = {
            **{"init": str(size), "global_batch": 8, "images_per_style": 2, "chunk": "3"},
            **{"recompute": "none", "lr": LR, "weight_decay": 0.1, "clip": 0.0},
            **{"flip": False, "crop": 1, "dtype": "float32", **changed},
        }
        context = run_context(tmp_path, "train-encoder", num_read=8)
        return EncoderTrainer(EncoderConfig(**options), 100, DATA, context)

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


def batch():
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.manual_seed(1))
    return ImageBatch(pixels.to(torch.uint8), np.arange(8))


def test_steps_on_one_batch_lower_both_losses(trainer_of):
    trainer = trainer_of()

    losses = [trainer.train_step(batch(), LR) for _ in range(30)]

    assert losses[-1]["style_loss"] < 0.5 * losses[0]["style_loss"]
    assert losses[-1]["text_loss"] < losses[0]["text_loss"]
    for values in losses:
        assert values["loss"] == pytest.approx(values["style_loss"] + values["text_loss"])
        assert values["without_positive"] == 0 and values["gradient_norm"] > 0


def test_the_text_weight_scales_its_part_of_loss_and_gradient(trainer_of):
    alone, with_text = trainer_of(text_weight=0.0), trainer_of(text_weight=2.0)

    bare, both = alone.train_step(batch(), LR), with_text.train_step(batch(), LR)

    assert "text_loss" not in bare and both["style_loss"] == bare["style_loss"]
    assert both["loss"] == pytest.approx(both["style_loss"] + 2 * both["text_loss"])
    assert both["gradient_norm"] != pytest.approx(bare["gradient_norm"], rel=0.01)


def test_the_averaged_weights_follow_the_weights(trainer_of):
    trainer = trainer_of(ema=0.75)
    before = {name: w.clone() for name, w in trainer.vision.state_dict().items()}

    trainer.train_step(batch(), LR)

    for name, average in trainer.ema_state()["ema"].items():
        now = trainer.vision.state_dict()[name]
        assert torch.allclose(average, 0.75 * before[name] + 0.25 * now, atol=1e-6)


def test_probing_memory_changes_nothing(trainer_of):
    trainer, other = trainer_of(), trainer_of()
    trainer.plan = replace(trainer.plan, free=1)  # as if next to nothing were free
    before = torch.random.get_rng_state()

    trainer.fit_micro_batch()

    assert trainer.micro_batch == 3 and torch.equal(torch.random.get_rng_state(), before)
    assert trainer.train_step(batch(), LR) == other.train_step(batch(), LR)


def test_every_nth_layer_is_recomputed(trainer_of, tmp_path):
    size = {**SIZE, "num_attention_heads": 2, "patch_size": 8, "num_hidden_layers": 5}
    (tmp_path / "size.json").write_text(json.dumps(size))

    for every, numbers in ((0, []), (1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4])):
        trainer = trainer_of(recompute=str(every) if every else "none")
        layers = trainer.vision.encoder.layers
        passes = [0] * 5
        for number, layer in enumerate(layers):
            layer.layer_norm1.register_forward_hook(partial(count, passes, number))
        trainer.train_step(batch(), LR)

        # three micro-batches, each embedded without and with a graph, and once more if recomputed
        assert passes == [9 if n in numbers else 6 for n in range(5)]
        assert trainer.plan.num_recomputed == len(numbers)


def count(passes, number, *_):
    passes[number] += 1


def test_a_restored_trainer_takes_the_same_step(trainer_of, tmp_path):
    trainer = trainer_of(ema=0.9)
    trainer.train_step(batch(), LR)
    trainer.save_checkpoint()
    expected = trainer.train_step(batch(), LR)

    other = trainer_of(ema=0.9)
    other.restore()
    found = other.train_step(batch(), LR)

    assert other.step == 2 and found == expected
    for one, two in ((other.trained, trainer.trained), (other.ema, trainer.ema)):
        pairs = zip(one, two, strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("chunk", [8, 3])
def test_a_loss_that_is_not_finite_is_reported_with_the_ids_of_its_images(
    trainer_of, tmp_path, chunk
):
    trainer = trainer_of(chunk=str(chunk))
    with torch.no_grad():
        trainer.vision.head.probe.fill_(math.nan)
    bias = trainer.vision.post_layernorm.bias.clone()

    with pytest.raises(MegastyleError, match="the loss is nan at step 0") as error:
        trainer.train_step(batch(), LR)

    assert error.value.exit_code == 1
    facts = json.loads((tmp_path / "stopped-at-00000000.json").read_text())
    assert facts == {"step": 0, "loss": "nan", "ids": IMAGES.ids}
    assert torch.equal(trainer.vision.post_layernorm.bias, bias)


def test_the_optimizer_has_siglips_betas(trainer_of):
    groups = trainer_of().optimizer.param_groups

    assert BETAS == (0.9, 0.95) and {group["betas"] for group in groups} == {BETAS}


def test_unreadable_images_end_it_with_a_checkpoint(trainer_of):
    trainer = trainer_of()  # the names of its images are those of no file

    with pytest.raises(MegastyleError, match="none of the 8 training images") as error:
        next(trainer.batches())

    assert error.value.exit_code == 3 and (trainer.folder / "latest").exists()
