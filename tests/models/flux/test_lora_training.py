"""A LoRA in training: tied down matrices, all official modules, the same function when fused."""

import copy

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import fuse_lora, target_modules_of
from megastyle_cli.models.flux.lora_training import (
    attach_lora,
    common_rank,
    extract_lora,
    load_lora,
    select_target_modules,
)
from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from tests.tiny_flux import RANK, random_lora, tiny_transformer


@pytest.fixture
def adapted():
    transformer = tiny_transformer()
    targets = select_target_modules(transformer, "all")
    attach_lora(transformer, targets, rank=RANK, alpha=RANK, seed=3)
    return transformer


def predict(transformer):
    """The velocity of fixed random inputs, (2, 6, 16)."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 6, 16, generator=rng)
    reference = torch.randn(2, 6, 16, generator=rng)
    prompts = PromptEmbeddings(
        states=torch.randn(2, 5, 24, generator=rng), pooled=torch.randn(2, 20, generator=rng)
    )
    sigmas, ids = torch.tensor([0.8, 0.3]), position_ids(2, 3, 1)
    return velocity(transformer, tokens, reference, prompts, sigmas, ids, guidance=1.0)


def test_a_new_lora_changes_nothing_and_ties_the_down_matrices_of_q_k_and_v(adapted):
    assert torch.equal(predict(adapted), predict(tiny_transformer()))

    downs = {
        id(module.weight)
        for name, module in adapted.named_modules()
        if name.endswith("lora_A.default")
    }
    assert len(downs) == len(target_modules_of(adapted)) == 26
    double = adapted.transformer_blocks[1].attn
    assert double.to_q.lora_A.default.weight is double.to_v.lora_A.default.weight
    assert double.add_k_proj.lora_A.default.weight is double.add_v_proj.lora_A.default.weight
    assert double.to_q.lora_A.default.weight is not double.add_q_proj.lora_A.default.weight
    single = adapted.single_transformer_blocks[0]
    assert single.attn.to_q.lora_A.default.weight is single.proj_mlp.lora_A.default.weight


def test_only_the_lora_is_trained_and_has_the_official_number_of_weights(adapted):
    trained = {n: w for n, w in adapted.named_parameters() if w.requires_grad}
    lora = extract_lora(adapted, target_modules_of(adapted))

    assert all("lora_" in name for name in trained)
    official = sum(f.down.numel() + f.up.numel() for f in lora.values())
    assert sum(w.numel() for w in trained.values()) == official


def test_tied_down_matrices_have_the_gradient_of_one_linear_layer(adapted):
    load_lora(random_lora(target_modules_of(adapted)), adapted)
    attention = adapted.transformer_blocks[0].attn
    layers = (attention.to_q, attention.to_k, attention.to_v)
    rng = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(7, width, generator=rng) for width in (32, 96))
    torch.cat([layer(x) for layer in layers], 1).backward(gradient)

    # q, k and v as one linear layer with one LoRA, which is what the official code trains
    down = layers[0].lora_A.default.weight.detach().clone().requires_grad_()
    up = torch.cat([layer.lora_B.default.weight.detach() for layer in layers]).requires_grad_()
    ((x @ down.T) @ up.T).backward(gradient)

    assert torch.allclose(layers[0].lora_A.default.weight.grad, down.grad, rtol=1e-5, atol=1e-6)
    ups = torch.cat([layer.lora_B.default.weight.grad for layer in layers])
    assert torch.allclose(ups, up.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("alpha", [RANK, 2 * RANK])
def test_an_extracted_and_fused_lora_computes_the_same(alpha):
    transformer = tiny_transformer()
    targets = target_modules_of(transformer)
    fused = copy.deepcopy(transformer)
    lora = random_lora(targets, alpha=alpha)
    attach_lora(transformer, targets, rank=RANK, alpha=alpha, seed=0)
    load_lora(lora, transformer)

    fuse_lora(extract_lora(transformer, targets), fused)

    ours, theirs = predict(transformer), predict(fused)
    assert not torch.allclose(ours, predict(tiny_transformer()), rtol=1e-2)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_loaded_lora_is_extracted_exactly(adapted):
    lora = random_lora(target_modules_of(adapted))

    load_lora(lora, adapted)

    found = extract_lora(adapted, target_modules_of(adapted))
    assert found.keys() == lora.keys()
    for target, factors in lora.items():
        assert torch.equal(found[target].down, factors.down)
        assert torch.equal(found[target].up, factors.up) and found[target].alpha == factors.alpha


def test_targets_are_selected_by_the_end_of_their_official_name():
    transformer = tiny_transformer()

    selected = select_target_modules(transformer, "img_attn_qkv,linear1")

    assert sorted({t.official.split("_", 5)[-1] for t in selected}) == ["img_attn_qkv", "linear1"]
    attach_lora(transformer, selected, rank=2, alpha=2, seed=0)
    assert len(extract_lora(transformer, selected)) == 4
    with pytest.raises(MegastyleError, match="--targets has 'proj_out'"):
        select_target_modules(transformer, "proj_out")


def test_the_seed_decides_the_first_weights_and_the_global_generator_is_untouched():
    found = []
    for seed in (1, 1, 2):
        transformer = tiny_transformer()
        before = torch.random.get_rng_state()
        attach_lora(transformer, target_modules_of(transformer), rank=2, alpha=2, seed=seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        found.append(
            next(iter(extract_lora(transformer, target_modules_of(transformer)).values())).down
        )

    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_modules_of_different_rank_have_no_common_rank(adapted):
    lora = random_lora(target_modules_of(adapted))
    assert common_rank(lora, "x") == (RANK, RANK)
    target = next(iter(lora))
    wider = type(lora[target])(torch.zeros(12, 32), torch.zeros(192, 12), 12)

    with pytest.raises(MegastyleError, match="x has modules of ranks 4 .* and 12"):
        common_rank({**lora, target: wider}, "x")


def test_a_lora_of_another_width_raises_before_any_weight_changes(adapted):
    before = extract_lora(adapted, target_modules_of(adapted))
    kept = {t: f.down.clone() for t, f in before.items()}

    with pytest.raises(MegastyleError, match="the LoRA has 4 x 48 weights for"):
        load_lora(random_lora(target_modules_of(adapted), 48), adapted)

    now = extract_lora(adapted, target_modules_of(adapted))
    assert all(torch.equal(now[t].down, down) for t, down in kept.items())
