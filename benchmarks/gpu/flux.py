"""flux, transfer: steps of train-flux and images of transfer, with FLUX.1-dev's shapes."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor

from benchmarks.flux import step_flops
from benchmarks.gpu.machine import DEVICE, DTYPE, HAS_GPU, Row, measured, median_s, peak
from megastyle_cli.models.device import require_compiler
from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.flux.model import position_ids
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from megastyle_cli.models.flux.vae import decode_latents, encode_pixels
from megastyle_cli.training.common.optimizer import build_optimizer
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.trainer import BETAS, FlowMatching, _recompute_activations

TINY = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "axes_dims_rope": (4, 6, 6),
    "in_channels": 64,
}
TEXT_TOKENS = 512 if HAS_GPU else 8
ROWS = 32 if HAS_GPU else 2  # of tokens: 512 px
RANK = 128 if HAS_GPU else 2
STEPS = 30 if HAS_GPU else 2
# batch, every n-th block recomputed, compiled; the first is the structure of the official loop
WAYS = [(1, 1, False), (1, 0, False), (4, 0, False), (8, 1, False), (4, 0, True), (8, 2, True)]


def flux_rows() -> Iterator[Row]:
    """Training steps with conditions in memory, then what encoding the conditions takes."""
    for batch, every, is_compiled in WAYS if HAS_GPU else WAYS[:2]:
        row = {"batch": batch, "recomputed": f"1/{every}" if every else "none"}
        row["blocks"] = "compiled" if is_compiled else "eager"
        yield measured(row, lambda: _training(batch, every, is_compiled=is_compiled))  # noqa: B023
    batch = 8 if HAS_GPU else 1
    yield measured({"batch": batch, "blocks": "autoencoder, images"}, lambda: _encoding(batch))


def transfer_rows() -> Iterator[Row]:
    """One image of 512 px with a reference in 30 steps, without its text encoders."""
    for is_compiled in (False, True) if HAS_GPU else (False,):
        row = {"blocks": "compiled" if is_compiled else "eager", "steps": STEPS}
        yield measured(row, lambda: _transfer(is_compiled=is_compiled))  # noqa: B023


def new_flux() -> Any:
    """A transformer with random weights, on the device."""
    sizes = {} if HAS_GPU else TINY
    return _built(lambda: FluxTransformer2DModel(guidance_embeds=True, **sizes))


def new_autoencoder() -> Any:
    """FLUX.1's autoencoder with random weights, on the device; a small one without a GPU."""
    widths = (128, 256, 512, 512) if HAS_GPU else (8, 8, 8, 8)
    return _built(
        lambda: AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2 if HAS_GPU else 1,
            latent_channels=16,
            norm_num_groups=32 if HAS_GPU else 4,
            shift_factor=0.1159,
            scaling_factor=0.3611,
        )
    ).requires_grad_(False)


def _built(make: Callable[[], Any]) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPE)
    try:
        with DEVICE:
            return make()
    finally:
        torch.set_default_dtype(before)


def inputs(config: Any, batch: int) -> SimpleNamespace:
    """Random conditions of `batch` pairs."""
    n, channels = ROWS**2, config.in_channels
    drawn = [torch.randn(batch, n, channels, device=DEVICE) for _ in range(3)]
    states = torch.randn(batch, TEXT_TOKENS, config.joint_attention_dim, device=DEVICE, dtype=DTYPE)
    pooled = torch.randn(batch, config.pooled_projection_dim, device=DEVICE, dtype=DTYPE)
    return SimpleNamespace(
        latents=drawn[0],
        references=drawn[1],
        noise=drawn[2],
        prompts=PromptEmbeddings(states=states, pooled=pooled),
        sigmas=torch.full((batch,), 0.5, device=DEVICE),
        ids=position_ids(ROWS, ROWS, 1).to(DEVICE),
    )


def lora_step(every: int, *, is_compiled: bool, batch: int) -> Callable[[], Tensor]:
    """One update of a LoRA on all modules of a new FLUX, with random conditions."""
    transformer = new_flux().requires_grad_(False).train()
    targets = select_target_modules(transformer, "all")
    attach_lora(transformer, targets, rank=RANK, alpha=RANK, seed=0)
    transformer.to(DEVICE)
    _recompute_activations(transformer, every)
    if is_compiled:
        require_compiler(DEVICE)
        transformer.compile_repeated_blocks(fullgraph=True)
    optimizer = build_optimizer(transformer, FluxConfig(model="random"), betas=BETAS, fused=HAS_GPU)
    model = FlowMatching(transformer, DTYPE, 1.0)
    given = inputs(transformer.config, batch)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        prompts = (given.prompts.states, given.prompts.pooled)
        images = (given.latents, given.references, given.noise)
        loss: Tensor = model(*images, *prompts, given.sigmas, given.ids).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return step


def _training(batch: int, every: int, *, is_compiled: bool) -> Row:
    step = lora_step(every, is_compiled=is_compiled, batch=batch)
    seconds = median_s(step, 5 if HAS_GPU else 1, warm_up=2)
    with torch.device("meta"):
        config = FluxTransformer2DModel(**({} if HAS_GPU else TINY)).config
    flops = batch * step_flops(config, TEXT_TOKENS + 2 * ROWS**2, RANK, 1 / every if every else 0)
    speed = {"samples/s": batch / seconds, "TFLOP/s": flops / seconds / 1e12}
    return {"s a step": seconds, **speed, **peak()}


@torch.inference_mode()
def _encoding(batch: int) -> Row:
    autoencoder = new_autoencoder()
    images = torch.rand(batch, 3, 16 * ROWS, 16 * ROWS, device=DEVICE) * 2 - 1
    seconds = median_s(lambda: encode_pixels(autoencoder, images), 3)
    return {"s a step": seconds, **peak()}


@torch.inference_mode()
def _transfer(*, is_compiled: bool) -> Row:
    transformer, autoencoder = new_flux().requires_grad_(False).eval(), new_autoencoder()
    if is_compiled:
        require_compiler(DEVICE)
        transformer.compile_repeated_blocks(fullgraph=True)
    given = inputs(transformer.config, 1)

    def paint() -> Tensor:
        tokens = denoise(
            transformer,
            given.noise.to(DTYPE),
            given.references.to(DTYPE),
            given.prompts,
            sampling_sigmas(STEPS),
            given.ids,
        )
        latents = tokens.transpose(1, 2).reshape(1, 16, 2 * ROWS, 2 * ROWS)
        return decode_latents(autoencoder, latents)

    return {"s an image": median_s(paint, 3 if HAS_GPU else 1), **peak()}
