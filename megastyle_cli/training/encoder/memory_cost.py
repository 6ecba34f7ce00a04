"""Memory cost of the style encoder: bytes of one image in the tower, and the plan they lead to."""

from typing import Any

from megastyle_cli.training.common.memory_plan import (
    FLOAT,
    Footprint,
    MemoryPlan,
    plan_memory,
    state_bytes,
)
from megastyle_cli.training.common.optimizer import MOMENT_BYTES
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.encoder.losses import MAX_SIMILARITIES


def footprint(config: Any, *, is_half: bool, is_compiled: bool) -> Footprint:
    """What one image keeps in a tower of that SiglipVisionConfig, in bytes.

    The unit is one value for each token and each of the tower's widths. In single precision a layer
    keeps 8 units (inputs and outputs of both norms, queries, keys, values and the output of
    attention) and its MLP's inner values twice, before and after the activation function. Under
    autocast it is 12: the residual stream stays float32, and each product casts its own input.
    Compiled it is about 7.25 and the inner values once. Counted from autograd in eager mode
    (tests); an estimate from published figures when compiled.
    """
    tokens = int(config.image_size // config.patch_size) ** 2
    size = 2 if is_half else FLOAT
    unit = tokens * config.hidden_size * size
    inner = float(config.intermediate_size / config.hidden_size)
    units = 7.25 + inner if is_compiled else (12 if is_half else 8) + 2 * inner
    softmax = config.num_attention_heads * tokens * FLOAT  # a sum for each row of attention
    return Footprint(
        layers=config.num_hidden_layers,
        tokens=tokens,
        kept=round(units * unit) + softmax,
        inputs=tokens * config.hidden_size * FLOAT,
        outside=5 * unit + 3 * config.image_size**2 * size,
    )


def batch_bytes(global_batch: int, images: int, decoded_px: int) -> int:
    """Bytes of a rank's `images` as they were decoded, and of the loss of the global batch.

    The loss holds five matrices of similarities at once.
    """
    return images * 3 * decoded_px**2 + 5 * FLOAT * min(global_batch**2, MAX_SIMILARITIES)


def plan_encoder_memory(
    vision_config: Any,
    config: EncoderConfig,
    *,
    parameters: int,
    extra: int,
    is_half: bool,
    free: int,
    world: int,
) -> MemoryPlan:
    """The plan for `free` bytes on each of `world` devices.

    `extra` are the bytes that the batch and the prompts take beside the state of `parameters`.
    """
    state = state_bytes(
        parameters,
        moment_bytes=MOMENT_BYTES[config.optimizer],
        has_ema=bool(config.ema),
        is_half=is_half,
        world=world,
    )
    return plan_memory(
        footprint(vision_config, is_half=is_half, is_compiled=config.compile),
        items=config.global_batch // world,
        fixed=state + extra,
        free=free,
        micro_batch=config.micro_batch,
        recompute_every=config.recompute_every,
        noun="images",
        embeds_twice=True,
    )
