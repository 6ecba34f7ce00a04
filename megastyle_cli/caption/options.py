"""The options of `caption`: what is described, and how a model or a server is asked."""

from dataclasses import dataclass

from megastyle_cli.core.choices import CaptionKind, StyleSchema
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """What is described."""

    kind: CaptionKind = option("both", help="What to describe.", changes_results="yes")
    schema: StyleSchema = option(
        "v2",
        help="Sentence template: v1 (MegaStyle) or v2 (MegaStyle++).",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    """Of the builtin captioner."""

    min_confidence: float = option(
        0.5,
        min=0,
        max=1,
        metavar="P",
        help="Least probability to name a content.",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class PromptingOptions:
    """How a vision-language model is asked, here or on a server."""

    per_attribute: bool = option(
        False,
        "--per-attribute",
        help="v2: ask for each attribute alone (paper).",
        changes_results="yes",
    )
    attempts: int = option(
        3,
        min=1,
        max=20,
        metavar="N",
        help="Times a question is asked at most.",
        changes_results="yes",
    )
    judge: bool = option(
        False,
        "--judge",
        help="Judge captions instead: is each relevant, is it vague?",
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Which server is asked, and how patiently."""

    base_url: str | None = option(
        None, metavar="URL", show_default=False, help="A server's address, with its /v1 (openai)."
    )
    concurrency: int = option(64, min=1, max=1024, metavar="N", help="Requests in flight (openai).")
    timeout: float = option(
        120.0, min=0.1, metavar="S", help="Seconds a request may take (openai)."
    )
    retries: int = option(6, min=0, max=20, metavar="N", help="Of a request that fails (openai).")


@dataclass(frozen=True, kw_only=True)
class ShownSizeOptions:
    """How large an image a model is shown."""

    max_side: int = option(
        512, min=32, metavar="PX", help="Longer side a model is shown.", changes_results="yes"
    )
