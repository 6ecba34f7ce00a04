"""Text-to-image pipelines as painters: real classes at tiny size, through the code for big ones."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, QwenImagePipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.registry import load
from megastyle_cli.models.text_to_image.diffusion_painter import build_prompt
from megastyle_cli.models.text_to_image.pipeline_loader import denoiser_of
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipelines import (
    save_tiny_flux2,
    save_tiny_klein,
    save_tiny_qwen,
    save_tiny_sd3,
    save_tiny_sdxl,
)

# SDXL's scheduler meets a deprecation of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MAKERS = {
    "qwen": save_tiny_qwen,
    "flux": save_tiny_flux,
    "flux2": save_tiny_flux2,
    "klein": save_tiny_klein,
    "sd3": save_tiny_sd3,
    "sdxl": save_tiny_sdxl,
}
CONTRASTED = ("qwen", "klein", "sd3", "sdxl")
ASKED = PictureRequest(content="a fox.", style="In the style of woodcut.", long_side=48, seed=7)
COMPANY = [
    replace(ASKED, content="a very big cat on a chair", seed=8),
    ASKED,
    replace(ASKED, content="a cat", seed=9),
    replace(ASKED, content="a dog", seed=10, long_side=64),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("pipelines")
    return {name: make(base / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def painters(folders):
    return {name: painter_of(folder) for name, folder in folders.items()}


def painter_of(folder, **how):
    return load("painter", "diffusers", model=str(folder), **{"steps": 3, "device": "cpu", **how})


def array(picture):
    assert not isinstance(picture, BadRecord), picture
    return np.asarray(picture).astype(int)


def pictures(painter, *requests):
    return [array(picture) for picture in painter.paint(requests)]


def calls_of(part):
    """How often a part of a pipeline is called, as a list that grows."""
    seen = []
    part.register_forward_pre_hook(lambda *_: seen.append(1))
    return seen


@pytest.mark.parametrize("name", MAKERS)
def test_a_picture_depends_on_its_request_alone_bit_for_bit(painters, name):
    alone = pictures(painters[name], ASKED)
    together = pictures(painters[name], *COMPANY)

    assert np.array_equal(alone[0], together[1])
    assert together[3].shape == (64, 64, 3)


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_painted_together_agree_with_each_alone_up_to_rounding(painters, name):
    painter = painters[name]
    requests = [replace(ASKED, content=f"a {animal}", seed=seed) for seed, animal in ANIMALS]

    alone = pictures(painter, *requests)
    with torch.inference_mode():
        prompts = painter.model.encode([build_prompt(request) for request in requests])
        seeds = [request.seed for request in requests]
        together = painter.model.generate([*prompts.values()], seeds, (48, 48))

    for one, other in zip(alone, together, strict=True):
        assert abs(one - (other * 255).round()).max() <= 1


ANIMALS = [(1, "fox"), (2, "cat"), (3, "dog"), (4, "owl")]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("other", [{"content": "a cow"}, {"style": "In oil."}, {"seed": 8}])
def test_content_style_and_seed_change_the_picture(painters, name, other):
    first, second = pictures(painters[name], ASKED, replace(ASKED, **other))

    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", MAKERS)
def test_the_picture_is_that_of_the_bare_pipeline(folders, painters, name):
    stock = DiffusionPipeline.from_pretrained(folders[name], **PARTS.get(name, {}))
    if name == "flux2":
        stock.tokenizer = AutoTokenizer.from_pretrained(folders[name] / "tokenizer")
    stock.set_progress_bar_config(disable=True)
    how = {"negative_prompt": " ", "true_cfg_scale": 4.0} if name == "qwen" else {}

    theirs = stock(
        prompt="a fox. In the style of woodcut.",
        **how,
        width=48,
        height=48,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(7),
    ).images[0]

    (ours,) = pictures(painters[name], ASKED)
    assert abs(ours - array(theirs)).max() <= 1


PARTS = {
    "sd3": {"text_encoder_3": None, "tokenizer_3": None},
    "flux2": {"tokenizer": None},  # a processor cannot be made without torchvision
}


@pytest.mark.parametrize("name", MAKERS)
def test_guidance_changes_the_picture(folders, painters, name):
    (own,) = pictures(painters[name], ASKED)
    (stronger,) = pictures(painter_of(folders[name], guidance=9.0), ASKED)

    assert not np.array_equal(own, stronger)


@pytest.mark.parametrize("name", CONTRASTED)
def test_guidance_against_a_negative_prompt_is_real(folders, name):
    guided, bare = (painter_of(folders[name], guidance=g) for g in (4.0, 1.0))
    passes = [calls_of(denoiser_of(painter.model.pipeline)) for painter in (guided, bare)]
    shapes = []
    denoiser_of(guided.model.pipeline).register_forward_pre_hook(
        lambda _, args, told: shapes.append((*args, *told.values())[0].shape[0]), with_kwargs=True
    )

    pictures(guided, ASKED)
    pictures(bare, ASKED)

    # a second pass with the negative prompt: one after the other, or both as one batch
    assert sum(shapes) == 6 and len(passes[1]) == 3


def test_a_negative_prompt_changes_the_picture(folders, painters):
    (own,) = pictures(painters["qwen"], ASKED)
    (away,) = pictures(painter_of(folders["qwen"], negative="a hill"), ASKED)

    assert not np.array_equal(own, away)


@pytest.mark.parametrize(
    ("name", "how", "sentence"),
    [
        ("flux", {"negative": "blurred"}, "this FluxPipeline has no negative prompt"),
        ("qwen", {"negative": "x", "guidance": 1.0}, "would do nothing at --guidance 1"),
    ],
)
def test_what_would_have_no_effect_is_refused(folders, name, how, sentence):
    with pytest.raises(MegastyleError, match=sentence):
        painter_of(folders[name], **how)


def test_a_distilled_flux_takes_no_guidance(tmp_path, folders):
    schnell = diffusers.FluxPipeline.from_pretrained(folders["flux"])
    config = {**schnell.transformer.config, "guidance_embeds": False}
    schnell.transformer = diffusers.FluxTransformer2DModel.from_config(config)
    schnell.save_pretrained(tmp_path)

    assert painter_of(tmp_path).settings == {"steps": 3, "guidance": None}
    with pytest.raises(MegastyleError, match="knows no guidance"):
        painter_of(tmp_path, guidance=3.5)


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_padded_and_every_prompt_is_encoded_before_painting(painters, name):
    painter = painters[name]
    order = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, what=what: order.append(what))
        for what, part in (
            ("words", painter.model.pipeline.text_encoder),
            ("paint", denoiser_of(painter.model.pipeline)),
        )
    ]

    painter.paint(COMPANY)
    for hook in hooks:
        hook.remove()

    assert order.count("words") >= len(COMPANY)
    assert order == sorted(order, key=["words", "paint"].index)


def test_a_prompt_is_the_content_then_the_style():
    assert build_prompt(ASKED) == "a fox. In the style of woodcut."


@pytest.mark.parametrize(
    ("lacking", "named"),
    [({"content": None}, "no content"), ({"style": None}, "no style"), ({"style": ""}, "no style")],
)
def test_a_request_without_words_fails_alone(painters, lacking, named):
    bad, good = painters["qwen"].paint([replace(ASKED, **lacking), ASKED])

    assert isinstance(bad, BadRecord) and bad.kind == "missing_key" and named in bad.message
    assert array(good).shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("size", "made"), [((48, 32), (48, 32)), ((40, 33), (48, 48)), (None, (48, 48))]
)
def test_sizes_are_rounded_up_to_multiples_of_16(painters, size, made):
    (picture,) = painters["qwen"].paint([replace(ASKED, size_px=size)])

    assert picture.size == made


def test_a_picture_that_is_no_number_is_a_failure_and_not_black(folders):
    painter = painter_of(folders["qwen"])
    with torch.no_grad():
        painter.model.pipeline.vae.decoder.conv_out.bias.fill_(torch.nan)

    (bad,) = painter.paint([ASKED])

    assert isinstance(bad, BadRecord) and bad.kind == "model_error" and "NaN" in bad.message


def test_a_batch_that_does_not_fit_is_halved_with_a_remark_and_a_lone_picture_fails(
    folders, caplog
):
    painter = painter_of(folders["qwen"], batch_size=4)
    painter._batch_size = lambda size: max(1, 4 >> painter._halvings)  # as on a GPU
    most = 1

    def fits(part, args, told):
        if told["hidden_states"].shape[0] > most:
            raise torch.OutOfMemoryError("no room")

    painter.model.pipeline.transformer.register_forward_pre_hook(fits, with_kwargs=True)
    requests = [replace(ASKED, seed=seed) for seed in range(4)]

    painted = pictures(painter, *requests)
    assert [record.args[-1] for record in caplog.records] == [2, 1]
    assert np.array_equal(painted[2], pictures(painter_of(folders["qwen"]), requests[2])[0])

    most = 0
    (bad,) = painter.paint([ASKED])
    assert isinstance(bad, BadRecord) and bad.kind == "out_of_memory"


def test_a_model_has_one_name_in_whatever_numbers_it_runs(folders, painters):
    halved = painter_of(folders["qwen"], dtype="bfloat16")

    assert halved.name == painters["qwen"].name
    assert halved.name != painters["flux"].name
    assert halved.model.pipeline.transformer.dtype == torch.bfloat16
    assert array(halved.paint([ASKED])[0]).std() > 0


def made_lora(folder, path, drop=0, seed=1):
    """A LoRA of the tiny Qwen-Image in diffusers' own form."""
    transformer = diffusers.QwenImageTransformer2DModel.from_pretrained(folder / "transformer")
    torch.manual_seed(seed)
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_out.0"]))
    weights = {
        name: torch.randn_like(weight)
        for name, weight in get_peft_model_state_dict(transformer).items()
    }
    for name in list(weights)[:drop]:
        del weights[name]
    QwenImagePipeline.save_lora_weights(
        path.parent, transformer_lora_layers=weights, weight_name=path.name
    )
    return path


def test_a_lora_changes_the_picture_by_its_strength(folders, painters, tmp_path):
    lora = str(made_lora(folders["qwen"], tmp_path / "l.safetensors"))

    with_it, without = (
        pictures(painter_of(folders["qwen"], lora=lora, lora_strength=s), ASKED)[0]
        for s in (1.0, 0.0)
    )

    (bare,) = pictures(painters["qwen"], ASKED)
    assert np.array_equal(without, bare) and not np.array_equal(with_it, bare)


def test_a_lora_that_does_not_fit_to_the_last_tensor_is_refused(folders, tmp_path):
    lora = made_lora(folders["qwen"], tmp_path / "l.safetensors")
    weights = load_file(lora)
    some = next(iter(weights))
    for name, held in (
        ("less", {key: w for key, w in weights.items() if key != some}),
        ("more", {**weights, some.replace("blocks.0", "blocks.9"): weights[some]}),
        ("none", {"layer.weight": torch.zeros(2, 2)}),
    ):
        save_file({key: w.clone() for key, w in held.items()}, tmp_path / f"{name}.safetensors")
        with pytest.raises(MegastyleError, match="tensors, of which|is no LoRA of a Qwen"):
            painter_of(folders["qwen"], lora=str(tmp_path / f"{name}.safetensors"))


def test_lightning_is_eight_steps_at_shift_three_without_guidance(folders, tmp_path):
    lora = str(made_lora(folders["qwen"], tmp_path / "l.safetensors"))
    painter = painter_of(folders["qwen"], lora=lora, preset="lightning", steps=None)
    passes = calls_of(painter.model.pipeline.transformer)

    painter.paint([ASKED])

    flat = np.linspace(1, 1 / 8, 8)
    assert len(passes) == 8 and painter.settings == {"steps": 8, "guidance": 1.0}
    assert np.allclose(painter.model.pipeline.scheduler.sigmas[:-1], 3 * flat / (1 + 2 * flat))
    assert painter.model.pipeline.scheduler.sigmas[-1] == 0


def test_a_preset_of_another_model_is_refused(folders):
    with pytest.raises(MegastyleError, match="lightning is for a QwenImagePipeline"):
        painter_of(folders["flux"], preset="lightning")


@pytest.mark.parametrize("quantize", ["int8", "fp8"])
def test_a_quantised_model_paints_nearly_the_same(folders, painters, quantize):
    pytest.importorskip("torchao")

    (found,) = pictures(painter_of(folders["qwen"], quantize=quantize), ASKED)

    (whole,) = pictures(painters["qwen"], ASKED)
    assert 0 < abs(found - whole).mean() < 5


def test_four_bits_on_a_cpu_are_refused(folders):
    with pytest.raises(MegastyleError, match="nf4 needs a GPU"):
        painter_of(folders["qwen"], quantize="nf4")


def test_quantising_without_the_package_says_what_to_install(folders, monkeypatch):
    monkeypatch.setattr("megastyle_cli.models.quantization.find_spec", lambda name: None)

    with pytest.raises(MegastyleError, match="needs the package 'torchao'") as refused:
        painter_of(folders["qwen"], quantize="int8")
    assert refused.value.hint == "pip install 'megastyle[quantize]'"


def test_a_weight_that_is_missing_is_refused_and_named(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("proj_out.bias")
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"such as proj_out\.bias"):
        painter_of(folder)


def test_a_folder_of_another_kind_of_model_is_one_sentence(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableAudioPipeline"}')
    with pytest.raises(MegastyleError, match="StableAudioPipeline, which does not paint"):
        painter_of(tmp_path)

    (tmp_path / "model_index.json").write_text('{"_class_name": "NoSuchPipeline"}')
    with pytest.raises(MegastyleError, match=r"NoSuchPipeline, which diffusers [\d.]+ does not"):
        painter_of(tmp_path)

    (tmp_path / "model_index.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MegastyleError, match="has no model_index.json"):
        painter_of(tmp_path)


def test_a_folder_that_lacks_a_part_is_one_sentence(tmp_path):
    folder = save_tiny_qwen(tmp_path / "tiny")
    (folder / "vae").rename(folder / "away")

    with pytest.raises(MegastyleError, match="no whole QwenImagePipeline: it has no vae"):
        painter_of(folder)


def test_a_model_that_is_not_there_says_what_to_fetch():
    with pytest.raises(MegastyleError, match="there is no model folder ./nothing") as refused:
        painter_of("./nothing")
    assert "hf download Qwen/Qwen-Image --local-dir Qwen-Image" in refused.value.hint


@pytest.mark.parametrize("name", MAKERS)
def test_the_text_encoders_are_away_while_the_rest_paints(folders, painters, name):
    painter = painter_of(folders[name])
    painter.model.offload = "model"  # as on a GPU; here both places are the CPU
    seen = []
    denoiser_of(painter.model.pipeline).register_forward_pre_hook(
        lambda *_: seen.append(painter.model.pipeline.text_encoder)
    )

    (found,) = pictures(painter, ASKED)

    assert set(seen) == {None} and painter.model.pipeline.text_encoder is not None
    assert np.array_equal(found, pictures(painters[name], ASKED)[0])


def test_offload_on_a_cpu_is_refused(folders):
    with pytest.raises(MegastyleError, match="needs a GPU"):
        painter_of(folders["qwen"], offload="model")


def test_memory_that_a_cpu_does_not_have_is_a_failure_of_its_record(folders):
    painter = painter_of(folders["qwen"])
    painter.model.pipeline.transformer.register_forward_pre_hook(
        lambda *_: torch.empty(1 << 50) and None
    )

    (bad,) = painter.paint([ASKED])

    assert isinstance(bad, BadRecord) and bad.kind == "out_of_memory"
