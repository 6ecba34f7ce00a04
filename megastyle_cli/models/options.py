"""Options that say which model runs, and how it runs."""

from dataclasses import dataclass
from typing import Literal

from megastyle_cli.core.option import option

LORA_DOWNLOAD_HINT = (
    "fetch the official one with: hf download Gaojunyao/MegaStyle megastyle_flux.safetensors"
    " --local-dir . ; and give --lora megastyle_flux.safetensors"
)


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """Which implementation does the work."""

    backend: str = option(
        "builtin",
        metavar="NAME",
        help="Which implementation, or package.module:Class.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class EncoderBackendOptions(BackendOptions):
    """Which style encoder."""

    backend: str = option(
        "builtin",
        metavar="NAME",
        help="builtin, statistics, edges, imagenet; with --model siglip, clip; or"
        " package.module:Class.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model a backend loads."""

    model: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="By name or folder: sentence-transformers for texts, SigLIP's tower for pictures,"
        " Qwen-Image or FLUX to paint, Qwen3-VL and its like to caption.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where a model runs, and in which numbers; the same results up to rounding."""

    device: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Where the model runs: cpu, cuda, cuda:N; default: a GPU if there is one.",
    )
    dtype: Literal["float32", "bfloat16"] | None = option(
        None,
        metavar="float32|bfloat16",
        show_default=False,
        help="Numbers the model runs in; default: bfloat16 on a GPU, float32 on a CPU.",
    )


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """Weights in fewer bits."""

    quantize: Literal["int8", "fp8", "nf4"] | None = option(
        None,
        metavar="int8|fp8|nf4",
        show_default=False,
        help="Round the weights, for smaller cards (torchao; nf4: bitsandbytes).",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Whether layers are compiled before they are used."""

    compile: bool = option(
        False, "--compile", help="Compile the model's layers first: pays off for many."
    )
