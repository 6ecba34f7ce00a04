"""A LoRA is read in four forms to the last tensor, written in them, and changes what it says."""

import json

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import (
    LAST_LAYER,
    LoraFactors,
    diffsynth_state_dict,
    diffusers_state_dict,
    fuse_lora,
    official_state_dict,
    peft_state_dict,
    read_lora,
    save_lora,
    target_modules,
    target_modules_of,
)
from megastyle_cli.models.flux.lora_convert import convert_lora
from tests.tiny_flux import save_tiny_flux, tiny_transformer

RANK = 4


def official_shapes(width):
    """(in, out) of every module kind of the official file, by the end of its stem."""
    modulation = {"img_mod_lin": 6, "txt_mod_lin": 6, "modulation_lin": 3}
    square = {"img_attn_proj": 1, "txt_attn_proj": 1, "img_attn_qkv": 3, "txt_attn_qkv": 3}
    wider = {"img_mlp_0": 4, "txt_mlp_0": 4, "linear1": 7}
    return {
        **{stem: (width, n * width) for stem, n in {**modulation, **square, **wider}.items()},
        **{"img_mlp_2": (4 * width, width), "txt_mlp_2": (4 * width, width)},
        "linear2": (5 * width, width),
    }


def made_lora(wanted, width, alpha=RANK, dtype=torch.float32):
    """A LoRA of drawn numbers with the official shapes."""
    rng = torch.Generator().manual_seed(1)
    shapes = official_shapes(width)
    lora = {}
    for target in wanted:
        stem = next(stem for stem in shapes if target.official.endswith(f"_{stem}"))
        width_in, width_out = shapes[stem]
        lora[target] = LoraFactors(
            torch.randn(RANK, width_in, generator=rng).to(dtype) * 0.1,
            torch.randn(width_out, RANK, generator=rng).to(dtype) * 0.1,
            alpha,
        )
    return lora


@pytest.fixture
def transformer():
    return tiny_transformer()


@pytest.fixture
def lora(transformer):
    return made_lora(target_modules_of(transformer), 32)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[t].down, other[t].down)
        and torch.equal(one[t].up, other[t].up)
        and one[t].alpha == other[t].alpha
        for t in one
    )


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_flux_has_304_official_modules_and_494_of_diffusers():
    found = target_modules()

    assert len({target.official for target in found}) == 304
    assert len({name for target in found for name in target.diffusers}) == 494


def test_the_official_lora_of_rank_128_has_912_tensors_988_in_diffusers_and_its_parameters():
    shapes = official_shapes(3072)
    with torch.device("meta"):
        lora = {}
        for target in target_modules():
            stem = next(stem for stem in shapes if target.official.endswith(f"_{stem}"))
            width_in, width_out = shapes[stem]
            down, up = torch.empty(128, width_in), torch.empty(width_out, 128)
            lora[target] = LoraFactors(down, up, 128)

    assert len(official_state_dict(lora)) == 912
    assert len(diffusers_state_dict(lora)) == 988
    assert sum(f.down.numel() + f.up.numel() for f in lora.values()) == 612_630_528


def test_every_target_is_a_linear_of_the_transformer(transformer):
    for target in target_modules_of(transformer):
        for name in target.diffusers:
            assert isinstance(transformer.get_submodule(name), torch.nn.Linear)


def test_official_to_diffusers_and_back_is_the_same_to_the_bit(lora, tmp_path):
    first, between, back = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    save_lora(lora, first)

    save_lora(read_lora(first, list(lora)), between, "diffusers")
    save_lora(read_lora(between, list(lora)), back)

    assert equal(load_file(first), load_file(back))
    assert load_file(first)[f"{next(iter(lora)).official}.alpha"].dtype == torch.int64
    assert same(read_lora(back, list(lora)), lora)


def raw_diffsynth(lora):
    found = {}
    for target, factors in lora.items():
        found[f"{target.diffsynth}.lora_A.default.weight"] = factors.down
        found[f"{target.diffsynth}.lora_B.default.weight"] = factors.up
    return found


@pytest.mark.parametrize("prefix", ["", "pipe.dit."])
def test_raw_diffsynth_keys_are_read(lora, tmp_path, prefix):
    held = {prefix + key: w for key, w in raw_diffsynth(lora).items()}
    save_file(held, tmp_path / "raw.safetensors")

    assert same(read_lora(tmp_path / "raw.safetensors", list(lora)), lora)


@pytest.mark.parametrize("prefix", ["", "transformer.", "base_model.model.", "diffusion_model."])
def test_peft_keys_are_read_with_every_prefix(lora, tmp_path, prefix):
    held = {
        prefix + key.removeprefix("transformer."): w.clone()
        for key, w in diffusers_state_dict(lora).items()
    }
    save_file(held, tmp_path / "peft.safetensors")

    assert same(read_lora(tmp_path / "peft.safetensors", list(lora)), lora)


def test_the_alpha_that_peft_notes_in_the_header_counts(lora, tmp_path):
    held = {key: w.clone() for key, w in diffusers_state_dict(lora).items()}
    noted = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 2 * RANK})}
    save_file(held, tmp_path / "peft.safetensors", noted)

    found = read_lora(tmp_path / "peft.safetensors", list(lora))

    assert all(factors.scale == 2 for factors in found.values())


def changes(transformer, lora, strength=1.0):
    """What fusing adds to each weight."""
    before = {name: w.clone() for name, w in transformer.state_dict().items()}
    fuse_lora(lora, transformer, strength)
    after = transformer.state_dict()
    return {name: after[name] - w for name, w in before.items() if not after[name].equal(w)}


# kind of module -> diffusers linear and the rows of the official product that are its change
KINDS = {
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [RANK, RANK / 2])
def test_fusing_adds_the_product_of_every_kind(transformer, tmp_path, kind, alpha):
    lora = made_lora(target_modules_of(transformer), 32, alpha)
    save_lora(lora, tmp_path / "lora.safetensors", "diffusers")

    added = changes(transformer, read_lora(tmp_path / "lora.safetensors", list(lora)))

    block = "single_transformer_blocks.1" if kind.startswith("single") else "transformer_blocks.1"
    (factors,) = (f for target, f in lora.items() if target.official == f"lora_unet_{kind}")
    product = alpha / RANK * factors.up @ factors.down
    for name, (first, end) in KINDS[kind].items():
        assert torch.allclose(added[f"{block}.{name}.weight"], product[first:end], atol=1e-6)


def test_fusing_changes_all_targets_and_nothing_else(transformer, lora):
    added = changes(transformer, lora)

    assert set(added) == {f"{name}.weight" for target in lora for name in target.diffusers}


def test_strength_scales_the_change(lora):
    half, whole = changes(tiny_transformer(), lora, 0.5), changes(tiny_transformer(), lora)

    assert all(torch.allclose(2 * half[name], whole[name], atol=1e-6) for name in whole)


def test_separate_inputs_for_q_k_and_v_are_kept_exactly(transformer, lora, tmp_path):
    held = {key: w.clone() for key, w in diffusers_state_dict(lora).items()}
    for key in held:
        if "lora_A" in key and ".to_k." in key:
            held[key] = held[key] + 1
    save_file(held, tmp_path / "untied.safetensors")

    found = read_lora(tmp_path / "untied.safetensors", list(lora))
    save_lora(found, tmp_path / "official.safetensors")
    added = changes(transformer, read_lora(tmp_path / "official.safetensors", list(lora)))

    for name in ("attn.to_q", "attn.to_k", "attn.to_v"):
        key = f"transformer.transformer_blocks.0.{name}"
        product = held[f"{key}.lora_B.weight"] @ held[f"{key}.lora_A.weight"]
        assert torch.allclose(added[f"transformer_blocks.0.{name}.weight"], product, atol=1e-5)


def test_at_full_width_diffusers_reads_the_official_form_as_we_write_its_own(tmp_path):
    lora = made_lora(target_modules(1, 1), 3072)
    save_lora(lora, tmp_path / "official.safetensors")

    theirs = FluxPipeline.lora_state_dict(load_file(tmp_path / "official.safetensors"))

    assert equal(theirs, diffusers_state_dict(lora))


def test_a_transformer_of_diffusers_loads_what_we_write(lora, tmp_path):
    save_lora(lora, tmp_path / "lora.safetensors", "diffusers")
    fused, adapted = tiny_transformer(), tiny_transformer()
    inputs = {
        "hidden_states": torch.randn(1, 4, 16),
        "encoder_hidden_states": torch.randn(1, 3, 24),
        "pooled_projections": torch.randn(1, 20),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(4, 3),
        "txt_ids": torch.zeros(3, 3),
    }

    fuse_lora(lora, fused)
    adapted.load_lora_adapter(load_file(tmp_path / "lora.safetensors"), prefix="transformer")

    with torch.inference_mode():
        ours, theirs = fused(**inputs).sample, adapted(**inputs).sample
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, tiny_transformer()(**inputs).sample, atol=1e-3)


def without_one(held):
    held.pop("lora_unet_single_blocks_0_linear1.lora_up.weight")


def with_a_stranger(held):
    held["text_encoder.layer.lora_down.weight"] = torch.zeros(RANK, 4)


def with_the_final_layer(held):
    held["lora_unet_final_layer_linear.lora_down.weight"] = torch.zeros(RANK, 4)


@pytest.mark.parametrize(
    ("damage", "counts"),
    [
        (without_one, "77 tensors, which fit 25 of 26 modules (1 without weights, such as"),
        (with_a_stranger, "79 tensors, which fit 26 of 26 modules (0 without weights; 1 unknown"),
        (with_the_final_layer, "such as lora_unet_final_layer_linear"),
    ],
)
def test_a_lora_that_fits_in_part_is_refused_with_the_counts(lora, tmp_path, damage, counts):
    held = {key: w.clone() for key, w in official_state_dict(lora).items()}
    damage(held)
    save_file(held, tmp_path / "part.safetensors")

    with pytest.raises(MegastyleError) as refused:
        read_lora(tmp_path / "part.safetensors", list(lora))

    assert counts in refused.value.message


def in_two_prefixes(lora):
    return {f"transformer.{key}": w * 2 for key, w in peft_state_dict(lora).items()}


@pytest.mark.parametrize("second", [diffusers_state_dict, diffsynth_state_dict, in_two_prefixes])
def test_a_module_under_two_names_is_refused_with_the_counts(lora, tmp_path, second):
    one = next(iter(lora))
    first = peft_state_dict if second is in_two_prefixes else official_state_dict
    held = {**first(lora), **second({one: lora[one]})}
    save_file({key: w.clone() for key, w in held.items()}, tmp_path / "two.safetensors")

    with pytest.raises(MegastyleError) as refused:
        read_lora(tmp_path / "two.safetensors", list(lora))

    assert f"{len(held)} tensors, which give 1 of 26 modules twice" in refused.value.message
    assert refused.value.message.endswith(f"such as {one.official}")


def test_a_lora_of_another_width_is_refused_before_anything_is_changed(transformer):
    before = {name: w.clone() for name, w in transformer.state_dict().items()}

    with pytest.raises(MegastyleError, match="384 x 64, the model has 192 x 32"):
        fuse_lora(made_lora(target_modules_of(transformer), 64), transformer)

    assert equal(before, transformer.state_dict())


def test_a_file_that_is_no_safetensors_is_one_sentence(tmp_path):
    (tmp_path / "lora.safetensors").write_bytes(b"\x80\x04 a pickle")

    with pytest.raises(MegastyleError, match="is no safetensors file, or is damaged"):
        read_lora(tmp_path / "lora.safetensors", target_modules(1, 1))


def test_in_bfloat16_fusing_is_the_official_arithmetic():
    transformer: FluxTransformer2DModel = tiny_transformer().bfloat16()
    lora = made_lora(target_modules_of(transformer), 32, dtype=torch.bfloat16)
    name = "transformer_blocks.0.norm1.linear"
    before = transformer.get_submodule(name).weight.clone()

    fuse_lora(lora, transformer)

    factors = lora[target_modules_of(transformer)[0]]
    assert torch.equal(transformer.get_submodule(name).weight, before + factors.up @ factors.down)


FORMS = ["official", "diffsynth", "diffusers", "peft"]


@pytest.mark.parametrize("between", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_any_form_to_any_other_and_back_is_the_same_to_the_bit(lora, tmp_path, first, between):
    names = [tmp_path / f"{name}.safetensors" for name in ("first", "between", "back")]
    with_last = {**lora, **last_layer()}
    save_lora(with_last, names[0], first)

    save_lora(read_lora(names[0], list(lora)), names[1], between)
    save_lora(read_lora(names[1], list(lora)), names[2], first)

    assert equal(load_file(names[0]), load_file(names[2]))
    assert same(read_lora(names[1], list(lora)), with_last)


def test_written_raw_diffsynth_keys_are_those_of_its_trainer(lora):
    assert equal(diffsynth_state_dict(lora), raw_diffsynth(lora))


def test_peft_keys_are_comfyuis_prefix_before_the_original_modules(lora):
    found = peft_state_dict(lora)

    assert len(found) == 2 * len(lora)
    assert "diffusion_model.double_blocks.1.img_attn.qkv.lora_A.weight" in found
    assert "diffusion_model.single_blocks.0.modulation.lin.lora_B.weight" in found


def last_layer(width=32, out=16):
    """Factors of the last layer in the official order of rows: shift, then scale."""
    rng = torch.Generator().manual_seed(2)
    sizes = (2 * width, out)
    return {
        target: LoraFactors(
            torch.randn(RANK, width, generator=rng), torch.randn(size, RANK, generator=rng), RANK
        )
        for target, size in zip(LAST_LAYER, sizes, strict=True)
    }


def test_the_last_modulation_changes_its_halves_for_diffusers_and_diffsynth(transformer, lora):
    last = last_layer()
    shift, scale = last[LAST_LAYER[0]].up.chunk(2)

    for found, key in (
        (diffusers_state_dict(last), "transformer.norm_out.linear.lora_B.weight"),
        (diffsynth_state_dict(last), "final_norm_out.linear.lora_B.default.weight"),
    ):
        assert torch.equal(found[key], torch.cat([scale, shift]))
    added = changes(transformer, {**lora, **last})
    product = torch.cat([scale, shift]) @ last[LAST_LAYER[0]].down
    assert torch.allclose(added["norm_out.linear.weight"], product, atol=1e-6)


def test_at_full_width_diffusers_changes_the_halves_of_the_last_layer_as_we_do(tmp_path):
    lora = {**made_lora(target_modules(1, 1), 3072), **last_layer(3072, 64)}
    save_lora(lora, tmp_path / "official.safetensors")

    theirs = FluxPipeline.lora_state_dict(load_file(tmp_path / "official.safetensors"))

    # without the prefix: an oversight of diffusers', whose transformer then never sees them
    prefixed = {f"transformer.{key.removeprefix('transformer.')}": w for key, w in theirs.items()}
    assert equal(prefixed, diffusers_state_dict(lora))


@pytest.mark.parametrize(
    ("facts", "num_remarks"),
    [
        (None, 0),
        ({"megastyle.model": "there/FLUX@main@01234567"}, 0),
        ({"megastyle.model": "here/FLUX@89abcdef"}, 1),
    ],
)
def test_a_lora_is_of_a_model_by_its_fingerprint(lora, tmp_path, caplog, facts, num_remarks):
    save_lora(lora, tmp_path / "lora.safetensors", metadata=facts)

    read_lora(tmp_path / "lora.safetensors", list(lora), "here/FLUX@01234567")

    assert len(caplog.records) == num_remarks


def test_converting_keeps_what_training_noted(lora, tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    source, made = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    facts = {"megastyle.model": "FLUX@01234567", "megastyle.step": "5"}
    save_lora(lora, source, metadata={**facts, "format": "pt"})

    convert_lora(source, made, "diffusers", model=str(folder), overwrite=False)

    with safe_open(made, framework="pt") as opened:
        assert opened.metadata() == facts


def test_converting_tells_the_counts_and_never_overwrites_unasked(lora, tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    source, made = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_lora(lora, source)

    told = convert_lora(source, made, "diffusers", model=str(folder), overwrite=False)

    assert told == (
        "in.safetensors: 78 tensors, 26 modules of rank 4 -> out.safetensors (diffusers):"
        " 80 tensors"
    )
    with pytest.raises(MegastyleError, match=r"out\.safetensors exists"):
        convert_lora(source, made, "peft", model=str(folder), overwrite=False)
    with pytest.raises(MegastyleError, match="fit 26 of 304 modules"):
        convert_lora(source, made, "peft", model=None, overwrite=True)
    assert len(load_file(made)) == 80


def test_ranks_that_do_not_fit_together_are_one_sentence(lora, tmp_path):
    held = {key: w.clone() for key, w in official_state_dict(lora).items()}
    key = "lora_unet_single_blocks_0_linear1.lora_down.weight"
    held[key] = torch.cat([held[key], held[key]])
    save_file(held, tmp_path / "ranks.safetensors")

    with pytest.raises(MegastyleError, match="linear1 has rank 8 down and 4 up"):
        read_lora(tmp_path / "ranks.safetensors", list(lora))


def test_a_file_of_another_kind_is_refused_as_output(lora, tmp_path):
    with pytest.raises(MegastyleError, match=r"a LoRA is a \.safetensors file"):
        convert_lora(tmp_path / "in", tmp_path / "out.pt", "peft", model=None, overwrite=False)
