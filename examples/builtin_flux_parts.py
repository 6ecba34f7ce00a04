"""All of a small FLUX but its transformer, which train-flux makes; and the finished model.

  python examples/builtin_flux_parts.py make OUT [--steps N] [--halvings N]
  python examples/builtin_flux_parts.py ship OUT FOLDER

make  OUT/parts, a FLUX folder without transformer: an autoencoder of 2**N px a latent, trained on
      the pictures of OUT/train.jsonl; a T5 and a CLIP whose words are wordllama's vectors.
ship  FOLDER, the finished model with all its weights in half precision.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_flux_data import opened, read
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional, init
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import say

# v words

WORDS_A_PROMPT = 4
LATENTS, VAE_WIDTH = 16, 128


def parts(out: Path, steps: int, halvings: int) -> None:
    """Writes all of a FLUX but its transformer."""
    rows = read(out / "train.jsonl")
    words = sorted({word for row in rows for word in row["content"].lower().split()})
    names = [row["file_name"] for row in rows if row["split"] == "train"]
    vectors = torch.from_numpy(load("text_embedder", "builtin").embed(words)).float()  # (v, 256)
    ready = out / "vae"  # trained before
    if not ready.is_dir():
        autoencoder(names, steps, halvings).save_pretrained(ready)
    vae = PatchAutoencoder.from_pretrained(ready)
    tokenizer, t5 = spelled_t5(words, vectors)
    clip_tokenizer, clip = spelled_clip(words, vectors)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=tokenizer,
        transformer=None,
    ).save_pretrained(out / "parts")


def table_of(words: Sequence[str], form: str, **roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer of one token a word, whatever its case, after those of `roles`."""
    table = {name: k for k, name in enumerate([*dict.fromkeys(roles.values()), *words])}
    raw = Tokenizer(models.WordLevel(table, unk_token=roles["unk_token"]))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [(name, table[name]) for name in form.split() if name in table]
    raw.post_processor = processors.TemplateProcessing(single=form, special_tokens=around)
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=WORDS_A_PROMPT, **roles)


def spelled_t5(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A T5 of one layer that passes words through: their vectors, scaled to a mean square of 1."""
    tokenizer = table_of(words, "$A </s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    special, width = len(tokenizer) - len(words), vectors.shape[1]
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=8, num_layers=1, num_heads=1
    )
    model = T5EncoderModel(config)
    with torch.no_grad():
        for block in model.encoder.block:
            init.zeros_(block.layer[0].SelfAttention.o.weight)
            init.zeros_(block.layer[1].DenseReluDense.wo.weight)
        drawn = torch.randn(special, width, generator=torch.Generator().manual_seed(0))
        model.shared.weight.copy_(torch.cat([functional.normalize(drawn), vectors]))
    return tokenizer, model.eval()


def spelled_clip(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A CLIP of one layer whose pooled row is the mean of a prompt's words, made even."""
    tokenizer = table_of(
        words,
        "<start> $A <end>",
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<unk>",
    )
    width = vectors.shape[1]
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=WORDS_A_PROMPT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    held = getattr(model, "text_model", model)
    layer = held.encoder.layers[0]
    with torch.no_grad():
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.fc2):
            init.zeros_(part.weight)
            init.zeros_(part.bias)
        for part in (layer.self_attn.v_proj, layer.self_attn.out_proj):
            init.eye_(part.weight)
            init.zeros_(part.bias)
        table = torch.zeros(len(tokenizer), width)
        table[-len(words) :] = vectors
        held.embeddings.token_embedding.weight.copy_(table)
        init.zeros_(held.embeddings.position_embedding.weight)
    return tokenizer, model.eval()


def autoencoder(
    names: Sequence[str], steps: int, halvings: int, batch: int = 16
) -> PatchAutoencoder:
    """An autoencoder of patches of 2**halvings px, trained to give pictures and their edges back.

    It begins at the principal components of patches, each scaled by the root of its size, and
    learns what they lack. Its latents have a mean square of 1, and are given to the decoder with
    some noise, since those that FLUX paints are not exact.
    """
    torch.manual_seed(0)
    widths = [3 * 4**k for k in range(halvings)]
    vae = PatchAutoencoder(LATENTS, (*widths, VAE_WIDTH))
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in opened(names)]))
    pixels = pixels.permute(0, 3, 1, 2)  # (n, 3, 64, 64) uint8

    def drawn(count: int) -> Tensor:
        return pixels[rng.integers(len(pixels), size=count)].float() / 127.5 - 1

    begin_at_components(vae, drawn(1500))
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.01, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        shown = drawn(batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(shown).latent_dist.mode().float()
            decoded = vae.decode(latents + 0.06 * torch.randn_like(latents)).sample.float()
        error = decoded - shown
        edge_error = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        loss = error.abs().mean() + edge_error
        loss = loss + 0.02 * (latents.square().mean() - 1).square()
        loss = loss + 0.005 * latents.mean((0, 2, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            say(f"autoencoder {step}/{steps}: {error.abs().mean().item():.4f}")
    vae.eval()
    with torch.no_grad():
        latents = vae.encode(drawn(256)).latent_dist.mode()
    vae.register_to_config(
        shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std())
    )
    return vae


def begin_at_components(vae: PatchAutoencoder, pixels: Tensor) -> None:
    """Sets the straight paths to the principal components of the patches of `pixels`."""
    patches = functional.pixel_unshuffle(pixels, vae.patch_px)
    rows = patches.permute(0, 2, 3, 1).flatten(0, 2)  # (patches, 192)
    middle = rows.mean(0)
    _, sizes, axes = torch.linalg.svd(rows - middle, full_matrices=False)
    std, axes = sizes[:LATENTS] / len(rows) ** 0.5, axes[:LATENTS]
    scale = (std * std.mean()).sqrt()  # (c,): between what they are and all alike
    into, out = axes / scale[:, None], (axes * scale[:, None]).T
    with torch.no_grad():
        vae.straight_in.weight.copy_(into[..., None, None])
        vae.straight_in.bias.copy_(-into @ middle)
        vae.straight_out.weight.copy_(out[..., None, None])
        vae.straight_out.bias.copy_(middle)


def ship(out: Path, to: Path) -> None:
    """Copies the finished model with all its weights in half precision."""
    shutil.copytree(out / "run" / "flux", to, dirs_exist_ok=True)
    kinds = {
        "vae": PatchAutoencoder,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": T5EncoderModel,
    }
    for name, kind in kinds.items():
        part = kind.from_pretrained(out / "parts" / name)
        part.half().save_pretrained(to / name)
    forget_folders(to)
    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    say(f"{to}: {size / 1e6:.1f} MB")


def forget_folders(model: Path) -> None:
    """Takes out of a model's files in which folders of this machine it was made."""
    for path in [*model.glob("*.json"), *model.glob("*/config.json")]:
        told = json.loads(path.read_text())
        if told.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(told, indent=2) + "\n")
    path = model / "transformer" / "diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as weights:
        facts = weights.metadata()
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    facts["megastyle.model"] = Path(facts["megastyle.model"]).name
    save_file(tensors, path, facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    told = parser.add_subparsers(dest="what", required=True)
    one = told.add_parser("make")
    one.add_argument("out", type=Path)
    one.add_argument("--steps", type=int, default=1000)
    one.add_argument("--halvings", type=int, default=2)
    one = told.add_parser("ship")
    one.add_argument("out", type=Path)
    one.add_argument("to", type=Path)
    given = parser.parse_args()
    if given.what == "make":
        parts(given.out, given.steps, given.halvings)
    else:
        ship(given.out, given.to)


if __name__ == "__main__":
    main()
