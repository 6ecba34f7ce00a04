"""A tiny random Qwen-Image 2.1 of the real classes, made offline."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import (
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
)
from transformers import Qwen3VLForConditionalGeneration

from megastyle_cli.models.image_only_processor import ImageOnlyQwen3VLProcessor
from tests.models.tiny_vlm import save_tiny_vlm


def save_tiny_qwen21(folder: Path, seed: int = 0) -> Path:
    """Its transformer, Qwen3-VL as text encoder, the autoencoder with opacity (16x)."""
    with TemporaryDirectory() as vlm:
        save_tiny_vlm(Path(vlm), seed)
        text_encoder = Qwen3VLForConditionalGeneration.from_pretrained(vlm)
        processor = ImageOnlyQwen3VLProcessor.from_pretrained(vlm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = QwenImage21Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=32,
            axes_dims_rope=(8, 4, 4),
        )
        vae = AutoencoderKLQwenImage21(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
    QwenImage21Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        processor=processor,
        transformer=transformer.eval(),
    ).save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["processor"] = ["transformers", "Qwen3VLProcessor"]  # as published
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
