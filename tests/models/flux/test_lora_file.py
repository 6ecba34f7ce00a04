"""LoRA files: four key formats read to the last tensor, written, converted without loss."""

import json

import pytest
import torch
from diffusers import FluxPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from megastyle_cli.cli.resolve_backend import lora_name
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.fingerprint import file_digest
from megastyle_cli.models.flux.lora import (
    LAST_LAYER,
    LoraFactors,
    fuse_lora,
    target_modules,
    target_modules_of,
)
from megastyle_cli.models.flux.lora_file import (
    convert_lora,
    lora_state_dict,
    read_lora,
    save_lora,
)
from tests.models.flux.test_lora import changes
from tests.tiny_flux import RANK, official_shapes, random_lora, save_tiny_flux, tiny_transformer


@pytest.fixture
def transformer():
    return tiny_transformer()


@pytest.fixture
def lora(transformer):
    return random_lora(target_modules_of(transformer))


def same_lora(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[t].down, other[t].down)
        and torch.equal(one[t].up, other[t].up)
        and one[t].alpha == other[t].alpha
        for t in one
    )


def same_tensors(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_rank_128_lora_has_the_tensors_and_parameters_of_the_official_files():
    shapes = official_shapes(3072)
    with torch.device("meta"):
        lora = {}
        for target in target_modules():
            kind = next(kind for kind in shapes if target.official.endswith(f"_{kind}"))
            width_in, width_out = shapes[kind]
            down, up = torch.empty(128, width_in), torch.empty(width_out, 128)
            lora[target] = LoraFactors(down, up, 128)

    assert len(lora_state_dict(lora, "official")) == 912
    assert len(lora_state_dict(lora, "diffusers")) == 988
    assert sum(f.down.numel() + f.up.numel() for f in lora.values()) == 612_630_528


def test_official_to_diffusers_and_back_is_exact(lora, tmp_path):
    first, between, back = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    save_lora(lora, first)

    save_lora(read_lora(first, list(lora)), between, "diffusers")
    save_lora(read_lora(between, list(lora)), back)

    assert same_tensors(load_file(first), load_file(back))
    assert load_file(first)[f"{next(iter(lora)).official}.alpha"].dtype == torch.int64
    assert same_lora(read_lora(back, list(lora)), lora)


def diffsynth_tensors(lora):
    """The tensors as DiffSynth's trainer names them."""
    found = {}
    for target, factors in lora.items():
        found[f"{target.diffsynth}.lora_A.default.weight"] = factors.down
        found[f"{target.diffsynth}.lora_B.default.weight"] = factors.up
    return found


@pytest.mark.parametrize("prefix", ["", "pipe.dit."])
def test_diffsynth_keys_are_read(lora, tmp_path, prefix):
    tensors = {prefix + key: w for key, w in diffsynth_tensors(lora).items()}
    save_file(tensors, tmp_path / "raw.safetensors")

    assert same_lora(read_lora(tmp_path / "raw.safetensors", list(lora)), lora)


@pytest.mark.parametrize("prefix", ["", "transformer.", "base_model.model.", "diffusion_model."])
def test_diffusers_keys_are_read_with_every_prefix(lora, tmp_path, prefix):
    tensors = {
        prefix + key.removeprefix("transformer."): w.clone()
        for key, w in lora_state_dict(lora, "diffusers").items()
    }
    save_file(tensors, tmp_path / "peft.safetensors")

    assert same_lora(read_lora(tmp_path / "peft.safetensors", list(lora)), lora)


def test_the_alpha_in_a_peft_header_is_used(lora, tmp_path):
    tensors = {key: w.clone() for key, w in lora_state_dict(lora, "diffusers").items()}
    header = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 2 * RANK})}
    save_file(tensors, tmp_path / "peft.safetensors", header)

    found = read_lora(tmp_path / "peft.safetensors", list(lora))

    assert all(factors.scale == 2 for factors in found.values())


def peft_tensors(lora):
    return {
        key.replace("transformer.", "base_model.model.", 1): w.clone()
        for key, w in lora_state_dict(lora, "diffusers").items()
    }


def test_a_folder_that_peft_saved_has_the_strength_of_its_config(lora, tmp_path):
    save_file(peft_tensors(lora), tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "rank_pattern": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        assert all(factors.scale == 2 for factors in read_lora(path, list(lora)).values())

    config |= {"alpha_pattern": {"transformer_blocks.0.attn.to_k": RANK}, "use_rslora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_lora(read_lora(tmp_path, list(lora)), tmp_path / "out.safetensors", "diffusers")
    found, before = load_file(tmp_path / "out.safetensors"), lora_state_dict(lora, "diffusers")

    for name, scale in (("to_k", 1), ("to_q", 2)):
        key = f"transformer.transformer_blocks.0.attn.{name}"
        product, unscaled = (
            w[f"{key}.lora_B.weight"] @ w[f"{key}.lora_A.weight"] for w in (found, before)
        )
        assert torch.allclose(product, scale * RANK**0.5 * unscaled, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_in_8_bits_are_read(lora, tmp_path, dtype):
    official = lora_state_dict(lora, "official")
    small = {key: w.clone() if w.ndim == 0 else w.to(dtype) for key, w in official.items()}
    save_file(small, tmp_path / "fp8.safetensors")

    found = read_lora(tmp_path / "fp8.safetensors", list(lora))

    assert all(torch.equal(found[t].down, lora[t].down.to(dtype).float()) for t in lora)


ONE = "lora_unet_double_blocks_0_img_attn_proj"


def changed(key, value):
    def change(tensors):
        tensors[key] = value(tensors[key]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            changed(f"{ONE}.lora_up.weight", lambda w: w * float("nan")),
            f"NaN or infinite values in {ONE}.lora_up.weight",
        ),
        (
            changed(f"{ONE}.lora_down.weight", lambda w: w / 0),
            f"NaN or infinite values in {ONE}.lora_down.weight",
        ),
        (
            changed(f"{ONE}.alpha", torch.tensor(float("inf"))),
            f"NaN or infinite values in {ONE}.alpha",
        ),
        (changed(f"{ONE}.alpha", torch.ones(2)), f"2 alphas for {ONE}"),
        (changed(f"{ONE}.alpha", torch.ones(0)), f"0 alphas for {ONE}"),
        (changed(f"{ONE}.lora_down.weight", lambda w: w[:0]), f"lacks factors of {ONE}"),
        (changed(f"{ONE}.lora_down.weight", lambda w: w.int()), f"lacks factors of {ONE}"),
        (changed(f"{ONE}.lora_down.weight", torch.tensor(1.0)), f"lacks factors of {ONE}"),
        (changed(f"{ONE}.lora_up.weight", lambda w: w[..., None]), f"lacks factors of {ONE}"),
    ],
)
def test_odd_tensors_are_refused_by_name(lora, tmp_path, damage, message):
    tensors = {key: w.clone() for key, w in lora_state_dict(lora, "official").items()}
    damage(tensors)
    save_file(tensors, tmp_path / "odd.safetensors")

    with pytest.raises(MegastyleError, match=message):
        read_lora(tmp_path / "odd.safetensors", list(lora))


def test_tensors_that_change_no_image_are_counted_and_not_used(lora, tmp_path, caplog):
    tensors = lora_state_dict(lora, "official") | {
        "step": torch.tensor(30_000),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "lora_unet_img_in.lora_down.weight": torch.ones(4, 8),
        "lora_unet_img_in.lora_up.weight": torch.zeros(8, 4),
        "lora_unet_txt_in.alpha": torch.tensor(4),
    }
    path = tmp_path / "more.safetensors"
    save_file({key: w.clone() for key, w in tensors.items()}, path)

    assert same_lora(read_lora(path, list(lora)), lora)
    (message,) = caplog.messages
    assert message.startswith(f"{path} has 4 entries without effect, which are not used, such as ")


@pytest.mark.parametrize("name", ["lora_unet_img_in", "lora_te1_text_model_encoder_layers_0"])
def test_a_module_more_that_would_change_images_is_refused(lora, tmp_path, name):
    tensors = lora_state_dict(lora, "official") | {
        f"{name}.lora_down.weight": torch.ones(4, 8),
        f"{name}.lora_up.weight": torch.ones(8, 4),
    }
    save_file({key: w.clone() for key, w in tensors.items()}, tmp_path / "more.safetensors")

    with pytest.raises(MegastyleError, match=f"0 without weights; 1 unknown, such as {name}"):
        read_lora(tmp_path / "more.safetensors", list(lora))


def test_a_folder_or_a_pointer_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")

    for path, message in (
        (tmp_path, "has no adapter_model.safetensors and no adapter_config.json"),
        (tmp_path / "lfs.safetensors", "is a Git LFS pointer"),
        (tmp_path / "none.safetensors", "there is no LoRA"),
    ):
        with pytest.raises(MegastyleError, match=message):
            read_lora(path, target_modules(1, 1))


def test_separate_down_matrices_of_q_k_and_v_are_kept_exactly(transformer, lora, tmp_path):
    tensors = {key: w.clone() for key, w in lora_state_dict(lora, "diffusers").items()}
    for key in tensors:
        if "lora_A" in key and ".to_k." in key:
            tensors[key] = tensors[key] + 1
    save_file(tensors, tmp_path / "untied.safetensors")

    found = read_lora(tmp_path / "untied.safetensors", list(lora))
    save_lora(found, tmp_path / "official.safetensors")
    added = changes(transformer, read_lora(tmp_path / "official.safetensors", list(lora)))

    for name in ("attn.to_q", "attn.to_k", "attn.to_v"):
        key = f"transformer.transformer_blocks.0.{name}"
        product = tensors[f"{key}.lora_B.weight"] @ tensors[f"{key}.lora_A.weight"]
        assert torch.allclose(added[f"transformer_blocks.0.{name}.weight"], product, atol=1e-5)


def test_diffusers_converts_the_official_format_to_the_keys_we_write(tmp_path):
    lora = random_lora(target_modules(1, 1), 3072)
    save_lora(lora, tmp_path / "official.safetensors")

    theirs = FluxPipeline.lora_state_dict(load_file(tmp_path / "official.safetensors"))

    assert same_tensors(theirs, lora_state_dict(lora, "diffusers"))


def test_a_lora_loaded_by_diffusers_computes_what_a_fused_one_does(lora, tmp_path):
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


def without_one(tensors):
    tensors.pop("lora_unet_single_blocks_0_linear1.lora_up.weight")


def with_an_unknown_key(tensors):
    tensors["text_encoder.layer.lora_down.weight"] = torch.zeros(RANK, 4)


def with_half_of_the_last_layer(tensors):
    tensors["lora_unet_final_layer_linear.lora_down.weight"] = torch.zeros(RANK, 4)


@pytest.mark.parametrize(
    ("damage", "counts"),
    [
        (without_one, "77 tensors, which fit 25 of 26 modules (1 without weights, such as"),
        (
            with_an_unknown_key,
            "79 tensors, which fit 26 of 26 modules (0 without weights; 1 unknown",
        ),
        (with_half_of_the_last_layer, "such as lora_unet_final_layer_linear"),
    ],
)
def test_a_lora_that_fits_only_in_part_raises_with_the_counts(lora, tmp_path, damage, counts):
    tensors = {key: w.clone() for key, w in lora_state_dict(lora, "official").items()}
    damage(tensors)
    save_file(tensors, tmp_path / "part.safetensors")

    with pytest.raises(MegastyleError) as error:
        read_lora(tmp_path / "part.safetensors", list(lora))

    assert counts in error.value.message


@pytest.mark.parametrize(
    ("first", "second", "prefix"),
    [
        ("official", "diffusers", ""),
        ("official", "diffsynth", ""),
        ("peft", "peft", "transformer."),
    ],
)
def test_a_module_under_two_names_raises_with_the_counts(lora, tmp_path, first, second, prefix):
    one = next(iter(lora))
    again = lora_state_dict({one: lora[one]}, second)
    tensors = {**lora_state_dict(lora, first), **{prefix + key: w for key, w in again.items()}}
    save_file({key: w.clone() for key, w in tensors.items()}, tmp_path / "two.safetensors")

    with pytest.raises(MegastyleError) as error:
        read_lora(tmp_path / "two.safetensors", list(lora))

    assert f"{len(tensors)} tensors, which give 1 of 26 modules twice" in error.value.message
    assert error.value.message.endswith(f"such as {one.official}")


def test_a_file_that_is_not_safetensors_raises(tmp_path):
    (tmp_path / "lora.safetensors").write_bytes(b"\x80\x04 a pickle")

    with pytest.raises(MegastyleError, match="is not a safetensors file, or is damaged"):
        read_lora(tmp_path / "lora.safetensors", target_modules(1, 1))


KEY_FORMATS = ["official", "diffsynth", "diffusers", "peft"]


@pytest.mark.parametrize("between", KEY_FORMATS)
@pytest.mark.parametrize("first", KEY_FORMATS)
def test_any_format_to_any_other_and_back_is_exact(lora, tmp_path, first, between):
    names = [tmp_path / f"{name}.safetensors" for name in ("first", "between", "back")]
    with_last = {**lora, **last_layer()}
    save_lora(with_last, names[0], first)

    save_lora(read_lora(names[0], list(lora)), names[1], between)
    save_lora(read_lora(names[1], list(lora)), names[2], first)

    assert same_tensors(load_file(names[0]), load_file(names[2]))
    assert same_lora(read_lora(names[1], list(lora)), with_last)


def test_diffsynth_keys_are_those_of_its_trainer(lora):
    assert same_tensors(lora_state_dict(lora, "diffsynth"), diffsynth_tensors(lora))


def test_peft_keys_are_comfyuis_prefix_and_the_original_module_names(lora):
    found = lora_state_dict(lora, "peft")

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


def test_the_last_modulation_swaps_its_halves_for_diffusers_and_diffsynth(transformer, lora):
    last = last_layer()
    shift, scale = last[LAST_LAYER[0]].up.chunk(2)

    for found, key in (
        (lora_state_dict(last, "diffusers"), "transformer.norm_out.linear.lora_B.weight"),
        (lora_state_dict(last, "diffsynth"), "final_norm_out.linear.lora_B.default.weight"),
    ):
        assert torch.equal(found[key], torch.cat([scale, shift]))
    added = changes(transformer, {**lora, **last})
    product = torch.cat([scale, shift]) @ last[LAST_LAYER[0]].down
    assert torch.allclose(added["norm_out.linear.weight"], product, atol=1e-6)


def test_diffusers_swaps_the_halves_of_the_last_layer_as_we_do(tmp_path):
    lora = {**random_lora(target_modules(1, 1), 3072), **last_layer(3072, 64)}
    save_lora(lora, tmp_path / "official.safetensors")

    theirs = FluxPipeline.lora_state_dict(load_file(tmp_path / "official.safetensors"))

    # diffusers leaves the prefix out here, so that its transformer never loads these
    prefixed = {f"transformer.{key.removeprefix('transformer.')}": w for key, w in theirs.items()}
    assert same_tensors(prefixed, lora_state_dict(lora, "diffusers"))


@pytest.mark.parametrize(
    ("metadata", "num_warnings"),
    [
        (None, 0),
        ({"megastyle.model": "there/FLUX@main@01234567"}, 0),
        ({"megastyle.model": "here/FLUX@89abcdef"}, 1),
    ],
)
def test_a_lora_of_another_model_is_warned_about_by_fingerprint(
    lora, tmp_path, caplog, metadata, num_warnings
):
    save_lora(lora, tmp_path / "lora.safetensors", metadata=metadata)

    read_lora(tmp_path / "lora.safetensors", list(lora), "here/FLUX@01234567")

    assert len(caplog.records) == num_warnings


def test_conversion_keeps_the_metadata_of_training(lora, tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    source, made = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    metadata = {"megastyle.model": "FLUX@01234567", "megastyle.step": "5"}
    save_lora(lora, source, metadata={**metadata, "format": "pt"})

    convert_lora(source, made, "diffusers", model=str(folder), overwrite=False)

    with safe_open(made, framework="pt") as opened:
        assert opened.metadata() == metadata


def test_conversion_reports_the_counts_and_does_not_overwrite(lora, tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    source, made = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_lora(lora, source)

    line = convert_lora(source, made, "diffusers", model=str(folder), overwrite=False)

    assert line == (
        "in.safetensors: 78 tensors, 26 modules of rank 4 -> out.safetensors (diffusers):"
        " 80 tensors"
    )
    with pytest.raises(MegastyleError, match=r"out\.safetensors exists"):
        convert_lora(source, made, "peft", model=str(folder), overwrite=False)
    with pytest.raises(MegastyleError, match="fit 26 of 304 modules"):
        convert_lora(source, made, "peft", model=None, overwrite=True)
    assert len(load_file(made)) == 80


def test_down_and_up_of_different_rank_raise(lora, tmp_path):
    tensors = {key: w.clone() for key, w in lora_state_dict(lora, "official").items()}
    key = "lora_unet_single_blocks_0_linear1.lora_down.weight"
    tensors[key] = torch.cat([tensors[key], tensors[key]])
    save_file(tensors, tmp_path / "ranks.safetensors")

    with pytest.raises(MegastyleError, match="has rank 8 down and 4 up for .*linear1"):
        read_lora(tmp_path / "ranks.safetensors", list(lora))


def test_the_output_of_a_conversion_must_be_safetensors(lora, tmp_path):
    with pytest.raises(MegastyleError, match=r"a LoRA is a \.safetensors file"):
        convert_lora(tmp_path / "in", tmp_path / "out.pt", "peft", model=None, overwrite=False)


def test_the_released_lora_is_one_file_of_its_repository_without_a_network(
    lora, tmp_path, monkeypatch
):
    repository = tmp_path / "hub" / "models--Gaojunyao--MegaStyle"
    snapshot = repository / "snapshots" / ("0" * 40)
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "megastyle_encoder.pth").write_text("the encoder, which is not read")
    save_lora(lora, tmp_path / "megastyle_flux.safetensors")
    blob = (tmp_path / "megastyle_flux.safetensors").rename(repository / "blobs" / "abc")
    (snapshot / "megastyle_flux.safetensors").symlink_to("../../blobs/abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    for name in ("Gaojunyao/MegaStyle", f"Gaojunyao/MegaStyle@{'0' * 40}"):
        assert same_lora(read_lora(name, list(lora)), lora)
        assert lora_name(name) == f"megastyle_flux@{file_digest(blob)}"
