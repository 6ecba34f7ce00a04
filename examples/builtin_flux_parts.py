"""Makes the parts of a small FLUX other than its transformer, and exports the trained model.

  python examples/builtin_flux_parts.py make OUT [--steps N] [--halvings N]
  python examples/builtin_flux_parts.py ship OUT FOLDER

make  OUT/parts, a FLUX folder without transformer: an autoencoder of 2**N px per latent, trained on
      the pictures of OUT/train.jsonl; a T5 and a CLIP whose word embeddings are wordllama's.
ship  FOLDER, the trained model with all its weights in half precision.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_flux_data import open_images, read_records
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

WORDS_PER_PROMPT = 4
LATENT_CHANNELS, VAE_WIDTH = 16, 128


def make_parts(out: Path, steps: int, halvings: int) -> None:
    """Writes all parts of a FLUX except its transformer."""
    rows = read_records(out / "train.jsonl")
    words = sorted({word for row in rows for word in row["content"].lower().split()})
    names = [row["file_name"] for row in rows if row["split"] == "train"]
    vectors = torch.from_numpy(load("text_embedder", "builtin").embed(words)).float()  # (v, 256)
    folder = out / "vae"  # from an earlier run
    if not folder.is_dir():
        train_autoencoder(names, steps, halvings).save_pretrained(folder)
    vae = PatchAutoencoder.from_pretrained(folder)
    tokenizer, t5 = word_t5(words, vectors)
    clip_tokenizer, clip = word_clip(words, vectors)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=tokenizer,
        transformer=None,
    ).save_pretrained(out / "parts")


def word_tokenizer(words: Sequence[str], template: str, **roles: str) -> PreTrainedTokenizerFast:
    """A case-insensitive tokenizer with one token per word, after the special tokens of `roles`."""
    table = {name: k for k, name in enumerate([*dict.fromkeys(roles.values()), *words])}
    raw = Tokenizer(models.WordLevel(table, unk_token=roles["unk_token"]))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [(name, table[name]) for name in template.split() if name in table]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=around)
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=WORDS_PER_PROMPT, **roles)


def word_t5(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A one-layer T5 whose output is the vector of each word, scaled to a mean square of 1."""
    tokenizer = word_tokenizer(
        words, "$A </s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
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


def word_clip(words: Sequence[str], vectors: Tensor) -> tuple[Any, Any]:
    """A one-layer CLIP whose pooled output is the normalized mean of a prompt's word vectors."""
    tokenizer = word_tokenizer(
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
            max_position_embeddings=WORDS_PER_PROMPT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    text_model = getattr(model, "text_model", model)
    layer = text_model.encoder.layers[0]
    with torch.no_grad():
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.fc2):
            init.zeros_(part.weight)
            init.zeros_(part.bias)
        for part in (layer.self_attn.v_proj, layer.self_attn.out_proj):
            init.eye_(part.weight)
            init.zeros_(part.bias)
        table = torch.zeros(len(tokenizer), width)
        table[-len(words) :] = vectors
        text_model.embeddings.token_embedding.weight.copy_(table)
        init.zeros_(text_model.embeddings.position_embedding.weight)
    return tokenizer, model.eval()


def train_autoencoder(
    names: Sequence[str], steps: int, halvings: int, batch: int = 16
) -> PatchAutoencoder:
    """An autoencoder of patches of 2**halvings px, trained to reconstruct images and their edges.

    It starts at the principal components of patches, each scaled by the root of its size, and
    learns the residual. Its latents have a mean square of 1; the decoder is trained with noise on
    them, since the latents that FLUX generates are not exact.
    """
    torch.manual_seed(0)
    widths = [3 * 4**k for k in range(halvings)]
    vae = PatchAutoencoder(LATENT_CHANNELS, (*widths, VAE_WIDTH))
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in open_images(names)]))
    pixels = pixels.permute(0, 3, 1, 2)  # (n, 3, 64, 64) uint8

    def drawn(count: int) -> Tensor:
        return pixels[rng.integers(len(pixels), size=count)].float() / 127.5 - 1

    init_from_components(vae, drawn(1500))
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.01, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1.5e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        batch_pixels = drawn(batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(batch_pixels).latent_dist.mode().float()
            decoded = vae.decode(latents + 0.06 * torch.randn_like(latents)).sample.float()
        error = decoded - batch_pixels
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


def init_from_components(vae: PatchAutoencoder, pixels: Tensor) -> None:
    """Sets the linear paths to the principal components of the patches of `pixels`."""
    patches = functional.pixel_unshuffle(pixels, vae.patch_px)
    rows = patches.permute(0, 2, 3, 1).flatten(0, 2)  # (patches, 192)
    mean = rows.mean(0)
    _, sizes, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    std, axes = sizes[:LATENT_CHANNELS] / len(rows) ** 0.5, axes[:LATENT_CHANNELS]
    scale = (std * std.mean()).sqrt()  # (c,): halfway between their own and equal scales
    into, out = axes / scale[:, None], (axes * scale[:, None]).T
    with torch.no_grad():
        vae.straight_in.weight.copy_(into[..., None, None])
        vae.straight_in.bias.copy_(-into @ mean)
        vae.straight_out.weight.copy_(out[..., None, None])
        vae.straight_out.bias.copy_(mean)


def export_model(out: Path, target: Path) -> None:
    """Copies the trained model with all its weights in half precision."""
    shutil.copytree(out / "run" / "flux", target, dirs_exist_ok=True)
    classes = {
        "vae": PatchAutoencoder,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": T5EncoderModel,
    }
    for name, part_class in classes.items():
        part = part_class.from_pretrained(out / "parts" / name)
        part.half().save_pretrained(target / name)
    remove_local_paths(target)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    say(f"{target}: {size / 1e6:.1f} MB")


def remove_local_paths(model: Path) -> None:
    """Removes the folders of this machine from a model's files."""
    for path in [*model.glob("*.json"), *model.glob("*/config.json")]:
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2) + "\n")
    path = model / "transformer" / "diffusion_pytorch_model.safetensors"
    with safe_open(path, "pt") as weights:
        metadata = weights.metadata()
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    metadata["megastyle.model"] = Path(metadata["megastyle.model"]).name
    save_file(tensors, path, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    config = parser.add_subparsers(dest="what", required=True)
    subparser = config.add_parser("make")
    subparser.add_argument("out", type=Path)
    subparser.add_argument("--steps", type=int, default=1000)
    subparser.add_argument("--halvings", type=int, default=2)
    subparser = config.add_parser("ship")
    subparser.add_argument("out", type=Path)
    subparser.add_argument("to", type=Path)
    args = parser.parse_args()
    if args.what == "make":
        make_parts(args.out, args.steps, args.halvings)
    else:
        export_model(args.out, args.to)


if __name__ == "__main__":
    main()
