"""The flags with which a model would fit, from the sizes of its weights."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import FluxTransformer2DModel

from megastyle_cli.models.flux.memory import (
    GIB,
    activation_bytes,
    component_bytes,
    memory_flags,
    memory_plans,
    suggest_plan,
)
from megastyle_cli.models.flux.setup import PreparedFlux, resolve_runtime
from megastyle_cli.models.offload import weight_bytes
from tests.tiny_flux import save_tiny_flux

ACTIVATIONS = activation_bytes((512, 512), 2560, 3072, 2)  # one picture with one reference


OTHERS = {"text_encoder_2": 4_762_310_656, "text_encoder": 123_060_480, "vae": 83_819_683}


@pytest.fixture(scope="module")
def flux_1():
    """The plans of FLUX.1-dev in bfloat16, from the sizes of its parts."""
    with torch.device("meta"):
        parts = {name: torch.nn.Linear(size, 1, bias=False) for name, size in OTHERS.items()}
        parts["transformer"] = FluxTransformer2DModel(guidance_embeds=True)
    parts = {name: part.bfloat16() for name, part in parts.items()}
    return memory_plans(component_bytes(SimpleNamespace(components=parts)), 2)


def test_the_plans_of_flux_1_have_the_sizes_that_people_report(flux_1):
    gib = {plan: round(size / GIB, 1) for plan, size in flux_1.items()}

    assert gib[""] == 31.4
    assert gib["--offload modulation"] == 25.4
    assert gib["--offload model"] == 16.3
    assert gib["--offload model --quantize int8"] == 9.1  # T5 and CLIP, which are not
    assert list(gib)[-1] == "--offload layers"


@pytest.mark.parametrize(
    ("memory", "flags", "plan"),
    [
        (32, "", "--offload modulation --batch-size 1 takes about 26"),
        (24, "", "--offload model --batch-size 1 takes about 17"),
        (16, "", "--offload model --quantize int8 --batch-size 1 takes about 10"),
        (16, "--offload model", "--offload model --quantize int8 --batch-size 1"),
        (8, "", "--offload layers --batch-size 1 takes about 1."),
        (1, "", "give a smaller --size"),
        (8, "--offload layers", "give a smaller --size"),
    ],
)
def test_the_first_smaller_plan_that_fits_is_suggested(flux_1, memory, flags, plan):
    hint = suggest_plan(flux_1, flags, ACTIVATIONS, memory * GIB, flux_1[""])

    assert plan in hint
    assert ("31.4 GiB of host memory" in hint) is ("--batch-size" in plan)


def test_all_weights_of_a_pipeline_are_counted(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    config = resolve_runtime("cpu", None, None, None, None, compiled=False)
    flux = PreparedFlux(str(folder), None, 1.0, config)

    found = flux.weights

    parts = flux.pipeline.components.values()
    modules = [part for part in parts if isinstance(part, torch.nn.Module)]
    whole = sum(p.numel() * p.element_size() for part in modules for p in part.parameters())
    assert found.total == whole == weight_bytes(flux.pipeline)
    assert min(found.modulation, found.text, found.autoencoder) > 0


def test_flags_are_those_of_the_options():
    assert memory_flags(None, None) == ""
    assert memory_flags("model", "fp8") == "--offload model --quantize int8"  # of the same size
