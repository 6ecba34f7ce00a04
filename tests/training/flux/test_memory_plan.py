"""The plan of memory: text encoders make room where it is short, or where they are asked to."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from megastyle_cli.training.flux.memory_plan import room_for

GB = 10**9
RANK_128 = 612_630_528  # weights of the official LoRA


@pytest.fixture
def flux_1():
    """FLUX.1-dev's parts in their sizes, without their weights."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True).to(torch.bfloat16)
        transformer.requires_grad_(False)
        transformer.lora = torch.nn.Parameter(torch.empty(RANK_128))
        t5 = T5Config(d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64)
        t5.feed_forward_proj, t5.is_gated_act, t5.dense_act_fn = "gated-gelu", True, "gelu_new"
        clip = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=16,
        )
        return SimpleNamespace(
            transformer=transformer,
            vae=vae.to(torch.bfloat16),
            text_encoder=CLIPTextModel(clip).to(torch.bfloat16),
            text_encoder_2=T5EncoderModel(t5).to(torch.bfloat16),
            tokenizer_2=SimpleNamespace(model_max_length=512),
        )


def room(flux_1, free_gb, **changed):
    layout = {"chunk": None, "recompute": None, "compile": False, "encode_text": "auto"}
    layout |= {name: changed.pop(name) for name in layout.keys() & changed.keys()}
    told = {"batch": 8, "ema": 0.0, "size_px": 512, "optimizer": "adamw", **changed}
    student = SimpleNamespace(
        settings=SimpleNamespace(**told, layout=SimpleNamespace(**layout)),
        pipeline=flux_1,
        transformer=flux_1.transformer,
        rank=128,
    )
    return room_for(student, dtype=torch.bfloat16, rows=32, free=int(free_gb * GB), world=1)


@pytest.mark.parametrize(("free_gb", "first"), [(140, False), (80, False), (50, True), (24, True)])
def test_memory_decides_whether_text_is_encoded_first(flux_1, free_gb, first):
    found = room(flux_1, free_gb)

    assert found.encodes_first is first
    assert found.plan.fits is (free_gb >= 50)
    assert ("make room" in found.sentence) is first and "9.1 GiB" in found.sentence


def test_the_encoders_are_what_leaves(flux_1):
    kept, freed = (room(flux_1, 80, encode_text=how) for how in ("beside", "first"))

    assert kept.plan.fixed - freed.plan.fixed == kept.encoders == freed.encoders
    assert 9 * GB < kept.encoders < 10.2 * GB


def test_what_is_asked_for_stands_though_it_does_not_fit(flux_1):
    assert not room(flux_1, 50, encode_text="beside").encodes_first
    assert room(flux_1, 140, encode_text="first").encodes_first


def test_a_24_gb_card_has_room_for_rank_128_over_8_bit_weights_with_8_bit_moments(flux_1):
    for name, module in flux_1.transformer.named_modules():
        if "transformer_blocks" in name and isinstance(module, torch.nn.Linear):
            rounded = torch.empty(module.weight.shape, dtype=torch.int8, device="meta")
            module.weight = torch.nn.Parameter(rounded, requires_grad=False)
    card = 23.4 * 2**30 / GB  # what is free of 24

    whole, eighth = (room(flux_1, card, optimizer=kind) for kind in ("adamw", "adamw8bit"))

    assert not whole.plan.fits
    assert eighth.plan.fits and eighth.encodes_first and eighth.plan.every == 1


def test_8_bits_take_a_quarter_of_the_moments(flux_1):
    whole, eighth = (room(flux_1, 80, optimizer=kind) for kind in ("adamw", "adamw8bit"))

    saved = whole.plan.fixed - eighth.plan.fixed
    assert saved == pytest.approx(0.75 * 8 * RANK_128, rel=0.02)
