"""LoRAs: which modules they adapt, and what fusing adds to each weight."""

import pytest
import torch
from diffusers import FluxTransformer2DModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import fuse_lora, target_modules, target_modules_of
from megastyle_cli.models.flux.lora_file import read_lora, save_lora
from tests.tiny_flux import RANK, random_lora, tiny_transformer


@pytest.fixture
def transformer():
    return tiny_transformer()


@pytest.fixture
def lora(transformer):
    return random_lora(target_modules_of(transformer))


def test_flux_1_has_304_official_modules_and_494_diffusers_layers():
    targets = target_modules()

    assert len({target.official for target in targets}) == 304
    assert len({name for target in targets for name in target.diffusers}) == 494


def test_every_target_is_a_linear_layer_of_the_transformer(transformer):
    for target in target_modules_of(transformer):
        for name in target.diffusers:
            assert isinstance(transformer.get_submodule(name), torch.nn.Linear)


def changes(transformer, lora, strength=1.0):
    """What fusing adds to each weight."""
    before = {name: w.clone() for name, w in transformer.state_dict().items()}
    fuse_lora(lora, transformer, strength)
    after = transformer.state_dict()
    return {name: after[name] - w for name, w in before.items() if not after[name].equal(w)}


# kind of module -> its diffusers layers, each with its rows of the official product
LAYER_ROWS = {
    "double_blocks_1_img_mod_lin": {"norm1.linear": (0, 192)},
    "double_blocks_1_txt_mod_lin": {"norm1_context.linear": (0, 192)},
    "double_blocks_1_img_attn_qkv": {
        "attn.to_q": (0, 32),
        "attn.to_k": (32, 64),
        "attn.to_v": (64, 96),
    },
    "double_blocks_1_txt_attn_qkv": {
        "attn.add_q_proj": (0, 32),
        "attn.add_k_proj": (32, 64),
        "attn.add_v_proj": (64, 96),
    },
    "double_blocks_1_img_attn_proj": {"attn.to_out.0": (0, 32)},
    "double_blocks_1_txt_attn_proj": {"attn.to_add_out": (0, 32)},
    "double_blocks_1_img_mlp_0": {"ff.net.0.proj": (0, 128)},
    "double_blocks_1_img_mlp_2": {"ff.net.2": (0, 32)},
    "double_blocks_1_txt_mlp_0": {"ff_context.net.0.proj": (0, 128)},
    "double_blocks_1_txt_mlp_2": {"ff_context.net.2": (0, 32)},
    "single_blocks_1_modulation_lin": {"norm.linear": (0, 96)},
    "single_blocks_1_linear1": {
        "attn.to_q": (0, 32),
        "attn.to_k": (32, 64),
        "attn.to_v": (64, 96),
        "proj_mlp": (96, 224),
    },
    "single_blocks_1_linear2": {"proj_out": (0, 32)},
}


@pytest.mark.parametrize("kind", LAYER_ROWS)
@pytest.mark.parametrize("alpha", [RANK, RANK / 2])
def test_fusing_adds_each_modules_product_to_its_layers(transformer, tmp_path, kind, alpha):
    lora = random_lora(target_modules_of(transformer), alpha=alpha)
    save_lora(lora, tmp_path / "lora.safetensors", "diffusers")

    added = changes(transformer, read_lora(tmp_path / "lora.safetensors", list(lora)))

    block = "single_transformer_blocks.1" if kind.startswith("single") else "transformer_blocks.1"
    (factors,) = (f for target, f in lora.items() if target.official == f"lora_unet_{kind}")
    product = alpha / RANK * factors.up @ factors.down
    for name, (first, end) in LAYER_ROWS[kind].items():
        assert torch.allclose(added[f"{block}.{name}.weight"], product[first:end], atol=1e-6)


def test_fusing_changes_the_targets_and_nothing_else(transformer, lora):
    added = changes(transformer, lora)

    assert set(added) == {f"{name}.weight" for target in lora for name in target.diffusers}


def test_strength_scales_the_change(lora):
    half, whole = changes(tiny_transformer(), lora, 0.5), changes(tiny_transformer(), lora)

    assert all(torch.allclose(2 * half[name], whole[name], atol=1e-6) for name in whole)


def test_a_lora_of_another_width_raises_before_any_weight_changes(transformer):
    before = {name: w.clone() for name, w in transformer.state_dict().items()}

    with pytest.raises(MegastyleError, match="384 x 64 weights for .*, the model has 192 x 32"):
        fuse_lora(random_lora(target_modules_of(transformer), 64), transformer)

    assert all(torch.equal(w, before[name]) for name, w in transformer.state_dict().items())


def test_bfloat16_fusing_is_the_official_arithmetic():
    transformer: FluxTransformer2DModel = tiny_transformer().bfloat16()
    lora = random_lora(target_modules_of(transformer), dtype=torch.bfloat16)
    name = "transformer_blocks.0.norm1.linear"
    before = transformer.get_submodule(name).weight.clone()

    fuse_lora(lora, transformer)

    factors = lora[target_modules_of(transformer)[0]]
    assert torch.equal(transformer.get_submodule(name).weight, before + factors.up @ factors.down)
