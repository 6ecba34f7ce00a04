"""The FLUX stylist: what it paints depends on words, reference, strength, size and seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.schedule import SIGMA_MIN, sampling_sigmas
from megastyle_cli.models.flux.vae import (
    encode_pixels,
    finite_images,
    images_to_pixels,
    pixels_to_images,
    resize_image,
)
from megastyle_cli.models.image_size import round_up
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.tiny_flux import random_lora, save_tiny_flux, tiny_transformer

ASKED = PictureRequest(
    content="a fox on a hill",
    references=(draw(1),),
    reference_keys=("one",),
    weights=(1.0,),
    long_side=48,
    seed=7,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_flux(tmp_path_factory.mktemp("flux") / "tiny")


@pytest.fixture(scope="module")
def stylist(folder):
    return load("stylist", "flux", model=str(folder), steps=3, device="cpu")


def array(picture):
    return np.asarray(picture).astype(int)


def painted(stylist, *requests):
    return [array(picture) for picture in stylist.restyle(requests)]


def latents(stylist, asked):
    """The latents that are decoded to the picture: what is painted, before 8 bits round it."""
    seen = []
    decoder = stylist.pipeline.vae.decoder
    hook = decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stylist.restyle([asked])
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    "other",
    [
        {"content": "a cat"},
        {"references": (draw(2),), "reference_keys": ("two",)},
        {"seed": 8},
        {"strength": 0.5},
        {"strength": 0.0},
    ],
)
def test_words_reference_strength_and_seed_change_the_picture(stylist, other):
    assert not torch.equal(latents(stylist, ASKED), latents(stylist, replace(ASKED, **other)))


def test_the_same_request_gives_the_same_picture_in_any_company(stylist):
    others = [replace(ASKED, seed=8), replace(ASKED, content="a cat"), replace(ASKED, long_side=64)]

    alone = painted(stylist, ASKED)
    together = painted(stylist, *others, ASKED)

    assert np.array_equal(alone[0], together[-1])


def test_without_strength_the_picture_is_that_without_references(stylist):
    bare = replace(ASKED, references=(), reference_keys=(), weights=())

    assert torch.equal(latents(stylist, replace(ASKED, strength=0.0)), latents(stylist, bare))


def test_full_strength_is_nearer_to_high_than_to_none(stylist):
    full, high, none = (latents(stylist, replace(ASKED, strength=s)) for s in (1.0, 0.99, 0.0))

    assert (full - high).norm() < 0.1 * (full - none).norm()


def test_of_two_references_one_without_weight_is_as_if_absent(stylist):
    two = replace(
        ASKED, references=(draw(1), draw(2)), reference_keys=("one", "two"), weights=(1.0, 0.0)
    )

    assert torch.equal(latents(stylist, two), latents(stylist, ASKED))


def test_two_references_are_not_either_of_them(stylist):
    both = {"references": (draw(1), draw(2)), "reference_keys": ("one", "two")}
    mixed = latents(stylist, replace(ASKED, **both, weights=(0.5, 0.5)))

    for weights in ((1.0, 0.0), (0.0, 1.0)):
        assert not torch.equal(mixed, latents(stylist, replace(ASKED, **both, weights=weights)))


@pytest.mark.parametrize(
    ("size", "made"), [((48, 32), (48, 32)), ((40, 33), (48, 48)), ((64, 48), (64, 48))]
)
def test_sizes_are_rounded_up_to_multiples_of_16(stylist, size, made):
    (picture,) = stylist.restyle([replace(ASKED, size_px=size)])

    assert picture.size == made


def test_a_model_paints_the_size_it_was_trained_on(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    (file,) = (folder / "transformer").glob("*.safetensors")
    save_file(load_file(file), file, metadata={"megastyle.size": "32"})

    stylist = load("stylist", "flux", model=str(folder), steps=1, device="cpu")

    assert stylist.restyle([replace(ASKED, long_side=None)])[0].size == (32, 32)


def test_the_noise_is_drawn_unpacked_from_the_seed(stylist):
    noise = stylist._noise(7, (48, 32))

    drawn = torch.randn((1, 4, 4, 6), generator=torch.Generator().manual_seed(7))
    assert torch.equal(noise, drawn)


def test_bfloat16_noise_is_the_float32_noise_rounded(folder):
    stylist = load("stylist", "flux", model=str(folder), dtype="bfloat16", device="cpu")

    drawn = torch.randn((1, 4, 4, 6), generator=torch.Generator().manual_seed(7))
    assert torch.equal(stylist._noise(7, (48, 32)), drawn.bfloat16())
    assert stylist.name == load("stylist", "flux", model=str(folder), device="cpu").name


def test_latents_are_the_mean_shifted_and_scaled(stylist):
    vae = stylist.pipeline.vae
    pixels = images_to_pixels([draw(3, 32, 48)])

    with torch.inference_mode():
        moments = vae.encoder(pixels)
        found = encode_pixels(vae, pixels)

    assert torch.allclose(found, (moments[:, :4] - 0.1159) * 0.3611)


def test_pictures_go_to_pixels_and_back():
    picture = draw(3, 32, 48)

    (back,) = pixels_to_images(images_to_pixels([picture]))

    assert np.array_equal(array(back), array(picture))


def test_pixels_that_are_no_numbers_make_no_picture_and_spare_the_others():
    pixels = images_to_pixels([draw(3, 32, 48), draw(4, 32, 48)])
    pixels[0, 0, :24] = torch.nan

    lost, sound = finite_images(pixels)

    assert isinstance(lost, BadRecord) and lost.kind == "model_error"
    assert "17% of the pixels are no numbers" in lost.message
    assert np.array_equal(array(sound), array(draw(4, 32, 48)))


def test_references_are_squashed_or_cut_to_shape():
    wide = draw(4, 96, 48)

    squashed = resize_image(wide, (48, 48), keep_aspect=False)
    cut = resize_image(wide, (48, 48), keep_aspect=True)

    assert np.array_equal(array(squashed), array(wide.resize((48, 48), 3)))
    assert np.array_equal(array(cut), array(wide.crop((24, 0, 72, 48))))
    assert round_up((1, 17), 16) == (16, 32)


def test_content_strength_leads_from_noise_to_the_content_picture(folder):
    content = draw(5, 48, 48)
    asked = replace(ASKED, content_picture=content)

    def at(strength):
        stylist = load(
            *("stylist", "flux"),
            **{"model": str(folder), "steps": 4, "device": "cpu", "content_strength": strength},
        )
        with torch.inference_mode():
            raw = encode_pixels(stylist.pipeline.vae, images_to_pixels([content])) / 0.3611 + 0.1159
        return (latents(stylist, asked) - raw).norm().item()

    away = [at(strength) for strength in (0.25, 0.5, 0.75, 1.0)]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-4


def test_the_way_from_content_to_noise_is_straight(folder):
    content = draw(5, 48, 48)
    stylist = load("stylist", "flux", model=str(folder), steps=4, content_strength=0.5)
    begun = []
    transformer = stylist.pipeline.transformer
    transformer.register_forward_pre_hook(
        lambda _, inputs, named: begun.append(named["hidden_states"]), with_kwargs=True
    )

    stylist.restyle([replace(ASKED, content_picture=content, strength=0.0)])

    level = float(sampling_sigmas(4)[2])
    with torch.inference_mode():
        picture = encode_pixels(stylist.pipeline.vae, images_to_pixels([content]))
    noise = torch.randn((1, 4, 6, 6), generator=torch.Generator().manual_seed(ASKED.seed))
    assert torch.allclose(begun[0], pack_latents(picture + level * (noise - picture)), atol=1e-5)


def test_a_content_picture_gives_its_proportions(folder):
    stylist = load("stylist", "flux", model=str(folder), steps=2, content_strength=0.5)

    (picture,) = stylist.restyle([replace(ASKED, content_picture=draw(5, 64, 32), long_side=64)])

    assert picture.size == (64, 32)


def test_a_request_without_words_is_refused(stylist):
    with pytest.raises(BadRecord, match="paints from words"):
        stylist.restyle([replace(ASKED, content=None)])


def test_a_lora_changes_the_picture_by_its_strength(folder, stylist, tmp_path):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    options = {"model": str(folder), "lora": str(tmp_path / "lora.safetensors"), "steps": 3}

    with_it = load("stylist", "flux", **options)
    without = load("stylist", "flux", **options, lora_strength=0.0)

    assert not torch.equal(latents(with_it, ASKED), latents(stylist, ASKED))
    assert torch.equal(latents(without, ASKED), latents(stylist, ASKED))


def test_a_model_that_was_never_taught_a_reference_is_remarked_on_once(folder, caplog):
    stock = load("stylist", "flux", model=str(folder), steps=1, device="cpu")

    stock.restyle([replace(ASKED, strength=0.0)])
    unasked = list(caplog.records)
    for seed in (1, 2):
        stock.restyle([replace(ASKED, seed=seed)])

    assert unasked == []
    assert [r.getMessage().partition(" so ")[0] for r in caplog.records] == [
        f"{folder} was never taught to look at a reference picture,"
    ]


def test_with_a_lora_or_trained_by_us_there_is_no_remark(folder, tmp_path, caplog):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    taught = save_tiny_flux(tmp_path / "taught")
    (file,) = (taught / "transformer").glob("*.safetensors")
    save_file(load_file(file), file, metadata={"megastyle.size": "48"})

    for how in ({"model": folder, "lora": tmp_path / "lora.safetensors"}, {"model": taught}):
        options = {key: str(path) for key, path in how.items()}
        load("stylist", "flux", **options, steps=1, device="cpu").restyle([ASKED])

    assert caplog.records == []


def test_a_lora_that_was_trained_on_another_model_of_the_same_shapes_is_remarked_on(
    folder, tmp_path, caplog
):
    facts = {"megastyle.model": "FLUX.1-other@01234567"}
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors", metadata=facts)

    stylist = load("stylist", "flux", model=str(folder), lora=str(tmp_path / "lora.safetensors"))

    (remark,) = caplog.records
    assert f"trained on FLUX.1-other@01234567, not on {stylist.name}:" in remark.getMessage()


def test_a_lora_of_another_model_is_refused_with_the_counts(folder, tmp_path):
    save_lora(random_lora(target_modules(1, 2)), tmp_path / "other.safetensors")

    with pytest.raises(MegastyleError, match="which fit 16 of 26 modules .10 without weights"):
        load("stylist", "flux", model=str(folder), lora=str(tmp_path / "other.safetensors"))


def test_without_reference_the_picture_is_that_of_the_stock_pipeline(folder, stylist):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    pipeline = FluxPipeline.from_pretrained(folder, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)

    theirs = pipeline(
        prompt=ASKED.content,
        width=48,
        height=48,
        sigmas=np.linspace(1, SIGMA_MIN, 3).tolist(),  # before the shift
        latents=FluxPipeline._pack_latents(stylist._noise(7, (48, 48)), 1, 4, 6, 6),
        guidance_scale=3.5,
    ).images

    (ours,) = painted(stylist, replace(ASKED, strength=0.0))
    assert abs(ours - array(theirs[0])).max() <= 1


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "no whole FLUX model"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "cannot be read"),
        (
            lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
            "cannot be read",
        ),
    ],
)
def test_a_model_folder_that_is_not_whole_is_one_sentence(tmp_path, damage, sentence):
    folder = save_tiny_flux(tmp_path / "tiny")
    damage(folder)

    with pytest.raises(MegastyleError, match=sentence):
        load("stylist", "flux", model=str(folder))


def test_a_missing_weight_is_refused_and_named(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("proj_out.bias")
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"such as proj_out\.bias"):
        load("stylist", "flux", model=str(folder))


@pytest.mark.parametrize("device", ["cpu:zero", "abacus"])
def test_an_unknown_device_is_one_sentence(folder, device):
    with pytest.raises(MegastyleError, match="cannot be used"):
        load("stylist", "flux", model=str(folder), device=device)


def test_offload_on_a_cpu_is_refused(folder):
    with pytest.raises(MegastyleError, match="needs a GPU"):
        load("stylist", "flux", model=str(folder), device="cpu", offload="model")


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_guidance_changes_the_picture_with_and_without_modulation_computed_before(folder, stylist):
    options = {"model": str(folder), "steps": 3, "device": "cpu", "guidance": 9.0}

    guided, saving = (
        latents(load("stylist", "flux", **options, offload=offload), ASKED)
        for offload in (None, "modulation")
    )

    assert distance(guided, latents(stylist, ASKED)) > 1e-3
    assert distance(saving, guided) < 1e-4


def test_a_reference_that_keeps_its_aspect_is_its_middle(folder, stylist):
    whole = draw(1, 96, 48)
    wide, middle = (
        replace(ASKED, references=(shown,), reference_keys=(name,))
        for name, shown in (("wide", whole), ("cut", whole.crop((24, 0, 72, 48))))
    )
    cutting = load("stylist", "flux", model=str(folder), steps=3, device="cpu", keep_aspect=True)

    cut = latents(cutting, wide)

    assert torch.equal(cut, latents(stylist, middle))
    assert not torch.equal(cut, latents(stylist, wide))


def test_a_model_without_guidance_refuses_a_number_for_it(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    tiny_transformer(guidance_embeds=False).save_pretrained(folder / "transformer")

    with pytest.raises(MegastyleError, match="reads no guidance, and --guidance 3.5 is given"):
        load("stylist", "flux", model=str(folder), guidance=3.5, device="cpu")

    assert load("stylist", "flux", model=str(folder), device="cpu").guidance == 3.5


def test_the_blocks_are_compiled_where_that_is_asked_for(folder, monkeypatch):
    compiled = []
    monkeypatch.setattr("megastyle_cli.models.flux.setup.require_compiler", lambda _: None)
    monkeypatch.setattr(
        FluxTransformer2DModel, "compile_repeated_blocks", lambda *_, **how: compiled.append(how)
    )

    for asked in (False, True):
        load("stylist", "flux", model=str(folder), device="cpu", compiled=asked)

    assert compiled == [{"fullgraph": True}]


def test_modulation_computed_before_gives_the_same_picture(folder, stylist):
    saving = load("stylist", "flux", model=str(folder), steps=3, offload="modulation", device="cpu")
    content = replace(ASKED, content_picture=draw(5, 48, 48))

    assert distance(latents(saving, ASKED), latents(stylist, ASKED)) < 1e-4
    saving.content_strength = stylist.content_strength = 0.4  # the first of three steps left out
    later = distance(latents(saving, content), latents(stylist, content))
    stylist.content_strength = 0.0
    assert later < 1e-4


def test_a_lora_is_fused_before_the_modulation_is_taken_out(folder, tmp_path):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    options = {"model": str(folder), "lora": str(tmp_path / "lora.safetensors"), "steps": 3}

    whole = load("stylist", "flux", **options)
    saving = load("stylist", "flux", **options, offload="modulation")

    assert distance(latents(saving, ASKED), latents(whole, ASKED)) < 1e-4


@pytest.mark.parametrize(("how", "package"), [("int8", "torchao"), ("nf4", "bitsandbytes")])
def test_a_quantised_base_paints_nearly_the_same_picture(folder, stylist, how, package):
    pytest.importorskip(package)
    fewer = load("stylist", "flux", model=str(folder), steps=3, quantize=how, offload="modulation")

    assert 0 < distance(latents(fewer, ASKED), latents(stylist, ASKED)) < 0.2


def steady(folder, preset):
    """A stylist whose model hardly heeds the noise level: a drawn one starts at every step anew."""
    stylist = load("stylist", "flux", model=str(folder), steps=30, preset=preset)
    with torch.no_grad():
        stylist.pipeline.transformer.time_text_embed.timestep_embedder.linear_2.weight *= 0.02
    return stylist


@pytest.fixture(scope="module")
def cached(folder):
    return steady(folder, "fast-cache")


def calls(stylist, asked):
    """How often the last block ran while a request was painted."""
    counted = []
    block = stylist.pipeline.transformer.single_transformer_blocks[-1]
    hook = block.proj_out.register_forward_hook(lambda *_: counted.append(1))
    stylist.restyle([asked])
    hook.remove()
    return len(counted)


def test_the_cache_leaves_steps_out_and_changes_little(folder, cached):
    exact = steady(folder, None)

    assert calls(exact, ASKED) == 30
    assert 0 < calls(cached, ASKED) < 30
    assert 0 < distance(latents(cached, ASKED), latents(exact, ASKED)) < 0.1


def test_the_cache_forgets_between_pictures_and_after_a_fault(folder, cached):
    alone = latents(steady(folder, "fast-cache"), ASKED)

    latents(cached, replace(ASKED, seed=9, content="a cat", size_px=(64, 48)))
    hook = cached.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cached.restyle([replace(ASKED, seed=10)])
    hook.remove()

    assert torch.equal(latents(cached, ASKED), alone)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"offload": "layers"}, "--offload layers needs a GPU"),
        ({"preset": "fast-cache", "compiled": True}, "decides from step to step"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(folder, options, sentence):
    with pytest.raises(MegastyleError, match=sentence):
        load("stylist", "flux", model=str(folder), device="cpu", **options)


def test_a_full_memory_is_a_record_that_failed_and_says_what_to_try(stylist):
    decoder = stylist.pipeline.vae.decoder
    hook = decoder.register_forward_pre_hook(lambda *_: torch.empty(1 << 60, dtype=torch.uint8))

    with pytest.raises(BadRecord, match="48 x 48 do not fit on cpu: give a smaller --size") as full:
        stylist.restyle([ASKED])

    hook.remove()
    assert full.value.kind == "out_of_memory"
