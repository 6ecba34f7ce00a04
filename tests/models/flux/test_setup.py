"""Fewer bits for the blocks' weights: smaller, nearly the same, and never the ends of the model."""

import logging
import sys

import pytest
import torch

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.setup import quantize_flux
from tests.models.flux.test_model import COLUMNS, ROWS, TRANSFORMER, drawn
from tests.tiny_flux import tiny_transformer

for library in ("torchao", "bitsandbytes", "torch.utils._pytree"):
    logging.getLogger(library).setLevel(logging.ERROR)

PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}
# the velocity's distance from that of whole numbers, relative, as these tiny blocks have it
NEAR = {"int8": 0.01, "fp8": 0.05, "nf4": 0.2}
WIDE = {"attention_head_dim": 64, "axes_dims_rope": (16, 24, 24)}  # 128 wide: enough to average


def predicted(transformer):
    inputs = drawn({**TRANSFORMER, **WIDE})
    with torch.inference_mode():
        return velocity(transformer, *inputs, position_ids(ROWS, COLUMNS, 1), guidance=3.5)


@pytest.mark.parametrize("how", PACKAGES)
def test_the_velocity_is_nearly_the_same_in_fewer_bits(how):
    pytest.importorskip(PACKAGES[how])
    transformer = tiny_transformer(**WIDE)
    whole = predicted(transformer)

    quantize_flux(transformer, how)
    rounded = predicted(transformer.to("cpu"))

    assert 0 < (rounded - whole).norm() / whole.norm() < NEAR[how]


@pytest.mark.parametrize("how", PACKAGES)
def test_all_linears_of_the_blocks_are_rounded_and_nothing_else(how):
    pytest.importorskip(PACKAGES[how])
    transformer = tiny_transformer(**WIDE)
    linears = [n for n, m in transformer.named_modules() if isinstance(m, torch.nn.Linear)]

    quantize_flux(transformer, how)
    transformer.to("cpu")

    plain = [n for n in linears if type(transformer.get_submodule(n).weight) is torch.nn.Parameter]
    rounded = [name for name in linears if name not in plain]
    assert rounded == [name for name in linears if "transformer_blocks." in name]


@pytest.mark.parametrize(("how", "package"), PACKAGES.items())
def test_a_missing_package_is_one_sentence_with_what_to_install(monkeypatch, how, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)

    with pytest.raises(
        MegastyleError, match=f"--quantize {how} needs the package '{package}'"
    ) as e:
        quantize_flux(tiny_transformer(), how)

    assert e.value.hint == "pip install 'megastyle[quantize]'"
