"""A FLUX model made ready: quantized, with a LoRA, offloaded and compiled as the options say."""

import logging
import sys

import pytest
import torch
from diffusers import FluxTransformer2DModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.setup import quantize_flux
from megastyle_cli.models.registry import load
from tests.models.flux.reference_model import COLUMNS, ROWS, random_inputs
from tests.tiny_flux import TRANSFORMER, random_lora, save_tiny_flux, tiny_transformer

for library in ("torchao", "bitsandbytes", "torch.utils._pytree"):
    logging.getLogger(library).setLevel(logging.ERROR)


PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}


# relative error of the velocity of these tiny blocks
MAX_ERROR = {"int8": 0.01, "fp8": 0.05, "nf4": 0.2}


WIDE = {
    "attention_head_dim": 64,
    "axes_dims_rope": (16, 24, 24),
}  # 128 wide: wide enough for rounding errors to average


def predict(transformer):
    inputs = random_inputs({**TRANSFORMER, **WIDE})
    with torch.inference_mode():
        return velocity(transformer, *inputs, position_ids(ROWS, COLUMNS, 1), guidance=3.5)


@pytest.mark.parametrize("kind", PACKAGES)
def test_quantized_blocks_give_nearly_the_same_velocity(kind):
    pytest.importorskip(PACKAGES[kind])
    transformer = tiny_transformer(**WIDE)
    whole = predict(transformer)

    quantize_flux(transformer, kind)
    rounded = predict(transformer.to("cpu"))

    assert 0 < (rounded - whole).norm() / whole.norm() < MAX_ERROR[kind]


@pytest.mark.parametrize("kind", PACKAGES)
def test_all_linear_layers_of_the_blocks_are_quantized_and_no_others(kind):
    pytest.importorskip(PACKAGES[kind])
    transformer = tiny_transformer(**WIDE)
    linears = [n for n, m in transformer.named_modules() if isinstance(m, torch.nn.Linear)]

    quantize_flux(transformer, kind)
    transformer.to("cpu")

    plain = [n for n in linears if type(transformer.get_submodule(n).weight) is torch.nn.Parameter]
    rounded = [name for name in linears if name not in plain]
    assert rounded == [name for name in linears if "transformer_blocks." in name]


@pytest.mark.parametrize(("kind", "package"), PACKAGES.items())
def test_a_missing_package_raises_with_the_install_command(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)

    with pytest.raises(
        MegastyleError, match=f"--quantize {kind} needs the package '{package}'"
    ) as e:
        quantize_flux(tiny_transformer(), kind)

    assert e.value.hint == "pip install 'megastyle[quantize]'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_flux(tmp_path_factory.mktemp("flux") / "tiny")


def test_a_lora_of_another_model_of_the_same_shapes_is_warned_about(folder, tmp_path, caplog):
    metadata = {"megastyle.model": "FLUX.1-other@01234567"}
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors", metadata=metadata)

    stylist = load("stylist", "flux", model=str(folder), lora=str(tmp_path / "lora.safetensors"))

    (warning,) = caplog.records
    assert f"trained on FLUX.1-other@01234567, not on {stylist.name}:" in warning.getMessage()


def test_a_lora_of_another_architecture_raises_with_the_counts(folder, tmp_path):
    save_lora(random_lora(target_modules(1, 2)), tmp_path / "other.safetensors")

    with pytest.raises(MegastyleError, match="which fit 16 of 26 modules .10 without weights"):
        load("stylist", "flux", model=str(folder), lora=str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("device", ["cpu:zero", "abacus"])
def test_an_unknown_device_raises(folder, device):
    with pytest.raises(MegastyleError, match="cannot be used"):
        load("stylist", "flux", model=str(folder), device=device)


def test_offload_on_a_cpu_raises(folder):
    with pytest.raises(MegastyleError, match="needs a GPU"):
        load("stylist", "flux", model=str(folder), device="cpu", offload="model")


def test_blocks_are_compiled_on_request(folder, monkeypatch):
    compiled = []
    monkeypatch.setattr("megastyle_cli.models.flux.setup.require_compiler", lambda _: None)
    monkeypatch.setattr(
        FluxTransformer2DModel,
        "compile_repeated_blocks",
        lambda *_, **options: compiled.append(options),
    )

    for is_compiled in (False, True):
        load("stylist", "flux", model=str(folder), device="cpu", compiled=is_compiled)

    assert compiled == [{"fullgraph": True}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offload": "layers"}, "--offload layers needs a GPU"),
        ({"preset": "fast-cache", "compiled": True}, "cannot be combined"),
    ],
)
def test_options_that_exclude_each_other_raise(folder, options, message):
    with pytest.raises(MegastyleError, match=message):
        load("stylist", "flux", model=str(folder), device="cpu", **options)
