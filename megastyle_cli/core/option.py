"""Command-line options declared once: as fields of frozen dataclasses, with their help text.

A group of options is a frozen keyword-only dataclass whose fields come from `option`. Its fields
become the flags of a command (`cli/parameters.py`), the object is what the code works with, and
what identifies a run is derived from it (`result_options`). A group's class variable `HEADING`, one
of `HEADINGS`, says under which heading of the help its options stand. Standard library only, so
that a stage can declare its own options.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal

# How an option takes part in what identifies a run: not at all; by its value; by its value if that
# is not its default (for options added later: runs made before keep their key); or through a value
# that the command derives from it and records itself, such as the hash of a file it names.
ChangesResults = Literal["no", "yes", "if set", "derived"]

# What an option names: records to read, which may be a stream; a picture or weights, which are read
# whole or more than once; a file or stream to write; a folder to write; a folder of cached results.
FileUse = Literal["", "input", "whole input", "output", "output folder", "cache"]

# The headings of a command's help, in their order. A command may have one of its own besides.
HEADINGS = ("Input", "Output", "Method", "Model", "Running")

_KEY = "megastyle_option"


@dataclass(frozen=True, kw_only=True)
class Option:
    """How one field appears on the command line, and whether it changes results."""

    help: str = ""
    help_in: Mapping[str, str] = field(default_factory=dict)  # command -> its own help instead
    heading: str = ""  # default: the `HEADING` of the group
    is_common: bool = False  # -h shows it, too; --help shows every option
    less_common_in: tuple[str, ...] = ()  # commands whose -h does not show it all the same
    is_required: bool = False  # for the help: the command itself refuses to run without it
    flags: tuple[str, ...] = ()  # default: --name-of-the-field
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    show_default: bool = True
    is_argument: bool = False
    is_counter: bool = False
    file: FileUse = ""
    changes_results: ChangesResults = "no"
    recorded_as: str = ""  # its name in run.json; default: the field's


def option(default: Any = MISSING, *flags: str, **how: Any) -> Any:
    """A dataclass field that is a command-line option; `how` are the fields of `Option`."""
    return field(default=default, metadata={_KEY: Option(flags=flags, **how)})


def declared_options(group: Any) -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a group of options, or of its class, in order, each with its declaration."""
    for declared in fields(group):
        if _KEY in declared.metadata:
            yield declared, declared.metadata[_KEY]


def option_names(*groups: Any) -> frozenset[str]:
    """The names of the fields of groups of options, or of their classes."""
    return frozenset(declared.name for group in groups for declared, _ in declared_options(group))


def result_options(*groups: Any) -> dict[str, Any]:
    """The options of `groups` that can change a result, by the name a run records them under."""
    found: dict[str, Any] = {}
    for group in groups:
        for declared, how in declared_options(group):
            value = getattr(group, declared.name)
            is_set = value != declared.default
            if how.changes_results == "yes" or (how.changes_results == "if set" and is_set):
                found[how.recorded_as or declared.name] = value
    return found
