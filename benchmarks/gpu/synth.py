"""synth: images of Qwen-Image's shapes with guidance, without the text encoder."""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

from benchmarks.gpu.flux import _built
from benchmarks.gpu.machine import DEVICE, DTYPE, HAS_GPU, Row, measured, median_s, peak
from megastyle_cli.models.text_to_image.guided_pipeline import EncodedPrompt, GuidedPipeline

STEPS = 40 if HAS_GPU else 2
TOKENS = 100 if HAS_GPU else 4  # of a prompt
SIZES = [(512, 4), (1024, 1), (2048, 1)] if HAS_GPU else [(32, 2)]
TINY = {
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "axes_dims_rope": (8, 4, 4),
    "joint_attention_dim": 16,
}


def rows() -> Iterator[Row]:
    """Seconds an image, in 40 steps at guidance 4, each with a second pass."""
    painter = None
    for side_px, batch in SIZES:
        painter = painter or _painter()
        row = {"size": side_px, "batch": batch, "steps": STEPS}
        yield measured(row, lambda: _painting(painter, side_px, batch))  # noqa: B023


def _painter() -> GuidedPipeline:
    sizes = {} if HAS_GPU else TINY
    transformer = _built(lambda: QwenImageTransformer2DModel(**sizes)).requires_grad_(False).eval()
    small = {} if HAS_GPU else {"base_dim": 8, "num_res_blocks": 1}
    autoencoder = _built(lambda: AutoencoderKLQwenImage(**small)).requires_grad_(False).eval()
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        max_image_seq_len=8192,
        shift_terminal=0.02,
    )
    pipeline: Any = QwenImagePipeline(scheduler, autoencoder, None, None, transformer)
    painter = GuidedPipeline(
        pipeline, DEVICE, steps=STEPS, guidance=4.0, negative=None, offload=None
    )
    width = transformer.config.joint_attention_dim
    painter._negative_arguments = {f"negative_{k}": v for k, v in _arguments(width).items()}
    return painter


def _arguments(width: int) -> dict[str, torch.Tensor]:
    states = torch.randn(1, TOKENS, width, device=DEVICE, dtype=DTYPE)
    return {
        "prompt_embeds": states,
        "prompt_embeds_mask": torch.ones(1, TOKENS, dtype=torch.long, device=DEVICE),
    }


@torch.inference_mode()
def _painting(painter: GuidedPipeline, side_px: int, batch: int) -> Row:
    width = painter.pipeline.transformer.config.joint_attention_dim
    prompts = [EncodedPrompt("random", _arguments(width)) for _ in range(batch)]

    def paint() -> None:
        painter.generate(prompts, range(batch), (side_px, side_px))

    seconds = median_s(paint, 1, warm_up=1 if side_px < 2048 else 0) / batch
    return {"s an image": seconds, "images/s": 1 / seconds, **peak()}
