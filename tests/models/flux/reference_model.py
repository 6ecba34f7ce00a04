"""The velocity of FLUX by the equations of the official code, and random inputs for it."""

import math

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch.nn import functional

from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings

ROWS, COLUMNS, TEXT = 4, 6, 5
FULL_WIDTH = {
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}


def official_velocity(
    weights, sizes, target, reference, prompt_embeds, sigmas, guidance, rows, columns
):
    """The target's velocity by the equations of the official code, in its order [ref | target].

    FLUX blocks over text, reference and target in one joint attention without mask, with rotary
    positions (0, row, column); the reference's columns are shifted right by the target's width.
    """
    heads, head = sizes["num_attention_heads"], sizes["attention_head_dim"]
    axes = sizes["axes_dims_rope"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def embed(x, name):
        return linear(functional.silu(linear(x, f"{name}.linear_1")), f"{name}.linear_2")

    def sinusoid(number):
        angles = number[:, None] * torch.exp(-math.log(10_000) * torch.arange(128) / 128)
        return torch.cat([angles.cos(), angles.sin()], dim=1)

    def normalize(x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def by_heads(x, name):
        split = x.unflatten(-1, (heads, head)).transpose(1, 2)
        if name is None:
            return split
        return split / (split.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name]

    def rotate(x):
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * rotation).flatten(-2).float()

    def attention(q, k, v):
        scores = rotate(q) @ rotate(k).transpose(-1, -2) / head**0.5
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def modulation(name, parts):
        return linear(functional.silu(conditions), name)[:, None].chunk(parts, -1)

    grid = [(0, row, column) for row in range(rows) for column in range(columns)]
    shifted = [(0, row, column + columns) for _, row, column in grid]
    text_length = prompt_embeds.states.shape[1]
    positions = torch.tensor([(0, 0, 0)] * text_length + shifted + grid, dtype=torch.float64)
    angles = [
        positions[:, axis, None]
        * 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        for axis, size in enumerate(axes)
    ]
    rotation = torch.exp(1j * torch.cat(angles, dim=1))

    conditions = (
        embed(sinusoid(1000 * sigmas), "time_text_embed.timestep_embedder")
        + embed(sinusoid(1000 * guidance), "time_text_embed.guidance_embedder")
        + embed(prompt_embeds.pooled, "time_text_embed.text_embedder")
    )
    image = linear(torch.cat([reference, target], dim=1), "x_embedder")
    text = linear(prompt_embeds.states, "context_embedder")
    for block in range(sizes["num_layers"]):
        block_name = f"transformer_blocks.{block}"
        image_mod = modulation(f"{block_name}.norm1.linear", 6)
        text_mod = modulation(f"{block_name}.norm1_context.linear", 6)
        image_in = normalize(image) * (1 + image_mod[1]) + image_mod[0]
        text_in = normalize(text) * (1 + text_mod[1]) + text_mod[0]
        q, k, v = (
            torch.cat(
                [
                    by_heads(linear(text_in, f"{block_name}.attn.add_{part}_proj"), added),
                    by_heads(linear(image_in, f"{block_name}.attn.to_{part}"), own),
                ],
                dim=2,
            )
            for part, added, own in (
                ("q", f"{block_name}.attn.norm_added_q.weight", f"{block_name}.attn.norm_q.weight"),
                ("k", f"{block_name}.attn.norm_added_k.weight", f"{block_name}.attn.norm_k.weight"),
                ("v", None, None),
            )
        )
        attended = attention(q, k, v)
        image = image + image_mod[2] * linear(
            attended[:, text_length:], f"{block_name}.attn.to_out.0"
        )
        text = text + text_mod[2] * linear(
            attended[:, :text_length], f"{block_name}.attn.to_add_out"
        )
        for stream, mod, name in (("image", image_mod, "ff"), ("text", text_mod, "ff_context")):
            x = image if stream == "image" else text
            inner = linear(normalize(x) * (1 + mod[4]) + mod[3], f"{block_name}.{name}.net.0.proj")
            out = linear(functional.gelu(inner, approximate="tanh"), f"{block_name}.{name}.net.2")
            x = x + mod[5] * out
            image, text = (x, text) if stream == "image" else (image, x)
    joint = torch.cat([text, image], dim=1)
    for block in range(sizes["num_single_layers"]):
        block_name = f"single_transformer_blocks.{block}"
        shift, scale, gate = modulation(f"{block_name}.norm.linear", 3)
        x = normalize(joint) * (1 + scale) + shift
        attended = attention(
            by_heads(linear(x, f"{block_name}.attn.to_q"), f"{block_name}.attn.norm_q.weight"),
            by_heads(linear(x, f"{block_name}.attn.to_k"), f"{block_name}.attn.norm_k.weight"),
            by_heads(linear(x, f"{block_name}.attn.to_v"), None),
        )
        inner = functional.gelu(linear(x, f"{block_name}.proj_mlp"), approximate="tanh")
        joint = joint + gate * linear(torch.cat([attended, inner], dim=2), f"{block_name}.proj_out")
    scale, shift = modulation("norm_out.linear", 2)
    return linear(normalize(joint[:, -target.shape[1] :]) * (1 + scale) + shift, "proj_out")


def full_width_transformer():
    """One double and one single block of FLUX.1's width; repeated random values, for speed."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**FULL_WIDTH)
    transformer.to_empty(device="cpu")
    random = np.random.default_rng(0).standard_normal(1_000_003).astype(np.float32)
    for name, weight in transformer.state_dict().items():
        spread = weight.shape[-1] ** -0.5 if weight.ndim == 2 else 0.1
        values = torch.from_numpy(np.resize(random, weight.numel())).view(weight.shape)
        weight.copy_(values).mul_(spread)
        if "norm_" in name and weight.ndim == 1:
            weight.add_(1)
    return transformer.eval()


def random_inputs(sizes, b=2):
    """Noisy target, clean reference, prompt embeddings and noise levels for b images."""
    rng = torch.Generator().manual_seed(3)
    n, width = ROWS * COLUMNS, sizes["in_channels"]
    target = torch.randn(b, n, width, generator=rng)
    reference = torch.randn(b, n, width, generator=rng)
    prompt_embeds = PromptEmbeddings(
        states=torch.randn(b, TEXT, sizes["joint_attention_dim"], generator=rng),
        pooled=torch.randn(b, sizes["pooled_projection_dim"], generator=rng),
    )
    return target, reference, prompt_embeds, torch.tensor([0.9, 0.3])[:b]


def relative_difference(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()
