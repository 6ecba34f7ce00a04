"""What the documents take from the command tree: tables of commands and options, man pages.

`python -m tests.contract.test_docs` writes it (`make docs`).
"""

import re
import sys
from collections import Counter
from pathlib import Path
from textwrap import fill

from megastyle_cli.app import COMMANDS, TOOLS
from megastyle_cli.core.style import ATTRIBUTE_KEYS
from megastyle_cli.io.formats import ACCEPTED, FORMATS
from tests.contract import man_page
from tests.contract.manuals import Flag, manuals
from tests.contract.tree import ROOT

sys.path.insert(0, str(ROOT))  # as benchmarks are run from there

from benchmarks import how_fast, plan, preemption

# command -> what it reads, what it writes
FLOW = {
    "caption": ("images", "records with `style`, `content`, `style_*`"),
    "dedup": ("records", "the records that are kept"),
    "cluster": ("records", "records with `cluster`, or a balanced sample of them"),
    "pair": ("style records, content records", "pair records"),
    "synth": ("pair records", "a folder of images with `metadata.jsonl`"),
    "train-encoder": (
        "images of known style",
        "a folder: the encoder in two layouts, checkpoints, metrics",
    ),
    "train-flux": (
        "images of known style and content, or pairs",
        "a folder: the LoRA in two forms, or a whole model, checkpoints, samples, metrics",
    ),
    "retrieve": ("images", "records with `neighbors`"),
    "transfer": ("images", "an image, or a folder of them with `metadata.jsonl`"),
    "eval": ("images, rendered or scored", "one summary, a benchmark, or scored records"),
}
# what an input that is no file of records is read as
FOLDER = (
    "any of the files below; its `metadata.jsonl` (also in sub-folders, and as `metadata.csv` or"
    " `.parquet`); else its parts `part-NNNNN-of-NNNNN`; else the images, found recursively, sorted"
    " by path"
)
STDIN = "JSON lines from stdin; paths with `--paths`, or NUL-separated with `-0`"
SHARED_BY = 3  # an option is in the table of shared ones if at least so many commands have it

Row = tuple[str, ...]


# Markdown


def table(head: Row, rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        head,
        ("---",) * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def commands_table(folder: str) -> str:
    """The commands in pipeline order, each with a link to its page, which is in `folder`."""
    rows = [
        (f"[`{name}`]({folder}{name}.md)", manuals()[name].summary, *FLOW[name])
        for name in COMMANDS
    ]
    return table(("command", "what it does", "reads", "writes"), rows)


def inputs() -> str:
    """The formats of inputs in a sentence, and a table of what each is read as."""
    files = [(", ".join(f"`{suffix}`" for suffix in row.suffixes), row.read_as) for row in FORMATS]
    rows = [("image", "one record"), ("folder", FOLDER), *files, ("`-`", STDIN)]
    sentence = fill(f"Inputs are {ACCEPTED} or `-` for stdin.", 100)
    return f"{sentence}\n\n{table(('input', 'is read as'), rows)}"


def attributes() -> str:
    """The keys of the attributes of a style in a sentence."""
    *others, last = (f"`{key}`" for key in ATTRIBUTE_KEYS)
    return fill(f"The attributes of a style are {', '.join(others)} and {last}.", 100) + "\n"


def shared_options() -> str:
    """The options that several commands have with one meaning: how spelled, what for, on which."""
    found: dict[Row, list[tuple[str, Flag]]] = {}
    for name in sorted(COMMANDS, key=lambda name: -len(_flags(name))):
        for flag in _flags(name):
            found.setdefault(flag.names, []).append((name, flag))
    rows = []
    for uses in found.values():
        help, count = Counter(flag.help for _, flag in uses).most_common(1)[0]
        if count >= SHARED_BY:
            flag = next(flag for _, flag in uses if flag.help == help)
            rows.append((spelled(flag), help, where({name for name, _ in uses})))
    return table(("option", "meaning", "on"), rows)


def _flags(name: str) -> list[Flag]:
    return [flag for flags in manuals()[name].sections.values() for flag in flags]


def spelled(flag: Flag) -> str:
    """A flag with its value, as code."""
    return f"`{' '.join([', '.join(flag.names), flag.value]).strip()}`"


def where(users: set[str]) -> str:
    """The commands that have a flag, in words."""
    others = [name for name in COMMANDS if name not in users]
    if not others:
        return "all"
    if len(others) < 3:
        return f"all but {', '.join(others)}"
    return ", ".join(name for name in COMMANDS if name in users)


def options_of(name: str) -> str:
    """The synopsis of a command and its options under their headings."""
    manual = manuals()[name]
    parts = [f"## Synopsis\n\n```text\n{manual.usage}\n```\n\n## Options\n"]
    for heading, flags in manual.sections.items():
        rows = [(spelled(flag), described(flag)) for flag in flags]
        title = f"### {heading}\n\n" if heading != "Options" else ""
        parts.append(title + table(("option", "meaning"), rows))
    return "\n".join(["", *parts, ""])


def described(flag: Flag) -> str:
    """What a flag means, whether it is required, and its default."""
    notes = ["Required."] if flag.is_required else []
    notes += [f"Default: `{flag.default}`."] if flag.default else []
    return " ".join([flag.help, *notes])


def stub(name: str) -> str:
    """A page for a command that has none: title, first sentence, and the marks."""
    return (
        f"# megastyle {name}\n\n{manuals()[name].summary}\n\n"
        "<!-- options: generated -->\n<!-- end -->\n"
    )


# Files


def generated_files() -> dict[Path, str]:
    """Every file with generated parts, and its text with these parts made anew."""
    docs = ROOT / "docs"
    parts = {
        ROOT / "README.md": {"commands": commands_table("docs/commands/")},
        docs / "commands" / "index.md": {
            "commands": commands_table(""),
            "shared": shared_options(),
        },
        docs / "formats.md": {"inputs": inputs(), "attributes": attributes()},
        docs / "how-fast.md": how_fast.tables(),
        docs / "scale.md": {**plan.tables(plan.Plan()), **preemption.tables()},
        **{
            docs / "commands" / f"{name}.md": {"options": options_of(name)}
            for name in (*COMMANDS, *TOOLS)
        },
    }
    pages = {ROOT / "share" / "man" / "man1" / name: text for name, text in man_pages().items()}
    plots = {docs / "images" / "preemption.svg": preemption.plot()}
    return {path: filled(path, made) for path, made in parts.items()} | pages | plots


def man_pages() -> dict[str, str]:
    """File name -> man page: one for the program, one for each command."""
    pages = {f"megastyle-{name}.1": man_page.of_command(m) for name, m in manuals().items()}
    return {"megastyle.1": man_page.of_program(list(manuals().values())), **pages}


def filled(path: Path, parts: dict[str, str]) -> str:
    """The text of a document with its generated parts made anew."""
    text = path.read_text() if path.exists() else stub(path.stem)
    for name, made in parts.items():
        between = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = between.subn(lambda found, made=made: found[1] + made + found[2], text)
        assert count == 1, f"{path.name} needs one pair of markers for {name}"
    return text
