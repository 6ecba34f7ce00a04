"""Guidance is resolved by pipeline, and options without effect raise."""

import diffusers
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image.guidance import pipeline_spec
from tests.models.text_to_image.painting import load_painter


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("flux", {"negative": "blurred"}, "this FluxPipeline has no negative prompt"),
        ("qwen", {"negative": "x", "guidance": 1.0}, "has no effect at --guidance 1"),
    ],
)
def test_options_without_effect_raise(pipeline_folders, name, options, message):
    with pytest.raises(MegastyleError, match=message):
        load_painter(pipeline_folders[name], **options)


def test_a_distilled_flux_takes_no_guidance(tmp_path, pipeline_folders):
    schnell = diffusers.FluxPipeline.from_pretrained(pipeline_folders["flux"])
    config = {**schnell.transformer.config, "guidance_embeds": False}
    schnell.transformer = diffusers.FluxTransformer2DModel.from_config(config)
    schnell.save_pretrained(tmp_path)

    assert load_painter(tmp_path).settings == {"steps": 3, "guidance": None}
    with pytest.raises(MegastyleError, match="has no guidance"):
        load_painter(tmp_path, guidance=3.5)


class TrueGuidance:
    def __call__(self, prompt, negative_prompt=None, true_cfg_scale=4.0, guidance_scale=1.0): ...


class ClassifierFree:
    def __call__(self, prompt, negative_prompt=None, guidance_scale=7.5): ...


class Embedded:
    def __call__(self, prompt, guidance_scale=3.5): ...


class Unguided:
    def __call__(self, prompt): ...


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TrueGuidance, ("classifier-free", "true_cfg_scale", " ")),
        (ClassifierFree, ("classifier-free", "guidance_scale", None)),
        (Embedded, ("embedded", "guidance_scale", None)),
        (Unguided, ("none", None, None)),
    ],
)
def test_an_unknown_pipeline_is_guided_as_its_parameters_say(kind, expected):
    spec = pipeline_spec(kind)

    assert (spec.kind, spec.argument, spec.negative) == expected
    assert not spec.encoded  # so it is given text
