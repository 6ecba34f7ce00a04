"""The options of `synth` and `transfer`: sizes, models, filters, and how images are stored."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from megastyle_cli.core.choices import Container, PictureFormat
from megastyle_cli.core.option import option
from megastyle_cli.runner.options import BatchOptions, OutputOptions

if TYPE_CHECKING:
    from megastyle_cli.io.writers.image_dataset import ImageFormat


@dataclass(frozen=True, kw_only=True)
class StrengthOptions:
    """How strongly a style is applied."""

    strength: float = option(
        1.0,
        min=0,
        max=1,
        metavar="S",
        help="1: full style; 0: the content picture, or the words without a reference.",
        changes_results="derived",
    )


@dataclass(frozen=True, kw_only=True)
class ImageFormatOptions:
    """How made images are stored."""

    format_: Container = option(
        "folder",
        "--format",
        help="Keep pictures as files in a folder, or in WebDataset tars, or parquet.",
        changes_results="derived",
    )
    picture_format: PictureFormat = option(
        "png", "--picture-format", help="Format of a picture.", changes_results="derived"
    )
    quality: int | None = option(
        None,
        metavar="N",
        min=1,
        max=100,
        show_default=False,
        help="Of jpg and webp pictures; default 92.",
        changes_results="derived",
    )
    shard_size: int = option(
        1000,
        metavar="N",
        min=1,
        help="Records a tar or parquet file holds.",
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
    """How many images are made at once."""

    batch_size: int = option(
        8, metavar="N", min=1, help="Records worked on at once; changes speed, never results."
    )


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """The size of the images."""

    size: str = option(
        "512",
        metavar="PX|WxH",
        help="Longer side of the pictures; for a model width and height, or both.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class TextToImageOptions:
    """How a text-to-image model renders."""

    preset: Literal["lightning"] | None = option(
        None,
        show_default=False,
        help="Settings of a distilled --lora: 8 steps, no guidance.",
        changes_results="yes",
    )
    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="A LoRA of the model, .safetensors.",
        changes_results="derived",
        file="whole input",
    )
    lora_strength: float = option(
        1.0,
        "--lora-strength",
        metavar="S",
        help="How much of the LoRA is added.",
        changes_results="yes",
    )
    steps: int | None = option(
        None,
        metavar="N",
        min=1,
        max=1000,
        show_default=False,
        help="From noise to picture; default 40, or the preset's.",
        changes_results="yes",
    )
    guidance: float | None = option(
        None,
        metavar="G",
        min=0,
        show_default=False,
        help="How closely a model keeps to words; default: its own, Qwen-Image 4.",
        changes_results="yes",
    )
    negative: str | None = option(
        None,
        metavar="WORDS",
        show_default=False,
        help="Painted away from; default: nothing.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which images are rejected."""

    reject_blank: bool = option(
        False,
        "--reject-blank",
        help="Turn away pictures of all but one colour.",
        changes_results="if set",
    )
    reject_duplicates: bool = option(
        False,
        "--reject-duplicates",
        help="Turn away pictures like one of this output.",
        changes_results="if set",
    )
    nsfw: str | None = option(
        None,
        metavar="MODEL",
        show_default=False,
        help="Turn away what this classifier finds unsafe.",
        changes_results="if set",
    )
    max_nsfw: float = option(
        0.5,
        min=0,
        max=1,
        metavar="P",
        help="Probability of unsafe that is tolerated.",
        changes_results="derived",
    )
    min_style_score: float | None = option(
        None,
        min=-1,
        max=1,
        metavar="S",
        show_default=False,
        help="Least mean cosine with the style's other pictures.",
        changes_results="if set",
    )
    style_against: Literal["others", "reference"] = option(
        "others",
        help="With what --min-style-score compares; reference: style_file_name.",
        changes_results="derived",
    )
    style_model: str | None = option(
        None,
        metavar="NAME",
        show_default=False,
        help="Style encoder of --min-style-score; default: builtin.",
        changes_results="if set",
    )
    rejects: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Where rejected records go; default: rejects.jsonl in the output.",
        file="output",
    )


@dataclass(frozen=True, kw_only=True)
class TextToImageOffloadOptions:
    """What is kept off the GPU."""

    offload: Literal["model", "layers"] | None = option(
        None,
        metavar="model|layers",
        show_default=False,
        help="Keep off the GPU what is not at work: whole parts, or each layer on small cards.",
    )


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """Which style goes on what."""

    style: list[str] | None = option(
        None,
        metavar="PICTURE",
        help="Style reference; several are mixed.",
        show_default=False,
        changes_results="derived",
        file="whole input",
    )
    weight: list[float] | None = option(
        None,
        metavar="W",
        min=0,
        help="Share of each --style, in their order; default equal.",
        show_default=False,
        changes_results="derived",
    )
    content: str | None = option(
        None,
        metavar="PICTURE",
        help="The one picture to restyle.",
        show_default=False,
        file="input",
    )
    prompt: str | None = option(
        None,
        metavar="WORDS",
        show_default=False,
        help="What to paint; needs a backend that paints from words.",
    )
    size: str | None = option(
        None,
        metavar="PX|WxH",
        show_default=False,
        help="Longer side of the result, or FLUX's width and height; default: the content"
        " picture's, for FLUX 512 or as trained.",
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
        help="A picture (one result), - for a PNG on stdout, or a directory.",
        show_default=False,
        file="output",
    )


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """The adapter that makes FLUX see a reference."""

    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="MegaStyle's adapter for FLUX, .safetensors.",
        changes_results="derived",
        file="whole input",
    )
    lora_strength: float = option(
        1.0,
        "--lora-strength",
        metavar="S",
        help="How much of the LoRA is added.",
        changes_results="yes",
    )
    to: Literal["official", "diffsynth", "diffusers", "peft"] | None = option(
        None,
        metavar="FORM",
        show_default=False,
        help="Paint nothing: write --lora as -o FILE.safetensors with the keys of official,"
        " diffsynth, diffusers or peft.",
    )


@dataclass(frozen=True, kw_only=True)
class FluxOptions:
    """How FLUX paints."""

    steps: int = option(
        30,
        metavar="N",
        min=1,
        max=1000,
        help="Of FLUX from noise to picture.",
        changes_results="yes",
    )
    guidance: float = option(
        3.5,
        metavar="G",
        min=0,
        help="How closely FLUX is told to keep to words.",
        changes_results="yes",
    )
    content_strength: float = option(
        0.0,
        metavar="S",
        min=0,
        max=1,
        help="How much of the content picture FLUX starts from; 0: only from words.",
        changes_results="yes",
    )
    keep_aspect: bool = option(
        False,
        "--keep-aspect",
        help="Cut references to shape; FLUX was taught to squash.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class FluxOffloadOptions:
    """What is kept off the GPU."""

    offload: Literal["modulation", "model", "layers"] | None = option(
        None,
        metavar="modulation|model|layers",
        show_default=False,
        help="Keep off the GPU a quarter of FLUX that is known before the first step; with it"
        " whole parts not at work; or each layer.",
    )


@dataclass(frozen=True, kw_only=True)
class FluxPresetOptions:
    """What is given up for speed."""

    preset: Literal["fast-cache"] | None = option(
        None,
        metavar="fast-cache",
        show_default=False,
        help="Faster pictures that are not quite the same.",
        changes_results="yes",
    )
