"""Whole text-to-image pipelines of tiny size: real classes and tokenizers, weights by a seed."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.tiny_flux import LETTERS

CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INSTRUCT = ("<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
INSTRUCT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% set sign = 'SYSTEM_PROMPT' if m.role == 'system' else 'INST' %}"
    "[{{ sign }}]{% for part in m.content %}{{ part.text }}{% endfor %}[/{{ sign }}]{% endfor %}"
)


def save_tiny_qwen(
    folder: Path,
    seed: int = 0,
    text_width: int = 16,
    dtype: torch.dtype = torch.float32,
    **changed: Any,
) -> Path:
    """Qwen-Image: its transformer, Qwen2.5-VL as text encoder, the video autoencoder (8x).

    `text_width` (a multiple of 16) and what is `changed` of the transformer make it larger.
    """
    tokenizer = _byte_tokenizer()
    shape = {
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "axes_dims_rope": (8, 4, 4),
        **changed,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(
                text_config={
                    "vocab_size": len(tokenizer),
                    "hidden_size": text_width,
                    "intermediate_size": 24,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 1,
                    "rope_parameters": {
                        "rope_type": "default",
                        "rope_theta": 10000.0,
                        "mrope_section": [text_width // 8, text_width // 16, text_width // 16],
                    },
                },
                vision_config={
                    "depth": 1,
                    "hidden_size": 16,
                    "intermediate_size": 24,
                    "num_heads": 2,
                    "out_hidden_size": 16,
                    "fullatt_block_indexes": [0],
                },
            )
        )
        transformer = QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            joint_attention_dim=text_width,
            **shape,
        )
        vae = AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=0.9,
            max_image_seq_len=8192,
            shift_terminal=0.02,
        ),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    )
    pipeline.to(dtype).save_pretrained(folder)
    return folder


def save_tiny_klein(folder: Path, seed: int = 0) -> Path:
    """FLUX.2 klein: the FLUX.2 transformer and autoencoder, Qwen3 as text encoder."""
    tokenizer = _byte_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=8,
                intermediate_size=12,
                num_hidden_layers=28,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=4,
            )
        )
        transformer, vae = _flux2(guidance_embeds=False)
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    ).save_pretrained(folder)
    return folder


def save_tiny_flux2(folder: Path, seed: int = 0) -> Path:
    """FLUX.2 itself: its transformer reads the guidance, Mistral 3 is the text encoder."""
    tokenizer = _instruct_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text_encoder = Mistral3ForConditionalGeneration(
            Mistral3Config(
                text_config={
                    "model_type": "mistral",
                    "vocab_size": len(tokenizer),
                    "hidden_size": 8,
                    "intermediate_size": 12,
                    "num_hidden_layers": 31,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 1,
                    "head_dim": 4,
                },
                vision_config={
                    "model_type": "pixtral",
                    "hidden_size": 8,
                    "intermediate_size": 12,
                    "num_hidden_layers": 1,
                    "num_attention_heads": 2,
                    "head_dim": 4,
                    "image_size": 28,
                    "patch_size": 14,
                },
            )
        )
        transformer, vae = _flux2(guidance_embeds=True)
    Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    ).save_pretrained(folder)
    # as published; the processor itself cannot be made without torchvision
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "PixtralProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _flux2(guidance_embeds: bool) -> tuple[Flux2Transformer2DModel, AutoencoderKLFlux2]:
    transformer = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    return transformer, vae


def save_tiny_sd3(folder: Path, seed: int = 0) -> Path:
    """Stable Diffusion 3 without its T5: the joint transformer and two CLIPs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clips = [CLIPTextModelWithProjection(_clip(16)) for _ in range(2)]
        transformer = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=32,
            out_channels=4,
            pos_embed_max_size=16,
        )
        vae = _autoencoder(scaling_factor=1.5305, shift_factor=0.0609)
    StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        text_encoder=clips[0].eval(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=clips[1].eval(),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
        transformer=transformer.eval(),
    ).save_pretrained(folder)
    return folder


def save_tiny_sdxl(folder: Path, seed: int = 0) -> Path:
    """Stable Diffusion XL: the U-Net with its size conditions and two CLIPs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second = CLIPTextModel(_clip(16)), CLIPTextModelWithProjection(_clip(16))
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=6 * 8 + 16,
            cross_attention_dim=32,
        )
        vae = _autoencoder()
    StableDiffusionXLPipeline(
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        vae=vae,
        text_encoder=first.eval(),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=second.eval(),
        tokenizer_2=_clip_tokenizer(),
        unet=unet.eval(),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def _byte_tokenizer() -> Qwen2Tokenizer:
    vocab = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[])
    tokenizer.add_tokens(list(CHAT), special_tokens=True)
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    return tokenizer


def _instruct_tokenizer() -> PreTrainedTokenizerFast:
    vocab = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    by_bytes = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    by_bytes.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    by_bytes.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=by_bytes, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    tokenizer.add_tokens(list(INSTRUCT), special_tokens=True)
    tokenizer.chat_template = INSTRUCT_TEMPLATE
    return tokenizer


def _clip(width: int) -> CLIPTextConfig:
    last = 2 * len(LETTERS) + 1
    return CLIPTextConfig(
        vocab_size=last + 1,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=last - 1,
        eos_token_id=last,
        pad_token_id=last,
    )


def _clip_tokenizer() -> CLIPTokenizer:
    pieces = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>"]
    vocab = {piece: number for number, piece in enumerate([*pieces, "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _autoencoder(**changed: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        **changed,
    ).eval()
