"""The memory that is counted for a pair is what autograd keeps of it, and known cards get plans."""

import pytest
import torch
from diffusers import FluxTransformer2DModel

from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.quantization import quantize_blocks
from megastyle_cli.training.common.memory_plan import GIB, plan
from megastyle_cli.training.flux.memory_cost import footprint, weight_bytes

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


def kept_bytes(double, single, pairs, *, dtype, rank):
    """Bytes of what a forward pass holds for the backward pass, weights left out."""
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
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no address returns
        return tensor

    words = PromptEmbeddings(states=torch.randn(pairs, TEXT, 24), pooled=torch.randn(pairs, 20))
    tokens = torch.randn(pairs, SIDE**2, 16, dtype=dtype)
    sigmas, ids = torch.full((pairs,), 0.5), position_ids(SIDE, SIDE, 1)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32),
        pytest.MonkeyPatch.context(),
    ):
        flow = velocity(transformer, tokens, tokens, words, sigmas, ids, guidance=1.0)
    assert flow.requires_grad
    return sum(size for size, _ in kept.values())


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [RANK, None])
def test_blocks_keep_what_is_counted_for_them(dtype, rank):
    def a_pair(double, single):
        more, less = (kept_bytes(double, single, pairs, dtype=dtype, rank=rank) for pairs in (3, 2))
        return more - less

    one = a_pair(1, 1)
    both = (a_pair(2, 1) - one) + (a_pair(1, 2) - one)
    foot = footprint(
        transformer_of(1, 1).config,
        text_tokens=TEXT,
        picture_tokens=SIDE**2,
        rank=rank,
        is_half=dtype != torch.float32,
        is_compiled=False,
    )

    assert both == pytest.approx(2 * foot.kept, rel=0.05)
    assert one - both <= foot.outside


def of_flux(*, is_compiled):
    with torch.device("meta"):
        made = FluxTransformer2DModel(num_layers=1, num_single_layers=1)
    sizes = {**made.config, "num_layers": 19, "num_single_layers": 38}
    return footprint(
        type(made.config)(sizes),
        text_tokens=512,
        picture_tokens=1024,
        rank=128,
        is_half=True,
        is_compiled=is_compiled,
    )


@pytest.mark.parametrize(("is_compiled", "gib"), [(False, 19), (True, 11)])
def test_a_pair_in_flux_takes_what_was_calculated(is_compiled, gib):
    assert of_flux(is_compiled=is_compiled).picture(0) / 1e9 == pytest.approx(gib, rel=0.15)


@pytest.mark.parametrize(
    ("free_gib", "is_compiled", "chunk", "every"),
    [(139, True, 6, 0), (139, False, 4, 0), (79, True, 2, 0), (79, False, 2, 4)],
)
def test_known_cards_get_plans_that_fit_with_few_blocks_computed_twice(
    free_gib, is_compiled, chunk, every
):
    foot = of_flux(is_compiled=is_compiled)
    fixed = round(43.5e9)

    made = plan(
        foot, pictures=8, fixed=fixed, free=free_gib * GIB, noun="pairs", embeds_twice=False
    )

    assert made.fits and (made.chunk, made.every) == (chunk, every), made.sentence


def test_weights_are_counted_once_as_they_are_stored():
    one, other = torch.nn.Linear(10, 10), torch.nn.Linear(10, 10).bfloat16()
    one.again = one

    assert weight_bytes(one, one, other) == 110 * 4 + 110 * 2


@pytest.mark.filterwarnings("ignore")  # what the package says of missing kernels
def test_four_bits_count_before_they_are_rounded_what_they_take_after():
    pytest.importorskip("bitsandbytes")
    transformer = transformer_of(1, 1)
    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        quantize_blocks(blocks, "nf4")

    before = weight_bytes(transformer)
    transformer.to("cpu")  # where they are rounded

    held = 0
    for weight in transformer.parameters():
        held += weight.nbytes
        if hasattr(weight, "quant_state"):
            state = weight.quant_state
            held += state.absmax.nbytes + state.state2.absmax.nbytes
    assert before == pytest.approx(held, rel=0.02) and weight_bytes(transformer) == before
