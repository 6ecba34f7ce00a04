"""The FLUX stylist: an image depends on prompt, references, strength, size and seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from megastyle_cli.models.flux.model import pack_latents
from megastyle_cli.models.flux.schedule import SIGMA_MIN, sampling_sigmas
from megastyle_cli.models.flux.vae import encode_pixels, images_to_pixels
from megastyle_cli.models.offload import on_device
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.tiny_flux import random_lora, save_tiny_flux, tiny_transformer

REQUEST = PictureRequest(
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


def pixels(image):
    return np.asarray(image).astype(int)


def generate(stylist, *requests):
    return [pixels(picture) for picture in stylist.restyle(requests)]


def latents(stylist, request):
    """The latents that are decoded to the image, before it is rounded to 8 bits."""
    seen = []
    decoder = stylist.pipeline.vae.decoder
    hook = decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stylist.restyle([request])
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
def test_prompt_reference_strength_and_seed_change_the_image(stylist, other):
    assert not torch.equal(latents(stylist, REQUEST), latents(stylist, replace(REQUEST, **other)))


def test_an_image_does_not_depend_on_the_other_requests(stylist):
    others = [
        replace(REQUEST, seed=8),
        replace(REQUEST, content="a cat"),
        replace(REQUEST, long_side=64),
    ]

    alone = generate(stylist, REQUEST)
    together = generate(stylist, *others, REQUEST)

    assert np.array_equal(alone[0], together[-1])


def test_strength_0_is_without_references(stylist):
    bare = replace(REQUEST, references=(), reference_keys=(), weights=())

    assert torch.equal(latents(stylist, replace(REQUEST, strength=0.0)), latents(stylist, bare))


def test_strength_is_continuous_at_1(stylist):
    full, high, none = (latents(stylist, replace(REQUEST, strength=s)) for s in (1.0, 0.99, 0.0))

    assert (full - high).norm() < 0.1 * (full - none).norm()


def test_a_reference_of_weight_0_has_no_effect(stylist):
    two = replace(
        REQUEST, references=(draw(1), draw(2)), reference_keys=("one", "two"), weights=(1.0, 0.0)
    )

    assert torch.equal(latents(stylist, two), latents(stylist, REQUEST))


def test_two_references_differ_from_each_alone(stylist):
    both = {"references": (draw(1), draw(2)), "reference_keys": ("one", "two")}
    combined = latents(stylist, replace(REQUEST, **both, weights=(0.5, 0.5)))

    for weights in ((1.0, 0.0), (0.0, 1.0)):
        assert not torch.equal(
            combined, latents(stylist, replace(REQUEST, **both, weights=weights))
        )


@pytest.mark.parametrize(
    ("size", "expected"), [((48, 32), (48, 32)), ((40, 33), (48, 48)), ((64, 48), (64, 48))]
)
def test_sizes_are_rounded_up_to_multiples_of_16(stylist, size, expected):
    (picture,) = stylist.restyle([replace(REQUEST, size_px=size)])

    assert picture.size == expected


def test_the_default_size_is_the_one_in_the_models_metadata(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    (file,) = (folder / "transformer").glob("*.safetensors")
    save_file(load_file(file), file, metadata={"megastyle.size": "32"})

    stylist = load("stylist", "flux", model=str(folder), steps=1, device="cpu")

    assert stylist.restyle([replace(REQUEST, long_side=None)])[0].size == (32, 32)


def test_noise_is_drawn_as_latents_from_the_seed(stylist):
    noise = stylist._noise(7, (48, 32))

    drawn = torch.randn((1, 4, 4, 6), generator=torch.Generator().manual_seed(7))
    assert torch.equal(noise, drawn)


def test_bfloat16_noise_is_the_float32_noise_rounded(folder):
    stylist = load("stylist", "flux", model=str(folder), dtype="bfloat16", device="cpu")

    drawn = torch.randn((1, 4, 4, 6), generator=torch.Generator().manual_seed(7))
    assert torch.equal(stylist._noise(7, (48, 32)), drawn.bfloat16())
    assert stylist.name == load("stylist", "flux", model=str(folder), device="cpu").name


def test_content_strength_leads_from_noise_to_the_content_image(folder):
    content = draw(5, 48, 48)
    request = replace(REQUEST, content_picture=content)

    def at(strength):
        stylist = load(
            *("stylist", "flux"),
            **{"model": str(folder), "steps": 4, "device": "cpu", "content_strength": strength},
        )
        with torch.inference_mode():
            raw = encode_pixels(stylist.pipeline.vae, images_to_pixels([content])) / 0.3611 + 0.1159
        return (latents(stylist, request) - raw).norm().item()

    distances = [at(strength) for strength in (0.25, 0.5, 0.75, 1.0)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-4


def test_denoising_starts_on_the_line_from_content_to_noise(folder):
    content = draw(5, 48, 48)
    stylist = load("stylist", "flux", model=str(folder), steps=4, content_strength=0.5)
    starts = []
    transformer = stylist.pipeline.transformer
    transformer.register_forward_pre_hook(
        lambda _, inputs, named: starts.append(named["hidden_states"]), with_kwargs=True
    )

    stylist.restyle([replace(REQUEST, content_picture=content, strength=0.0)])

    sigma = float(sampling_sigmas(4)[2])
    with torch.inference_mode():
        picture = encode_pixels(stylist.pipeline.vae, images_to_pixels([content]))
    noise = torch.randn((1, 4, 6, 6), generator=torch.Generator().manual_seed(REQUEST.seed))
    assert torch.allclose(starts[0], pack_latents(picture + sigma * (noise - picture)), atol=1e-5)


def test_the_image_has_the_proportions_of_the_content_image(folder):
    stylist = load("stylist", "flux", model=str(folder), steps=2, content_strength=0.5)

    (picture,) = stylist.restyle([replace(REQUEST, content_picture=draw(5, 64, 32), long_side=64)])

    assert picture.size == (64, 32)


def test_a_request_without_a_prompt_raises(stylist):
    with pytest.raises(BadRecord, match="needs a prompt"):
        stylist.restyle([replace(REQUEST, content=None)])


def test_a_lora_changes_the_image_unless_its_strength_is_0(folder, stylist, tmp_path):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    options = {"model": str(folder), "lora": str(tmp_path / "lora.safetensors"), "steps": 3}

    with_it = load("stylist", "flux", **options)
    without = load("stylist", "flux", **options, lora_strength=0.0)

    assert not torch.equal(latents(with_it, REQUEST), latents(stylist, REQUEST))
    assert torch.equal(latents(without, REQUEST), latents(stylist, REQUEST))


def test_a_model_not_trained_on_references_is_warned_about_once(folder, caplog):
    stock = load("stylist", "flux", model=str(folder), steps=1, device="cpu")

    stock.restyle([replace(REQUEST, strength=0.0)])
    without_reference = list(caplog.records)
    for seed in (1, 2):
        stock.restyle([replace(REQUEST, seed=seed)])

    assert without_reference == []
    assert [r.getMessage().partition(" so ")[0] for r in caplog.records] == [
        f"{folder} was not trained to use a reference image,"
    ]


def test_no_warning_with_a_lora_or_for_a_model_of_train_flux(folder, tmp_path, caplog):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    trained = save_tiny_flux(tmp_path / "trained")
    (file,) = (trained / "transformer").glob("*.safetensors")
    save_file(load_file(file), file, metadata={"megastyle.size": "48"})

    for files in ({"model": folder, "lora": tmp_path / "lora.safetensors"}, {"model": trained}):
        options = {key: str(path) for key, path in files.items()}
        load("stylist", "flux", **options, steps=1, device="cpu").restyle([REQUEST])

    assert caplog.records == []


def test_without_reference_the_image_is_that_of_the_stock_pipeline(folder, stylist):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    pipeline = FluxPipeline.from_pretrained(folder, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)

    theirs = pipeline(
        prompt=REQUEST.content,
        width=48,
        height=48,
        sigmas=np.linspace(1, SIGMA_MIN, 3).tolist(),  # before the shift
        latents=FluxPipeline._pack_latents(stylist._noise(7, (48, 48)), 1, 4, 6, 6),
        guidance_scale=3.5,
    ).images

    (ours,) = generate(stylist, replace(REQUEST, strength=0.0))
    assert abs(ours - pixels(theirs[0])).max() <= 1


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_guidance_changes_the_image_with_and_without_offloaded_modulation(folder, stylist):
    options = {"model": str(folder), "steps": 3, "device": "cpu", "guidance": 9.0}

    guided, offloaded = (
        latents(load("stylist", "flux", **options, offload=offload), REQUEST)
        for offload in (None, "modulation")
    )

    assert distance(guided, latents(stylist, REQUEST)) > 1e-3
    assert distance(offloaded, guided) < 1e-4


def test_a_reference_that_keeps_its_aspect_is_cropped_to_its_middle(folder, stylist):
    whole = draw(1, 96, 48)
    wide, middle = (
        replace(REQUEST, references=(shown,), reference_keys=(name,))
        for name, shown in (("wide", whole), ("cut", whole.crop((24, 0, 72, 48))))
    )
    cutting = load("stylist", "flux", model=str(folder), steps=3, device="cpu", keep_aspect=True)

    cut = latents(cutting, wide)

    assert torch.equal(cut, latents(stylist, middle))
    assert not torch.equal(cut, latents(stylist, wide))


def test_guidance_for_a_model_without_it_raises(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    tiny_transformer(guidance_embeds=False).save_pretrained(folder / "transformer")

    with pytest.raises(MegastyleError, match="has no guidance input, but --guidance 3.5 is given"):
        load("stylist", "flux", model=str(folder), guidance=3.5, device="cpu")

    assert load("stylist", "flux", model=str(folder), device="cpu").guidance == 3.5


def test_offloaded_modulation_gives_the_same_image(folder, stylist):
    offloaded = load(
        "stylist", "flux", model=str(folder), steps=3, offload="modulation", device="cpu"
    )
    content = replace(REQUEST, content_picture=draw(5, 48, 48))

    assert distance(latents(offloaded, REQUEST), latents(stylist, REQUEST)) < 1e-4
    offloaded.content_strength = stylist.content_strength = 0.4  # the first of three steps left out
    later = distance(latents(offloaded, content), latents(stylist, content))
    stylist.content_strength = 0.0
    assert later < 1e-4


def test_offloaded_models_are_moved_once_for_all_batches(folder, stylist, monkeypatch):
    offloaded = load("stylist", "flux", model=str(folder), steps=3, device="cpu")
    # here both devices are the CPU
    offloaded.flux.config = replace(offloaded.flux.config, offload="model")
    moves = []

    def record_and_move(modules, device):
        moves.append([type(module).__name__ for module in modules])
        return on_device(modules, device)

    monkeypatch.setattr("megastyle_cli.models.flux.setup.on_device", record_and_move)
    requests = [replace(REQUEST, seed=seed) for seed in range(3)]

    images = offloaded.restyle(requests)

    assert images == stylist.restyle(requests)
    assert [len(models) for models in moves] == [2, 2]
    assert [models[0] for models in moves] == ["CLIPTextModel", "FluxTransformer2DModel"]


def test_a_lora_is_fused_before_the_modulation_is_offloaded(folder, tmp_path):
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors")
    options = {"model": str(folder), "lora": str(tmp_path / "lora.safetensors"), "steps": 3}

    whole = load("stylist", "flux", **options)
    offloaded = load("stylist", "flux", **options, offload="modulation")

    assert distance(latents(offloaded, REQUEST), latents(whole, REQUEST)) < 1e-4


@pytest.mark.parametrize(("kind", "package"), [("int8", "torchao"), ("nf4", "bitsandbytes")])
def test_a_quantized_model_gives_nearly_the_same_image(folder, stylist, kind, package):
    pytest.importorskip(package)
    quantized = load(
        "stylist", "flux", model=str(folder), steps=3, quantize=kind, offload="modulation"
    )

    assert 0 < distance(latents(quantized, REQUEST), latents(stylist, REQUEST)) < 0.2


def steady_stylist(folder, preset):
    """A stylist whose random model depends little on the noise level, so that steps resemble."""
    stylist = load("stylist", "flux", model=str(folder), steps=30, preset=preset)
    with torch.no_grad():
        stylist.pipeline.transformer.time_text_embed.timestep_embedder.linear_2.weight *= 0.02
    return stylist


@pytest.fixture(scope="module")
def cached(folder):
    return steady_stylist(folder, "fast-cache")


def block_calls(stylist, request):
    """How often the last block runs for a request."""
    counted = []
    block = stylist.pipeline.transformer.single_transformer_blocks[-1]
    hook = block.proj_out.register_forward_hook(lambda *_: counted.append(1))
    stylist.restyle([request])
    hook.remove()
    return len(counted)


def test_the_step_cache_skips_blocks_and_changes_little(folder, cached):
    exact = steady_stylist(folder, None)

    assert block_calls(exact, REQUEST) == 30
    assert 0 < block_calls(cached, REQUEST) < 30
    assert 0 < distance(latents(cached, REQUEST), latents(exact, REQUEST)) < 0.1


def test_the_step_cache_is_cleared_between_images_and_after_an_error(folder, cached):
    alone = latents(steady_stylist(folder, "fast-cache"), REQUEST)

    latents(cached, replace(REQUEST, seed=9, content="a cat", size_px=(64, 48)))
    hook = cached.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cached.restyle([replace(REQUEST, seed=10)])
    hook.remove()

    assert torch.equal(latents(cached, REQUEST), alone)


def test_a_full_memory_is_a_failed_record_with_a_hint(stylist):
    decoder = stylist.pipeline.vae.decoder
    hook = decoder.register_forward_pre_hook(lambda *_: torch.empty(1 << 60, dtype=torch.uint8))

    with pytest.raises(
        BadRecord, match="48 x 48 do not fit on cpu: give a smaller --size"
    ) as error:
        stylist.restyle([REQUEST])

    hook.remove()
    assert error.value.kind == "out_of_memory"
