"""Real configs at full width with one or two layers, through the commands that load them.

Takes gigabytes and a minute: MEGASTYLE_FULL_WIDTH=1 pytest -rP tests/contract/test_full_width.py
prints what it ran.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from tests.commands.trainings import CommandResult, train
from tests.conftest import draw, jsonl
from tests.tiny_flux import LETTERS, save_tiny_flux
from tests.tiny_pipelines import save_tiny_qwen

__all__ = ["train"]  # a fixture

pytestmark = pytest.mark.skipif(
    not os.environ.get("MEGASTYLE_FULL_WIDTH"), reason="MEGASTYLE_FULL_WIDTH is not set"
)

HALF = ("--dtype", "bfloat16")
SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 2,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two styles of two images."""
    folder = tmp_path_factory.mktemp("images")
    records = []
    for number in range(4):
        draw(number, 400, 300).save(folder / f"{number}.png")
        known = {"id": str(number), "file_name": f"{number}.png", "style_id": f"s{number // 2}"}
        records.append({**known, "style": "ink", "content": f"thing {LETTERS[number]}"})
    jsonl(folder / "metadata.jsonl", records)
    return folder


def report(what: str, result: CommandResult) -> None:
    """Fails with the command's errors, or prints what it ran."""
    assert result.returncode == 0, result.stderr.decode()
    sys.stdout.write(f"{what}\n{result.stderr.decode()}\n")


def test_the_encoder_trains_and_scores_at_384_px(
    train: Callable[..., CommandResult], images: Path, tmp_path: Path
) -> None:
    (tmp_path / "size.json").write_text(json.dumps(SO400M))
    flags = ["--init", tmp_path / "size.json", "--steps", 1, "--holdout", 0, "--global-batch", 4]
    flags += ["--images-per-style", 2, *HALF, "-o", tmp_path / "run"]

    report("so400m, 2 layers: a step", train("train-encoder", images, *flags))
    model = ["--model", tmp_path / "run" / "encoder", *HALF]
    report("so400m, 2 layers: eval", train("eval", images, *model, "--json"))


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1-dev with one block of each kind, and T5-XXL and CLIP-L with one layer."""
    folder = save_tiny_flux(tmp_path_factory.mktemp("flux") / "model")
    t5 = T5Config(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=1, vocab_size=64)
    t5.feed_forward_proj, t5.is_gated_act, t5.dense_act_fn = "gated-gelu", True, "gelu_new"
    clip = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_attention_heads=12,
        num_hidden_layers=1,
        vocab_size=2 * len(LETTERS) + 2,
        bos_token_id=2 * len(LETTERS),
        eos_token_id=2 * len(LETTERS) + 1,
    )
    widths = (128, 256, 512, 512)
    parts = {
        "transformer": FluxTransformer2DModel(
            num_layers=1, num_single_layers=1, guidance_embeds=True
        ),
        "text_encoder": CLIPTextModel(clip),
        "text_encoder_2": T5EncoderModel(t5),
        "vae": AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=widths,
            layers_per_block=2,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        ),
    }
    parts = {name: part.to(torch.bfloat16).eval() for name, part in parts.items()}
    FluxPipeline.from_pretrained(folder, **parts).save_pretrained(folder)
    return folder


def test_flux_is_trained_and_transfers(
    train: Callable[..., CommandResult], images: Path, flux: Path, tmp_path: Path
) -> None:
    flags = ["--model", flux, "--size", 128, "--steps", 1, "--global-batch", 1, "--holdout", 0]
    flags += ["--samples", 0, *HALF, "-o", tmp_path / "run"]

    report("FLUX.1, 1 + 1 blocks: a step", train("train-flux", images, *flags))
    lora = tmp_path / "run" / "lora" / "megastyle_flux.safetensors"
    flags = ["--model", flux, "--lora", lora, "--size", 128, "--steps", 2, *HALF]
    style = ["--style", images / "0.png", "--prompt", "thing", "-o", tmp_path / "out.png"]
    report("FLUX.1, 1 + 1 blocks: an image", train("transfer", *style, *flags))


def test_qwen_image_renders(
    train: Callable[..., CommandResult], images: Path, tmp_path: Path
) -> None:
    folder = save_tiny_qwen(tmp_path / "model")
    width = 16  # of the text encoder, which stays tiny
    parts = {
        "transformer": QwenImageTransformer2DModel(num_layers=1, joint_attention_dim=width),
        "vae": AutoencoderKLQwenImage(),
    }
    parts = {name: part.to(torch.bfloat16).eval() for name, part in parts.items()}
    QwenImagePipeline.from_pretrained(folder, **parts).save_pretrained(folder)
    flags = ["--model", folder, "--size", 128, "--steps", 2, "--limit", 1, *HALF]

    report("Qwen-Image, 1 block", train("synth", images, *flags, "-o", tmp_path / "out"))
