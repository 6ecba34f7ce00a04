"""The options of `synth` and `transfer`: sizes, models, filters, and how images are stored."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from megastyle_cli.core.choices import Container, PictureFormat
from megastyle_cli.core.option import option
from megastyle_cli.runner.options import BATCH_SIZE, BatchOptions, OutputOptions

if TYPE_CHECKING:
    from megastyle_cli.io.writers.image_dataset import ImageFormat


@dataclass(frozen=True, kw_only=True)
class StrengthOptions:
    """How strongly a style is applied."""

    HEADING: ClassVar[str] = "Method"

    strength: float = option(
        1.0,
        min=0,
        max=1,
        metavar="S",
        help="Style strength: 0 keeps the content image, 1 is the full style.",
        help_in={
            "transfer": "Style strength: 0 is the content image or prompt alone, 1 full style."
        },
        is_common=True,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class ImageFormatOptions:
    """How generated images are stored."""

    HEADING: ClassVar[str] = "Output"

    format_: Container = option(
        "folder",
        "--format",
        help="Store images as files in a folder, in WebDataset tars or in parquet files.",
        changes_results="derived",
    )
    picture_format: PictureFormat = option(
        "png", "--picture-format", help="Image file format.", changes_results="derived"
    )
    quality: int | None = option(
        None,
        metavar="N",
        min=1,
        max=100,
        show_default=False,
        help="Quality of jpg and webp images (default: 92).",
        changes_results="derived",
    )
    shard_size: int = option(
        1000,
        metavar="N",
        min=1,
        help="Records per tar or parquet file.",
        changes_results="derived",
    )

    def image_format(self) -> "ImageFormat":
        """The same for the writers. Raises MegastyleError if `quality` does not fit the format."""
        from megastyle_cli.io.writers.image_dataset import ImageFormat

        return ImageFormat(
            container=self.format_,
            picture_format=self.picture_format,
            quality=self.quality,
            num_per_shard=self.shard_size,
        )


@dataclass(frozen=True, kw_only=True)
class ImageBatchOptions(BatchOptions):
    """How many images are generated at once."""

    batch_size: int = option(
        8,
        **BATCH_SIZE
        | {
            "help_in": {
                "synth": "Images rendered at once, at most (default with --model: about one"
                " megapixel); affects speed and memory, not results."
            }
        },
    )


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """The size of the images."""

    HEADING: ClassVar[str] = "Output"

    size: str = option(
        "512",
        metavar="PX|WxH",
        help="Longer side; with --model, width x height, or side of a square.",
        is_common=True,
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class TextToImageOptions:
    """How a text-to-image model renders."""

    HEADING: ClassVar[str] = "Method"

    preset: Literal["lightning"] | None = option(
        None,
        show_default=False,
        help="Settings for a distilled --lora: 8 steps, no guidance.",
        changes_results="yes",
    )
    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="LoRA for the model: a .safetensors file, or a hub NAME.",
        heading="Model",
        is_common=True,
        changes_results="derived",
        file="whole input",
    )
    lora_strength: float = option(
        1.0,
        "--lora-strength",
        metavar="S",
        help="Scale of the LoRA; 0 disables it.",
        heading="Model",
        changes_results="yes",
    )
    steps: int | None = option(
        None,
        metavar="N",
        min=1,
        max=1000,
        show_default=False,
        help="Number of denoising steps (default: the model card's or preset's; Qwen-Image 40).",
        is_common=True,
        changes_results="yes",
    )
    guidance: float | None = option(
        None,
        metavar="G",
        min=0,
        show_default=False,
        help="Guidance scale (default: the model card's; 4 for Qwen-Image).",
        changes_results="yes",
    )
    negative: str | None = option(
        None,
        metavar="TEXT",
        show_default=False,
        help="Negative prompt: what to avoid (default: none).",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which images are rejected."""

    HEADING: ClassVar[str] = "Method"

    reject_blank: bool = option(
        False,
        "--reject-blank",
        help="Reject images that are (almost) a single color.",
        changes_results="if set",
    )
    reject_duplicates: bool = option(
        False,
        "--reject-duplicates",
        help="Reject images that duplicate one in this output.",
        changes_results="if set",
    )
    nsfw: str | None = option(
        None,
        metavar="MODEL",
        show_default=False,
        help="Reject images this classifier finds unsafe: open_nsfw or a Hugging Face model.",
        changes_results="if set",
    )
    max_nsfw: float = option(
        0.5,
        min=0,
        max=1,
        metavar="P",
        help="Maximum probability of being unsafe for --nsfw.",
        changes_results="derived",
    )
    min_style_score: float | None = option(
        None,
        min=-1,
        max=1,
        metavar="S",
        show_default=False,
        help="Reject images with a lower mean cosine to the other images of their style.",
        changes_results="if set",
    )
    style_against: Literal["others", "reference"] = option(
        "others",
        help="What --min-style-score compares with; reference: the pair's style image.",
        changes_results="derived",
    )
    style_model: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Style encoder for --min-style-score (default: builtin).",
        changes_results="if set",
    )
    rejects: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="File for rejected records (default: rejects.jsonl in the output folder).",
        file="output",
    )


@dataclass(frozen=True, kw_only=True)
class TextToImageOffloadOptions:
    """What is kept off the GPU."""

    HEADING: ClassVar[str] = "Model"

    offload: Literal["model", "layers"] | None = option(
        None,
        metavar="model|layers",
        show_default=False,
        help="Save GPU memory (VRAM): move idle parts or layers to the CPU.",
        is_common=True,
    )


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """The style references and the content."""

    HEADING: ClassVar[str] = "Style and content"

    style: list[str] | None = option(
        None,
        metavar="IMAGE",
        help="Reference image; repeat to mix styles (default: style_file_name).",
        show_default=False,
        is_common=True,
        changes_results="derived",
        file="whole input",
    )
    weight: list[float] | None = option(
        None,
        metavar="W",
        min=0,
        help="Weight of each --style, in order (default: equal).",
        show_default=False,
        is_common=True,
        changes_results="derived",
    )
    content: str | None = option(
        None,
        metavar="IMAGE",
        help="The one image to restyle; same as naming it as the input.",
        show_default=False,
        file="input",
    )
    prompt: str | None = option(
        None,
        metavar="TEXT",
        show_default=False,
        help="Generate an image from this text instead of restyling one (needs --model).",
        is_common=True,
    )
    size: str | None = option(
        None,
        metavar="PX|WxH",
        show_default=False,
        help="Longer side, or FLUX's width x height (default: the input's; FLUX: 512).",
        heading="Output",
        is_common=True,
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class TransferOutputOptions(OutputOptions):
    """The output of `transfer`: one image, or a folder."""

    output: str | None = option(  # type: ignore[assignment]
        None,
        "-o",
        "--output",
        metavar="PATH",
        help="Image file (one result), folder, or - for a PNG on stdout.",
        show_default=False,
        is_common=True,
        is_required=True,
        file="output",
    )


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """The LoRA that makes FLUX use a reference."""

    HEADING: ClassVar[str] = "Model"

    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Style-reference LoRA for FLUX: a file, or Gaojunyao/MegaStyle.",
        is_common=True,
        changes_results="derived",
        file="whole input",
    )
    lora_strength: float = option(
        1.0,
        "--lora-strength",
        metavar="S",
        help="Scale of the LoRA; 0 disables it.",
        changes_results="yes",
    )
    to: Literal["official", "diffsynth", "diffusers", "peft"] | None = option(
        None,
        metavar="LAYOUT",
        show_default=False,
        help="Only convert --lora to -o FILE.safetensors in this key layout: official, diffsynth,"
        " diffusers or peft.",
    )


@dataclass(frozen=True, kw_only=True)
class FluxOptions:
    """How FLUX renders."""

    HEADING: ClassVar[str] = "Method"

    steps: int = option(
        30,
        metavar="N",
        min=1,
        max=1000,
        help="Number of denoising steps (FLUX).",
        changes_results="yes",
    )
    guidance: float = option(
        3.5,
        metavar="G",
        min=0,
        help="Guidance scale (FLUX).",
        changes_results="yes",
    )
    content_strength: float = option(
        0.0,
        metavar="S",
        min=0,
        max=1,
        help="Start FLUX from the content image: 0 uses only the prompt, 1 keeps the image.",
        changes_results="yes",
    )
    keep_aspect: bool = option(
        False,
        "--keep-aspect",
        help="Crop references to the output's aspect ratio instead of stretching them (FLUX).",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class FluxOffloadOptions:
    """What is kept off the GPU."""

    HEADING: ClassVar[str] = "Model"

    offload: Literal["modulation", "model", "layers"] | None = option(
        None,
        metavar="modulation|model|layers",
        show_default=False,
        help="Save GPU memory (VRAM) with equal results: modulation (6 GB less), model (FLUX.1 fits"
        " 24 GB), layers (smallest).",
        is_common=True,
    )


@dataclass(frozen=True, kw_only=True)
class FluxPresetOptions:
    """Approximations that trade quality for speed."""

    HEADING: ClassVar[str] = "Method"

    preset: Literal["fast-cache"] | None = option(
        None,
        metavar="fast-cache",
        show_default=False,
        help="Faster but approximate: skip what changes little between steps (FLUX).",
        changes_results="yes",
    )
