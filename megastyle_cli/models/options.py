"""Options that select a model and how it runs."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from megastyle_cli.core.option import option

LORA_DOWNLOAD_HINT = (
    "download the official one: hf download Gaojunyao/MegaStyle megastyle_flux.safetensors"
    " --local-dir . ; then give --lora megastyle_flux.safetensors"
)

# Declarations of options that several groups have.
QUANTIZE = {
    "metavar": "int8|fp8|nf4",
    "show_default": False,
    "help": "Quantize the weights to save GPU memory (needs megastyle[quantize]).",
    "help_in": {
        "transfer": "Quantize the weights to save GPU memory; int8 with --offload model: 16 GB.",
        "train-flux": "Quantize the frozen weights to save GPU memory (24 GB: int8, adamw8bit).",
    },
    "is_common": True,
}
COMPILE = {"help": "Compile the model first (torch.compile); pays off for long runs."}


@dataclass(frozen=True, kw_only=True)
class BackendOptions:
    """Which implementation does the work."""

    HEADING: ClassVar[str] = "Model"

    backend: str = option(
        "builtin",
        metavar="NAME",
        help="Backend, or package.module:Class.",
        help_in={
            "caption": "builtin, transformers (implied by --model), openai (by --base-url), or"
            " package.module:Class.",
            "dedup": "Text embedder: builtin, sentence-transformers (implied by --model), or"
            " package.module:Class.",
            "cluster": "Text embedder: builtin, sentence-transformers (implied by --model), or"
            " package.module:Class.",
            "synth": "builtin, diffusers (implied by --model), or package.module:Class.",
            "transfer": "builtin, flux (implied by --model), or package.module:Class.",
        },
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class EncoderBackendOptions(BackendOptions):
    """Which style encoder."""

    backend: str = option(
        "builtin",
        metavar="NAME",
        help="Style encoder: builtin, whitened, statistics, edges, imagenet, colors, random; with"
        " --model siglip, clip, dinov2 or auto; or package.module:Class.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model a backend loads."""

    HEADING: ClassVar[str] = "Model"

    model: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Model to use: a Hugging Face name[@revision] or a local folder.",
        help_in={
            "caption": "Vision-language model (Hugging Face name or folder), or the server's.",
            "dedup": "Sentence-embedding model: a Hugging Face name or a local folder.",
            "cluster": "Sentence-embedding model: a Hugging Face name or a local folder.",
            "synth": "Text-to-image model, such as Qwen/Qwen-Image, or a local folder.",
            "retrieve": "Style encoder: Gaojunyao/MegaStyle (the released one), a folder written by"
            " train-encoder, or a SigLIP or CLIP.",
            "transfer": "black-forest-labs/FLUX.1-dev, builtin-flux, or a local folder.",
            "eval": "Style encoder: Gaojunyao/MegaStyle (the released one), a folder written by"
            " train-encoder, or a SigLIP or CLIP.",
        },
        is_common=True,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """The device and floating-point type of a model; results agree up to rounding."""

    HEADING: ClassVar[str] = "Model"

    device: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="cpu, cuda or cuda:N (default: a GPU if there is one).",
    )
    dtype: Literal["float32", "bfloat16"] | None = option(
        None,
        metavar="float32|bfloat16",
        show_default=False,
        help="Floating-point type of the model (default: bfloat16 on a GPU, float32 on a CPU).",
    )


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """Weight quantization."""

    HEADING: ClassVar[str] = "Model"

    quantize: Literal["int8", "fp8", "nf4"] | None = option(
        None, changes_results="derived", **QUANTIZE
    )


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Whether layers are compiled before they are used."""

    HEADING: ClassVar[str] = "Model"

    compile: bool = option(False, "--compile", **COMPILE)
