"""A FLUX model and LoRA of tiny size: the real classes and tokenizers, weights from a seed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from megastyle_cli.models.flux.lora import Lora, LoraFactors, TargetModule

RANK = 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TRANSFORMER = {
    "in_channels": 16,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 6, 6),
}


def tiny_transformer(seed: int = 0, **changed: object) -> FluxTransformer2DModel:
    """A FLUX transformer 32 wide, of two double and two single blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FluxTransformer2DModel(**{**TRANSFORMER, **changed}).eval()


def official_shapes(width: int) -> dict[str, tuple[int, int]]:
    """Input and output width of every kind of module in the official file."""
    modulation = {"img_mod_lin": 6, "txt_mod_lin": 6, "modulation_lin": 3}
    square = {"img_attn_proj": 1, "txt_attn_proj": 1, "img_attn_qkv": 3, "txt_attn_qkv": 3}
    wider = {"img_mlp_0": 4, "txt_mlp_0": 4, "linear1": 7}
    return {
        **{kind: (width, n * width) for kind, n in {**modulation, **square, **wider}.items()},
        **{"img_mlp_2": (4 * width, width), "txt_mlp_2": (4 * width, width)},
        "linear2": (5 * width, width),
    }


def random_lora(
    targets: Sequence[TargetModule],
    width: int = 32,
    alpha: float = RANK,
    dtype: torch.dtype = torch.float32,
) -> Lora:
    """A LoRA of the official shapes and rank 4, with random numbers."""
    rng = torch.Generator().manual_seed(1)
    shapes = official_shapes(width)
    lora = {}
    for target in targets:
        kind = next(kind for kind in shapes if target.official.endswith(f"_{kind}"))
        width_in, width_out = shapes[kind]
        lora[target] = LoraFactors(
            torch.randn(RANK, width_in, generator=rng).to(dtype) * 0.1,
            torch.randn(width_out, RANK, generator=rng).to(dtype) * 0.1,
            alpha,
        )
    return lora


def save_tiny_flux(folder: Path, seed: int = 0, text_tokens: int = 512) -> Path:
    """A pipeline folder with all parts of FLUX.1-dev: autoencoder 8x, CLIP, T5, both tokenizers."""
    transformer = tiny_transformer(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            norm_num_groups=4,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
        clip = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=2 * len(LETTERS) + 2,
                hidden_size=20,
                intermediate_size=24,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=2 * len(LETTERS),
                eos_token_id=2 * len(LETTERS) + 1,
                pad_token_id=2 * len(LETTERS) + 1,
            )
        )
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=len(LETTERS) + 4,
                d_model=24,
                d_ff=32,
                d_kv=12,
                num_layers=1,
                num_heads=2,
            )
        )
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>"]
    vocab = {piece: number for number, piece in enumerate([*pieces, "<|endoftext|>"])}
    words = [(piece, -1.0) for piece in ["<pad>", "</s>", "<unk>", "\u2581", *LETTERS]]
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=clip.eval(),
        tokenizer=CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77),
        text_encoder_2=t5.eval(),
        tokenizer_2=T5Tokenizer(vocab=words, extra_ids=0, model_max_length=text_tokens),
        transformer=transformer,
    ).save_pretrained(folder)
    return folder
