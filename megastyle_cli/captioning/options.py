"""The options of `caption`: what to describe, and how to prompt a model or a server."""

from dataclasses import dataclass
from typing import ClassVar

from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """What is described."""

    HEADING: ClassVar[str] = "Method"

    kind: CaptionKind = option(
        "both", help="What to describe.", is_common=True, changes_results="yes"
    )
    schema: StyleSchema = option(
        "v2",
        help="Style attributes and template: v1 (MegaStyle) or v2 (MegaStyle++).",
        is_common=True,
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    """Options of the builtin captioner."""

    HEADING: ClassVar[str] = "Method"

    min_confidence: float = option(
        0.5,
        min=0,
        max=1,
        metavar="P",
        help="Minimum probability for a content the builtin captioner recognizes.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class PromptingOptions:
    """How a vision-language model is prompted, locally or on a server."""

    HEADING: ClassVar[str] = "Method"

    per_attribute: bool = option(
        False,
        "--per-attribute",
        help="Ask one question per style attribute, as in the paper (needs --schema v2).",
        changes_results="yes",
    )
    attempts: int = option(
        3,
        min=1,
        max=20,
        metavar="N",
        help="Maximum number of attempts per question; an invalid answer is asked again.",
        changes_results="yes",
    )
    judge: bool = option(
        False,
        "--judge",
        help="Judge existing captions instead: whether they are relevant or vague.",
        is_common=True,
        changes_results="yes",
    )
    show_instructions: bool = option(
        False, "--show-instructions", help="Print the instructions that a model is given, and exit."
    )


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The server, its concurrency, timeouts and retries."""

    HEADING: ClassVar[str] = "Model"

    base_url: str | None = option(
        None,
        metavar="URL",
        show_default=False,
        help="OpenAI-compatible server, such as http://localhost:8000/v1 (key: OPENAI_API_KEY).",
        help_in={
            "eval": "With --bias (in place of --text-model; --model names the model) or --protocol"
            " vlm-leak: ask a vision-language model on this server, as caption does."
        },
        is_common=True,
        less_common_in=("eval",),
    )
    concurrency: int = option(
        64,
        min=1,
        max=1024,
        metavar="N",
        help="Concurrent requests to the server.",
        is_common=True,
        less_common_in=("eval",),
    )
    timeout: float = option(120.0, min=0.1, metavar="S", help="Timeout of a request, in seconds.")
    retries: int = option(
        6, min=0, max=20, metavar="N", help="Maximum number of retries of a failed request."
    )


@dataclass(frozen=True, kw_only=True)
class ShownSizeOptions:
    """The size of the images that a model is given."""

    HEADING: ClassVar[str] = "Model"

    max_side: int = option(
        512,
        min=32,
        metavar="PX",
        help="Downscale images to this longer side before showing them to the model.",
        changes_results="yes",
    )
