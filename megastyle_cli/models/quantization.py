"""Weights stored in fewer bits by torchao or bitsandbytes; products stay in the run's dtype."""

from importlib.util import find_spec
from typing import Any, Literal

import torch

from megastyle_cli.errors import MegastyleError

Quantize = Literal["fp8", "int8", "nf4"]
PACKAGES = {"fp8": "torchao", "int8": "torchao", "nf4": "bitsandbytes"}


def quantization_of(name: Quantize | None) -> Any:
    """The config that diffusers is given to store a model's linears so; None without a name.

    Raises MegastyleError if the package that does it is not installed.
    """
    if name is None:
        return None
    package = PACKAGES[name]
    if find_spec(package) is None:
        raise MegastyleError(
            f"--quantize {name} needs the package {package!r}, which is not installed",
            hint="pip install 'megastyle[quantize]'",
        )
    import diffusers as untyped

    diffusers: Any = untyped

    if name == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    how = Float8WeightOnlyConfig() if name == "fp8" else Int8WeightOnlyConfig()
    return diffusers.TorchAoConfig(how)
