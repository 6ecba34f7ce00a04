"""What a pair leaves in a FLUX transformer, and what is there whatever the batch is, in bytes."""

from typing import Any

from torch import Tensor, nn

from megastyle_cli.training.common.memory_plan import FLOAT, Footprint

COMPILED = 0.58  # of what eager blocks keep: an estimate from published figures
NF4 = 1 / 2 + (1 + 4 / 256) / 64  # bytes a weight: a byte scales 64 of them, a float 256 bytes


def footprint(
    config: Any,
    *,
    text_tokens: int,
    picture_tokens: int,
    rank: int | None,
    is_half: bool,
    is_compiled: bool,
) -> Footprint:
    """Of one pair in a FluxTransformer2DModel of `config`; `rank` None: all weights are trained.

    In units of one number for each token and each of the transformer's widths, a double block keeps
    23 in single precision and a single block 19, 2 more under autocast, which casts inputs; with a
    LoRA 9 and 7 times rank / width more, without one 2.2, and 4.2 under autocast. Counted from
    autograd in eager mode (tests).
    """
    width = config.num_attention_heads * config.attention_head_dim
    tokens = text_tokens + 2 * picture_tokens
    size = 2 if is_half else FLOAT
    unit = tokens * width * size
    double, single = config.num_layers, config.num_single_layers
    cast = 2 * is_half
    if rank is None:
        own = cast + 2 * is_half + 2.2
        extra = own * (double + single)
    else:
        extra = cast * (double + single) + (9 * double + 7 * single) * rank / width
    units = (23 * double + 19 * single + extra) / max(1, double + single)
    return Footprint(
        layers=double + single,
        tokens=tokens,
        kept=round(units * unit * (COMPILED if is_compiled else 1)),
        inputs=unit,
        outside=round(4 * unit),
    )


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of the weights of modules, trained or frozen, as they are stored on the device."""
    weights = {id(w): w for module in modules for w in module.parameters()}
    return sum(_stored(weight) for weight in weights.values())


def _stored(weight: Tensor) -> int:
    """Of one weight; a rounded one is made of several tensors and tells the size it stands for.

    bitsandbytes rounds on the way to the device, two weights to a byte: it counts as if it had.
    """
    is_packed = getattr(weight, "bnb_quantized", None)
    if is_packed is not None:
        return round(weight.numel() * (2 if is_packed else 1) * NF4)
    if not hasattr(weight, "__tensor_flatten__"):
        return weight.nbytes
    return sum(getattr(weight, name).nbytes for name in weight.__tensor_flatten__()[0])
