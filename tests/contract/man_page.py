"""Man pages: the manual of a command in troff's man macros."""

import re

from megastyle_cli import __version__
from tests.contract.manuals import Flag, Manual

EXIT_CODES = (
    (0, "Done; also: nothing was left to do, or the reader of a pipe stopped reading."),
    (1, "A full disk, a device error or a bug."),
    (2, "Usage: a bad option, an output that exists, weights that do not fit."),
    (3, "Every record was tried, and more of them failed than --max-errors allows."),
    (75, "Stopped by SIGTERM or SIGUSR1; --resume continues."),
    (130, "Interrupted by Ctrl-C; --resume continues."),
)
ENVIRONMENT = (
    ("HF_HOME", "Folder of the models of the Hugging Face hub."),
    ("HF_HUB_OFFLINE", "1: only models that are already there."),
    ("OPENAI_API_KEY", "Key sent to the server of caption --base-url."),
    ("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "Proxies for that server."),
    ("CUDA_VISIBLE_DEVICES", "GPUs that may be used."),
    ("RAY_ADDRESS", "Cluster of --engine ray."),
    ("NO_COLOR, FORCE_COLOR", "Turn colour off, or on."),
)


def of_program(manuals: list[Manual]) -> str:
    """megastyle(1): what it is, its commands, exit codes, environment."""
    commands = "".join(
        f".TP\n.BR megastyle\\-{_text(m.name)} (1)\n{_text(m.summary)}\n" for m in manuals
    )
    return (
        _head("megastyle", "build, measure and use datasets of image style")
        + ".SH SYNOPSIS\n.B megastyle\n.I COMMAND\n[\\fIINPUT\\fR]... [\\fIOPTIONS\\fR]\n"
        + ".SH DESCRIPTION\n"
        + _text(
            "Each command reads and writes JSON lines and folders of images, so that commands"
            " pipe into each other. stdout carries records or one image, stderr carries words."
        )
        + f"\n.SH COMMANDS\n{commands}"
        + _exit_status()
        + ".SH ENVIRONMENT\n"
        + "".join(f".TP\n.B {_text(name)}\n{_text(what)}\n" for name, what in ENVIRONMENT)
    )


def of_command(manual: Manual) -> str:
    """megastyle-NAME(1): synopsis, description, examples, options by heading, exit codes."""
    text = "".join(f".PP\n{_lines(paragraph)}\n" for paragraph in manual.text)
    examples = "".join(f"{_text(line)}\n" for line in manual.examples)
    options = "".join(
        f".SS {_text(heading or 'Options')}\n{''.join(map(_flag, flags))}"
        for heading, flags in manual.sections.items()
    )
    return (
        _head(f"megastyle-{manual.name}", manual.summary)
        + f".SH SYNOPSIS\n{_text(manual.usage)}\n"
        + f".SH DESCRIPTION\n{_text(manual.summary)}\n{text}"
        + (f".SH EXAMPLES\n.EX\n{examples}.EE\n" if examples else "")
        + f".SH OPTIONS\n{options}"
        + _exit_status()
        + ".SH SEE ALSO\n.BR megastyle (1)\n"
    )


def _head(name: str, summary: str) -> str:
    title = f'.TH {_text(name.upper())} 1 "" "megastyle {__version__}" "megastyle manual"\n'
    short = summary[0].lower() + summary[1:].rstrip(".")
    return f"{title}.SH NAME\n{_text(name)} \\- {_text(short)}\n"


def _flag(flag: Flag) -> str:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in flag.names)
    value = f" \\fI{_text(flag.value)}\\fR" if flag.value else ""
    default = f" Default: {flag.default}." if flag.default else ""
    return f".TP\n{names}{value}\n{_text(flag.help + default)}\n"


def _exit_status() -> str:
    codes = "".join(f".TP\n.B {code}\n{_text(meaning)}\n" for code, meaning in EXIT_CODES)
    return f".SH EXIT STATUS\n{codes}"


def _lines(paragraph: str) -> str:
    return "\n".join(_text(line.strip()) for line in paragraph.splitlines())


def _text(text: str) -> str:
    """`text` as troff prints it: dashes are minus signs, and no line is a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)
