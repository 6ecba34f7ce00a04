"""The two levels of help: one screen for -h, everything for --help."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import TextWrapper

from megastyle_cli.cli.parameters import Parameter
from megastyle_cli.core.option import HEADINGS

MAX_WIDTH = 100
MAX_COLUMN = 30  # where the texts of options begin, at the latest
FEW_EXAMPLES = 3  # on one screen
FIXED_SPACE = "\xa0"  # where no line ends

HELP_OPTIONS = (
    Parameter(field="short_help", names=("-h",), help="Show the common options on one screen."),
    Parameter(field="full_help", names=("--help",), help="Show every option."),
)


@dataclass(frozen=True, kw_only=True)
class CommandText:
    """The parts of a command's docstring: a sentence, examples, and the paragraphs after them."""

    sentence: str
    examples: tuple[str, ...]  # each with its indentation; a long one has several lines
    paragraphs: tuple[str, ...]


def described(docstring: str) -> CommandText:
    """The parts of a docstring: indented lines are examples, unless deeper ones continue them."""
    paragraphs: list[str] = []
    examples: list[str] = []
    for paragraph in docstring.strip().split("\n\n"):
        words = [line for line in paragraph.splitlines() if not line.startswith("  ")]
        if words not in ([], ["Examples:"]):
            paragraphs.append(" ".join(words))
        for line in paragraph.splitlines():
            if line.startswith("    ") and examples:
                examples[-1] += f"\n{line}"
            elif line.startswith("  "):
                examples.append(line)
    sentence, *others = paragraphs
    return CommandText(sentence=sentence, examples=tuple(examples), paragraphs=tuple(others))


def terminal_width() -> int:
    """The columns of the terminal, or COLUMNS, as far as lines are easy to read; 80 if unknown."""
    return max(40, min(MAX_WIDTH, shutil.get_terminal_size().columns))


def short_help(
    name: str, description: CommandText, parameters: Sequence[Parameter], width: int
) -> str:
    """One screen: the sentence, some examples, the options that people use, or all of a few."""
    common = [p for p in parameters if p.option.is_common] or parameters
    count = sum(bool(parameter.names) for parameter in parameters)
    rest = "More:" if common is parameters else f"All {count} options:"
    lines = [
        *_wrapped(description.sentence, width),
        "",
        *(_fitted(example, width) for example in description.examples[:FEW_EXAMPLES]),
        "",
        *(line for section in _sections(common, width, is_short=True) for line in section),
        f"{rest} megastyle {name} --help",
    ]
    return "\n".join(lines) + "\n"


def full_help(
    name: str, description: CommandText, parameters: Sequence[Parameter], width: int
) -> str:
    """Everything: the usage, all examples and paragraphs, every option, where to read more."""
    blocks = [
        _wrapped(description.sentence, width),
        [f"Usage: {usage(name, parameters)}"],
        [_fitted(example, width) for example in description.examples],
        *(_wrapped(paragraph, width) for paragraph in description.paragraphs),
        *_sections([*parameters, *HELP_OPTIONS], width),
        [f"Manual: docs/commands/{name}.md"],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def usage(name: str, parameters: Sequence[Parameter]) -> str:
    """The usage line: `megastyle synth [INPUT...] --output DIR [OPTIONS]`."""
    arguments = [p.value if p.is_required else f"[{p.value}]" for p in parameters if not p.names]
    required = [f"{p} {p.value}" for p in parameters if p.names and p.is_required]
    return " ".join(["megastyle", name, *arguments, *required, "[OPTIONS]"])


def root_help(sentence: str, groups: Mapping[str, Mapping[str, str]], width: int) -> str:
    """The help of the whole program: its commands by section."""
    column = 4 + max(len(name) for commands in groups.values() for name in commands)
    lines = [*_wrapped(sentence, width), "", "Usage: megastyle COMMAND [INPUT...] [OPTIONS]", ""]
    for heading, commands in groups.items():
        lines.append(heading)
        for name, summary in commands.items():
            lines += _row(f"  {name}", summary, column, width)
    lines += [
        "",
        "Start with:  megastyle transfer --style great-wave.jpg cat.jpg -o cat-wave.png",
        "Help:        megastyle COMMAND -h (one screen), --help (everything), docs/",
    ]
    return "\n".join(lines) + "\n"


def _fitted(example: str, width: int) -> str:
    """Wraps a command line that is too long for the terminal before an option, with a backslash."""
    lines = [example]
    while len(lines[-1]) > width:
        found = re.finditer(r"(?<=\S) (?=-|\| |> )", lines[-1])
        ends = [each.start() for each in found if lines[-1].count("'", 0, each.start()) % 2 == 0]
        end = max((end for end in ends if end + 2 <= width), default=0)
        if not end:
            break
        lines[-1:] = [f"{lines[-1][:end]} \\", f"      {lines[-1][end + 1 :]}"]
    return "\n".join(lines)


def by_heading(parameters: Sequence[Parameter]) -> dict[str, list[Parameter]]:
    """The options under each heading: a command's own headings follow the input.

    First come arguments, what is required, the output and what is common; then declared order.
    """
    parameters = sorted(parameters, key=_rank)
    own = dict.fromkeys(p.heading for p in parameters if p.heading not in HEADINGS)
    order = (HEADINGS[0], *own, *HEADINGS[1:])
    found = {heading: [p for p in parameters if p.heading == heading] for heading in order}
    return {heading: options for heading, options in found.items() if options}


def _rank(parameter: Parameter) -> tuple[bool, ...]:
    is_first = parameter.is_required or "-o" in parameter.names
    return bool(parameter.names), not is_first, not parameter.option.is_common


def _sections(
    parameters: Sequence[Parameter], width: int, *, is_short: bool = False
) -> Iterator[list[str]]:
    """The lines under each heading, the heading first; short: one sentence, without ranges."""
    limit = min(MAX_COLUMN, width * 2 // 5)
    widths = [len(_left(parameter)) + 2 for parameter in parameters]
    column = max((width for width in widths if width <= limit), default=8)
    for heading, options in by_heading(parameters).items():
        rows = (_row(_left(p), _right(p, is_short), column, width) for p in options)
        yield [heading, *(line for row in rows for line in row)]


def _left(parameter: Parameter) -> str:
    """`  -o, --output PATH`, `      --near, --no-near` or `  INPUT...`."""
    if not parameter.names:
        return f"  {parameter.value}"
    names = ", ".join(parameter.spellings)
    indent = "      " if names.startswith("--") else "  "
    return f"{indent}{names} {parameter.value}".rstrip()


def _right(parameter: Parameter, is_short: bool) -> str:
    """The help text, and before its last stop whether it is required, or its default."""
    notes = [shown_default(parameter)]
    if not is_short and None not in (parameter.option.min, parameter.option.max):
        limits = parameter.range().removeprefix(" from ")
        notes += [] if limits in parameter.help else [limits]
    note = "; ".join(filter(None, notes)).replace(" ", FIXED_SPACE)
    sentences = re.split(r"(?<=\.) (?=[A-Z])", parameter.help)
    whole = sentences[0] if is_short else parameter.help
    text = whole.removesuffix(".")
    stop = whole[len(text) :]
    required = " (required)" if parameter.is_required else ""
    return text + required + (f" [{note}]" if note else "") + stop


def shown_default(parameter: Parameter) -> str:
    """The default as a word, "" if there is none to show."""
    value = parameter.default
    if not parameter.option.show_default or parameter.is_required or value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else ""
    return str(value)


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines; options and names with dashes stay whole."""
    lines = TextWrapper(width, break_on_hyphens=False, break_long_words=False).wrap(text)
    return [line.replace(FIXED_SPACE, " ") for line in lines]


def _row(left: str, right: str, column: int, width: int) -> list[str]:
    """The two columns; the text begins on a line of its own if what is left of it is too long."""
    texts = _wrapped(right, width - column) or [""]
    if len(left) + 2 > column:
        return [left, *(" " * column + text for text in texts)]
    first, *others = texts
    return [f"{left:{column}}{first}", *(" " * column + text for text in others)]
