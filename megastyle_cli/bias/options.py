"""The options of `eval` about what styles bring into pictures, and what is lost of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class BiasOptions:
    """Measures of styles instead of images."""

    HEADING: ClassVar[str] = "Association and loss"

    bias: bool = option(
        False,
        "--bias",
        help="Measure which objects a style brings into images that do not mention them; needs"
        " --control, and --text-model or --base-url.",
        changes_results="derived",
    )
    control: list[str] | None = option(
        None,
        metavar="STYLE",
        help="Style that --bias compares the others with, as under --label; repeatable, give eight"
        " or more.",
        show_default=False,
        changes_results="derived",
    )
    nouns: Path | None = option(
        None,
        metavar="FILE",
        help="Objects that --bias looks for, one per line (default: a list of 250).",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    floor: list[str] | None = option(
        None,
        metavar="PATH",
        help="Photographs restyled in the same styles, which cannot show these objects: the floor"
        " of --bias; repeatable.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    originals: list[str] | None = option(
        None,
        metavar="PATH",
        help="Images that the input was described from and rendered again: measure how much of"
        " each style is kept; repeatable.",
        show_default=False,
        changes_results="derived",
        file="input",
    )
    frequency_key: str | None = option(
        None,
        metavar="KEY",
        help="Record key of --originals with the number of times that a style occurs: shows"
        " whether rare styles lose more.",
        show_default=False,
        changes_results="derived",
    )


def check_bias_options(
    options: BiasOptions, text_model: str | None = None, base_url: str | None = None
) -> None:
    """Raises MegastyleError for options that need or exclude another one."""
    if base_url and not options.bias:
        raise MegastyleError(
            "--base-url is for --bias and --protocol vlm-leak", hint="add one of them"
        )
    if base_url and text_model:
        raise MegastyleError(
            "--bias takes a model on a server or one that compares images with texts",
            hint="give --base-url or --text-model",
        )
    if options.bias and options.originals:
        raise MegastyleError("--bias and --originals are two measures", hint="give one of them")
    if (options.control or options.nouns or options.floor) and not options.bias:
        raise MegastyleError("--control, --nouns and --floor belong to --bias", hint="add --bias")
    if options.frequency_key and not options.originals:
        raise MegastyleError("--frequency-key is a key of --originals", hint="add --originals PATH")
