"""Memory cost of training FLUX: bytes of a pair and of the weights, and the plan they lead to."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from megastyle_cli.models.flux.memory import activation_bytes
from megastyle_cli.models.flux.prompt_embeddings import max_text_tokens
from megastyle_cli.training.common.memory_plan import (
    FLOAT,
    Footprint,
    MemoryPlan,
    format_bytes,
    plan_memory,
    state_bytes,
)
from megastyle_cli.training.common.optimizer import MOMENT_BYTES
from megastyle_cli.training.flux.batch import PREFETCH, images_encoded_at_once
from megastyle_cli.training.flux.text_cache import bytes_per_prompt
from megastyle_cli.training.flux.trainable import TrainableModel

COMPILED = 0.58  # of what eager blocks keep: an estimate from published figures
NF4 = 1 / 2 + (1 + 4 / 256) / 64  # bytes of a weight: 64 share a scale byte, 256 scales a float


def footprint(
    config: Any,
    *,
    text_tokens: int,
    image_tokens: int,
    rank: int | None,
    is_half: bool,
    on_gpu: bool,
    is_compiled: bool,
) -> Footprint:
    """What one pair keeps in a FluxTransformer2DModel of `config`, in bytes.

    With `rank` None all weights are trained. In units of one value for each token and each of the
    transformer's widths, a double block keeps 23 in single precision and a single block 19, and 2
    more under autocast, which casts inputs; a LoRA adds 9 and 7 times rank / width, training all
    weights 2.2, and 4.2 under autocast. A GPU's autocast runs norms in float32 and keeps their
    inputs and outputs: 6 and 5 more. Counted from autograd in eager mode, where the GPU's autocast
    is emulated (tests). Compiled blocks compute norms and casts again in the backward pass.
    """
    width = config.num_attention_heads * config.attention_head_dim
    tokens = text_tokens + 2 * image_tokens
    size = 2 if is_half else FLOAT
    unit = tokens * width * size
    double, single = config.num_layers, config.num_single_layers
    cast = 2 * is_half
    if rank is None:
        extra = (cast + 2 * is_half + 2.2) * (double + single)
    else:
        extra = cast * (double + single) + (9 * double + 7 * single) * rank / width
    if is_half and on_gpu and not is_compiled:
        extra += 6 * double + 5 * single
    units = (23 * double + 19 * single + extra) / max(1, double + single)
    return Footprint(
        layers=double + single,
        tokens=tokens,
        kept=round(units * unit * (COMPILED if is_compiled else 1)),
        inputs=unit,
        outside=round(4 * unit),
    )


@dataclass(frozen=True, kw_only=True)
class FluxMemoryPlan:
    """The memory plan, and whether all text is encoded before the first step to make it fit."""

    plan: MemoryPlan
    encodes_first: bool
    text_encoder_bytes: int

    @property
    def sentence(self) -> str:
        """Where the text encoders are, in words."""
        size = format_bytes(self.text_encoder_bytes)
        if self.encodes_first:
            return f"text encoders ({size}): encode all prompts first, then free their memory"
        return f"text encoders ({size}): stay in memory, encode during training"


def plan_flux_memory(
    trainable: TrainableModel,
    *,
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    free: int,
    world: int,
) -> FluxMemoryPlan:
    """The plan for `free` bytes on each of `world` devices; an image has `rows`^2 tokens.

    The text encoders stay on the device if everything fits with them. What --encode-text asks for
    is kept, whether it fits or not.
    """
    pipeline = trainable.pipeline
    text = weight_bytes(pipeline.text_encoder, pipeline.text_encoder_2)
    with_text = _plan(trainable, device, dtype, rows, free, world, text)
    encode_text = trainable.config.encode_text
    if encode_text == "beside" or (encode_text == "auto" and with_text.fits):
        return FluxMemoryPlan(plan=with_text, encodes_first=False, text_encoder_bytes=text)
    without_text = _plan(trainable, device, dtype, rows, free, world, 0)
    return FluxMemoryPlan(plan=without_text, encodes_first=True, text_encoder_bytes=text)


def _plan(
    trainable: TrainableModel,
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    free: int,
    world: int,
    text: int,
) -> MemoryPlan:
    """The plan if the text encoders take `text` bytes of the device."""
    config, pipeline, transformer = trainable.config, trainable.pipeline, trainable.transformer
    is_half = dtype != torch.float32
    pairs = config.global_batch // world
    trained = sum(weight.numel() for weight in transformer.parameters() if weight.requires_grad)
    state = state_bytes(
        trained,
        moment_bytes=MOMENT_BYTES[config.optimizer],
        has_ema=bool(config.ema),
        is_half=is_half,
        world=world,
    )
    weights = weight_bytes(transformer, pipeline.vae) - trained * FLOAT  # those are in `state` too
    side = config.size
    images = min(images_encoded_at_once(side), 2 * pairs)
    encoding = images * activation_bytes((side, side), 0, 0, dtype.itemsize)
    prompts = (PREFETCH + 1) * pairs * bytes_per_prompt(pipeline)
    return plan_memory(
        footprint(
            transformer.config,
            text_tokens=max_text_tokens(pipeline),
            image_tokens=rows**2,
            rank=trainable.rank,
            is_half=is_half,
            on_gpu=device.type != "cpu",
            is_compiled=config.compile,
        ),
        items=pairs,
        fixed=text + weights + state + encoding + prompts,
        free=free,
        micro_batch=config.micro_batch,
        recompute_every=config.recompute_every,
        noun="pairs",
        embeds_twice=False,
    )


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of the weights of modules, trained or frozen, as they are stored on the device."""
    weights = {id(w): w for module in modules for w in module.parameters()}
    return sum(_stored_bytes(weight) for weight in weights.values())


def _stored_bytes(weight: Tensor) -> int:
    """Bytes of one weight; a quantized one consists of several tensors and reports its full size.

    bitsandbytes quantizes on the way to the device, two weights to a byte: counted as if it had.
    """
    is_packed = getattr(weight, "bnb_quantized", None)
    if is_packed is not None:
        return round(weight.numel() * (2 if is_packed else 1) * NF4)
    if not hasattr(weight, "__tensor_flatten__"):
        return weight.nbytes
    return sum(getattr(weight, name).nbytes for name in weight.__tensor_flatten__()[0])
