"""Memory cost of FLUX: autograd keeps what is counted, and known cards get plans that fit."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.setup import quantize_flux
from megastyle_cli.training.common.memory_plan import GIB, plan_memory
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.memory_cost import footprint, plan_flux_memory, weight_bytes
from tests.cuda_autocast import gpu_autocast

GB = 10**9
RANK_128 = 612_630_528  # weights of the official LoRA
RANK, TEXT, SIDE, WIDTH = 8, 64, 8, 128
SIZES = {
    "in_channels": 16,
    "attention_head_dim": 32,
    "num_attention_heads": 4,
    "joint_attention_dim": 24,
    "pooled_projection_dim": 20,
    "guidance_embeds": True,
    "axes_dims_rope": (8, 12, 12),
}


def transformer_of(double, single):
    return FluxTransformer2DModel(num_layers=double, num_single_layers=single, **SIZES)


def kept_bytes(double, single, pairs, *, dtype, rank, on_gpu):
    """Bytes that a forward pass keeps for the backward pass, without the weights."""
    transformer = transformer_of(double, single)
    if rank:
        attach_lora(
            transformer, select_target_modules(transformer, "all"), rank=rank, alpha=rank, seed=0
        )
    own = {weight.untyped_storage().data_ptr() for weight in transformer.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (
                storage.nbytes(),
                tensor,
            )  # held, so that no address is reused
        return tensor

    prompts = PromptEmbeddings(states=torch.randn(pairs, TEXT, 24), pooled=torch.randn(pairs, 20))
    tokens = torch.randn(pairs, SIDE**2, 16, dtype=dtype)
    sigmas, ids = torch.full((pairs,), 0.5), position_ids(SIDE, SIDE, 1)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32),
        gpu_autocast() if on_gpu else nullcontext(),
    ):
        flow = velocity(transformer, tokens, tokens, prompts, sigmas, ids, guidance=1.0)
    assert flow.requires_grad
    return sum(size for size, _ in kept.values())


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [RANK, None])
@pytest.mark.parametrize("on_gpu", [True, False])
def test_blocks_keep_the_counted_bytes(dtype, rank, on_gpu):
    options = {"dtype": dtype, "rank": rank, "on_gpu": on_gpu}

    def bytes_per_pair(double, single):
        more, less = (kept_bytes(double, single, pairs, **options) for pairs in (3, 2))
        return more - less

    one = bytes_per_pair(1, 1)
    both = (bytes_per_pair(2, 1) - one) + (bytes_per_pair(1, 2) - one)
    cost = footprint(
        transformer_of(1, 1).config,
        text_tokens=TEXT,
        image_tokens=SIDE**2,
        rank=rank,
        is_half=dtype != torch.float32,
        on_gpu=on_gpu,
        is_compiled=False,
    )

    assert both == pytest.approx(2 * cost.kept, rel=0.05)
    assert one - both <= cost.outside


def of_flux(*, is_compiled):
    with torch.device("meta"):
        made = FluxTransformer2DModel(num_layers=1, num_single_layers=1)
    sizes = {**made.config, "num_layers": 19, "num_single_layers": 38}
    return footprint(
        type(made.config)(sizes),
        text_tokens=512,
        image_tokens=1024,
        rank=128,
        is_half=True,
        on_gpu=True,
        is_compiled=is_compiled,
    )


@pytest.mark.parametrize(("is_compiled", "gib"), [(False, 23), (True, 11)])
def test_a_pair_in_flux_takes_the_calculated_bytes(is_compiled, gib):
    assert of_flux(is_compiled=is_compiled).bytes_per_item(0) / 1e9 == pytest.approx(gib, rel=0.15)


@pytest.mark.parametrize(
    ("free_gib", "is_compiled", "micro_batch", "every"),
    [(139, True, 6, 0), (139, False, 3, 0), (79, True, 2, 0), (79, False, 2, 2)],
)
def test_known_cards_get_plans_that_fit_with_few_recomputed_blocks(
    free_gib, is_compiled, micro_batch, every
):
    cost = of_flux(is_compiled=is_compiled)
    fixed = round(43.5e9)

    made = plan_memory(
        cost, items=8, fixed=fixed, free=free_gib * GIB, noun="pairs", embeds_twice=False
    )

    assert made.fits and (made.micro_batch, made.recompute_every) == (micro_batch, every), (
        made.sentence
    )


def test_weights_are_counted_once_as_they_are_stored():
    one, other = torch.nn.Linear(10, 10), torch.nn.Linear(10, 10).bfloat16()
    one.again = one

    assert weight_bytes(one, one, other) == 110 * 4 + 110 * 2


@pytest.mark.filterwarnings("ignore")  # the package's remarks on missing kernels
def test_4_bit_weights_are_counted_before_they_are_quantized():
    pytest.importorskip("bitsandbytes")
    transformer = transformer_of(1, 1)
    quantize_flux(transformer, "nf4")

    before = weight_bytes(transformer)
    transformer.to("cpu")  # quantizes them

    stored = 0
    for weight in transformer.parameters():
        stored += weight.nbytes
        if hasattr(weight, "quant_state"):
            state = weight.quant_state
            stored += state.absmax.nbytes + state.state2.absmax.nbytes
    assert before == pytest.approx(stored, rel=0.02) and weight_bytes(transformer) == before


@pytest.fixture
def flux_1():
    """The parts of FLUX.1-dev at full size, on the meta device."""
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


def planned(flux_1, free_gb, **changed):
    trainable = SimpleNamespace(
        config=FluxConfig(**changed), pipeline=flux_1, transformer=flux_1.transformer, rank=128
    )
    return plan_flux_memory(
        trainable,
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
        rows=32,
        free=int(free_gb * GB),
        world=1,
    )


@pytest.mark.parametrize(("free_gb", "first"), [(140, False), (80, False), (50, True), (24, True)])
def test_memory_decides_whether_text_is_encoded_first(flux_1, free_gb, first):
    memory = planned(flux_1, free_gb)

    assert memory.encodes_first is first
    assert memory.plan.fits is (free_gb >= 50)
    assert ("free their memory" in memory.sentence) is first and "9.1 GiB" in memory.sentence


def test_encoding_first_frees_the_text_encoders(flux_1):
    kept, freed = (planned(flux_1, 80, encode_text=how) for how in ("beside", "first"))

    assert kept.plan.fixed - freed.plan.fixed == kept.text_encoder_bytes == freed.text_encoder_bytes
    assert 9 * GB < kept.text_encoder_bytes < 10.2 * GB


def test_a_requested_place_of_the_encoders_is_kept_even_if_it_does_not_fit(flux_1):
    assert not planned(flux_1, 50, encode_text="beside").encodes_first
    assert planned(flux_1, 140, encode_text="first").encodes_first


def test_a_24_gb_card_fits_rank_128_with_8_bit_weights_and_moments(flux_1):
    for name, module in flux_1.transformer.named_modules():
        if "transformer_blocks" in name and isinstance(module, torch.nn.Linear):
            quantized = torch.empty(module.weight.shape, dtype=torch.int8, device="meta")
            module.weight = torch.nn.Parameter(quantized, requires_grad=False)
    card = 23.4 * 2**30 / GB  # free of 24

    full, eight_bit = (planned(flux_1, card, optimizer=kind) for kind in ("adamw", "adamw8bit"))

    assert not full.plan.fits
    assert eight_bit.plan.fits and eight_bit.encodes_first and eight_bit.plan.recompute_every == 1


def test_8_bit_moments_take_a_quarter_of_the_memory(flux_1):
    full, eight_bit = (planned(flux_1, 80, optimizer=kind) for kind in ("adamw", "adamw8bit"))

    saved = full.plan.fixed - eight_bit.plan.fixed
    assert saved == pytest.approx(0.75 * 8 * RANK_128, rel=0.02)
