"""Every text-to-image class has the defaults of a model card, or says whose it takes."""

import inspect
import warnings

import diffusers
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image import guidance
from megastyle_cli.models.text_to_image.defaults import DEFAULTS, model_defaults
from megastyle_cli.models.text_to_image.guidance import pipeline_spec
from megastyle_cli.models.text_to_image.pipeline_class import pipeline_class


def text_to_image_classes():
    """All classes of diffusers that synth accepts, by name."""
    found = {}
    for name in dir(diffusers):
        if not name.endswith("Pipeline"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # diffusers' own, of old code of theirs
                found[name] = pipeline_class("a folder", {"_class_name": name})
        except (MegastyleError, ImportError):  # needs more than text, or another package
            continue
    return found


CLASSES = text_to_image_classes()


def test_no_class_falls_to_defaults_that_nobody_names(caplog):
    silent = []
    for name, kind in CLASSES.items():
        caplog.clear()
        defaults = model_defaults(kind, pipeline_spec(kind).argument, ["model"])
        said = f"{name}: {defaults.steps} steps" in caplog.text
        if said == (name in DEFAULTS):
            silent.append(name)

    assert len(CLASSES) > 50 and silent == []


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_row_is_of_a_class_that_synth_runs_with_a_source(name):
    kind, rows = CLASSES[name], DEFAULTS[name]
    parameters = inspect.signature(kind.__call__).parameters

    assert all(row.source and row.steps >= 1 for row in rows)
    assert [bool(row.words) for row in rows] == [True] * (len(rows) - 1) + [False]
    for row in rows:
        if row.source == f"{name}.__call__":
            argument = pipeline_spec(kind).argument
            given = argument and parameters[argument].default
            assert (row.steps, row.guidance) == (parameters["num_inference_steps"].default, given)


def test_every_class_with_arguments_for_prompts_has_a_row():
    assert guidance.SPECS.keys() <= DEFAULTS.keys()


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("ZImagePipeline", "Tongyi-MAI/Z-Image-Turbo", (9, 0.0)),
        ("ZImagePipeline", "Tongyi-MAI/Z-Image", (50, 4.0)),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-large", (28, 3.5)),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-large-turbo", (4, 0.0)),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-medium", (40, 4.5)),
        ("StableDiffusion3Pipeline", "models/sd3", (28, 7.0)),
        ("FluxPipeline", "black-forest-labs/FLUX.1-Krea-dev", (28, 4.5)),
        ("FluxPipeline", "black-forest-labs/FLUX.1-schnell", (4, None)),
        ("QwenImagePipeline", "Qwen/Qwen-Image-2512", (40, 4.0)),
        ("QwenImage21Pipeline", "Qwen/Qwen-Image-2.1", (40, 1.0)),
        ("StableDiffusionXLPipeline", "stabilityai/sdxl-turbo", (1, 0.0)),
    ],
)
def test_a_model_is_known_by_its_class_and_name(kind, model, expected):
    defaults = model_defaults(CLASSES[kind], pipeline_spec(CLASSES[kind]).argument, [model])

    assert (defaults.steps, defaults.guidance) == expected


def test_a_config_that_says_distilled_counts_as_the_word_in_the_name():
    kind = CLASSES["Flux2KleinPipeline"]

    assert model_defaults(kind, "guidance_scale", ["my-klein"], is_distilled=True).steps == 4
    assert model_defaults(kind, "guidance_scale", ["FLUX.2-klein-base-4B"]).steps == 50
