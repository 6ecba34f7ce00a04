"""The table of commands, and `main`: every error becomes one sentence and an exit code."""

import functools
import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from megastyle_cli import __version__
from megastyle_cli.core.errors import (
    DISK_FULL,
    DONE,
    INTERRUPTED,
    UNEXPECTED,
    USAGE,
    BadRecord,
    MegastyleError,
)
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.limits import DEFAULT_MAX_ITEM_SIZE, set_max_item_size
from megastyle_cli.core.printable import printable
from megastyle_cli.runner.signals import exit_on_interrupt, interruption, raise_on_interrupt

# In pipeline order: name -> first sentence of its help. The module is named like the command.
COMMANDS = {
    "caption": "Describe the style and content of images.",
    "dedup": "Remove exact, near and semantic duplicates.",
    "cluster": "Group records by style and draw a balanced sample.",
    "pair": "Combine styles with contents.",
    "synth": "Render pairs into images.",
    "train-encoder": "Train a style encoder.",
    "train-flux": "Train a style-reference LoRA for FLUX.",
    "retrieve": "Search images by style.",
    "transfer": "Apply the style of reference images to an image, a folder or a prompt.",
    "eval": "Score styles, retrieval and diversity.",
}
TOOLS = {
    "doctor": "Check this machine: packages, extras, GPU, caches and models.",
    "completion": "Print a shell completion script.",
}
HELP = """Describe, deduplicate, cluster, pair, render, learn, find, transfer, measure image style.

Each command reads and writes JSON lines and picture folders, so that they pipe into each other:

  megastyle caption imgs/ | megastyle dedup | megastyle cluster -o styles.jsonl
  megastyle transfer --style great_wave.jpg --content cat.jpg -o cat_wave.png
"""


def _keep_example_lines(text: str) -> str:
    """Help text whose indented paragraphs (examples) keep their lines, by typer's mark."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(f"\b\n{p}" if p.startswith("  ") else p for p in paragraphs)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"megastyle {__version__}\n")
        raise typer.Exit()


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    pass


def build(command: str) -> typer.Typer:
    """The command line, of which only `command` has its options; `completion` gets them all.

    Importing all commands and making typer's options of them would double what starting costs.
    """
    built = typer.Typer(
        name="megastyle",
        help=_keep_example_lines(HELP),
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    built.callback()(_root)
    for name, summary in (*COMMANDS.items(), *TOOLS.items()):
        if command in (name, "completion"):
            from megastyle_cli.cli.command_line import grouped

            module = _command_module(name)
            main = _with_exit_codes(grouped(module.main))
            built.command(name, help=_keep_example_lines(module.__doc__ or summary))(main)
        else:
            built.command(name, help=summary)(_not_called)
    return built


def _not_called() -> None:
    pass


def _command_module(name: str) -> Any:
    try:
        return import_module(f"megastyle_cli.commands.{name.replace('-', '_')}")
    except ModuleNotFoundError as missing:
        if missing.name != "megastyle_cli.commands":
            raise
        sys.exit(
            "error: this folder's megastyle_cli has no commands beside it: start from another"
            " folder, or install the checkout with: pip install -e ."
        )


def _with_exit_codes(main: Callable[..., int | None]) -> Callable[..., None]:
    """`main`, with every error turned into one sentence and the contract's exit code."""

    @functools.wraps(main)
    def ended(*args: Any, **options: Any) -> None:
        raise_on_interrupt()
        level = int(options.get("verbose") or 0)
        _configure_logging(level, bool(options.get("quiet")))
        try:
            _check_no_nan(options)
            set_max_item_size(str(options.get("max_item_size", DEFAULT_MAX_ITEM_SIZE)))
            code = main(*args, **options) or DONE
            sys.stdout.flush()
        except MegastyleError as error:
            code = _print_error(error.message, error.hint, error.exit_code)
        except BadRecord as bad:  # outside of any record: a picture named by a flag
            code = _print_error(bad.message, "", USAGE)
        except BrokenPipeError:
            _discard_stdout()
            code = DONE  # the reader had enough: `megastyle ... | head` is a success
        except KeyboardInterrupt:
            code = _print_interrupted(options)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            code = _print_error(f"{error.filename}: {(error.strerror or 'no').lower()}", "", USAGE)
        except OSError as error:
            _discard_stdout()
            about = f"{error.filename}: " if error.filename else ""
            hint = ""
            if error.errno in DISK_FULL:
                hint = "make room and " + (
                    "go on with --resume" if _can_resume(options) else "run it again"
                )
            code = _print_error(
                f"{about}{(error.strerror or str(error)).lower()}", hint, UNEXPECTED
            )
        except typer.Exit:
            raise
        except Exception as error:
            if interruption(error) is None:
                code = _print_unexpected(error)
            else:
                code = _print_interrupted(options)
        exit_on_interrupt()
        raise typer.Exit(code)

    return ended


def _print_interrupted(options: dict[str, Any]) -> int:
    hint = "what is done stays, --resume goes on" if _can_resume(options) else ""
    return _print_error("interrupted", hint, INTERRUPTED)


def _print_unexpected(error: Exception) -> int:
    import logging

    logging.getLogger(__name__).debug("unexpected", exc_info=error)
    sentence = f"unexpected {type(error).__name__}: {error}"
    return _print_error(sentence, "-vv shows where; please report it", UNEXPECTED)


def _can_resume(options: dict[str, Any]) -> bool:
    """Whether --resume would continue the output: not a stream, a summary, one image or a LoRA."""
    from megastyle_cli.io.formats import JSON_LINES, WRITTEN_PICTURES

    output = str(options.get("output"))
    suffixes = (*WRITTEN_PICTURES, *JSON_LINES.compressions, ".safetensors")
    is_whole = options.get("each") is False or any(map(options.get, ("prototype", "prototype_by")))
    is_one = output == "-" or is_stream(output) or output.lower().endswith(suffixes)
    return "resume" in options and not is_whole and not is_one


def _check_no_nan(options: dict[str, Any]) -> None:
    for name, value in options.items():
        numbers = value if isinstance(value, list) else [value]
        if any(number != number for number in numbers):
            raise MegastyleError(f"--{name.replace('_', '-')} is not a number", hint="give one")


def _print_error(sentence: str, hint: str, code: int) -> int:
    colour = "FORCE_COLOR" in os.environ or (
        sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )
    word = "\033[31merror:\033[0m" if colour else "error:"
    message = printable(f"{sentence}{': ' + hint if hint else ''}")
    sys.stderr.write(f"{word} {message}\n")
    return code


def _discard_stdout() -> None:
    # The interpreter flushes stdout once more at exit, and must not fail a second time.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _configure_logging(verbose: int, quiet: bool) -> None:
    import logging
    import warnings

    log = logging.getLogger("megastyle_cli")
    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    if os.environ.get("RANK", "0") != "0":
        level = logging.ERROR
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"

    class Printable(logging.Formatter):
        """A line for each message, and tracebacks; nothing in them steers a terminal."""

        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
            return printable(super().formatMessage(record))

        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record), keep="\n\t")

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Printable(form))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
    if not verbose:
        warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        # diffusers imports these where they are installed, and they log what this machine lacks
        for name in ("torchao", "bitsandbytes", "torch.utils._pytree"):
            logging.getLogger(name).setLevel(logging.ERROR)


def main() -> None:
    """The console script and `python -m megastyle_cli`."""
    _open_closed_streams()
    # model libraries create hundreds of thousands of objects while loading and free none of them:
    # collecting garbage at every 700th takes a seventh of the loading time
    gc.set_threshold(10_000)
    # the parser quotes an unknown flag as it is
    sys.argv[1:] = [_printable_flag(word) for word in sys.argv[1:]]
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        build(command)()
    except (
        OSError
    ) as error:  # not of a command, whose errors are handled above: help to a full disk
        _discard_stdout()
        sys.exit(_print_error((error.strerror or str(error)).lower(), "", UNEXPECTED))
    finally:
        gc.freeze()  # the process ends: no need to look through every object once more


def _printable_flag(word: str) -> str:
    name, equals, value = word.partition("=")
    return printable(name, keep="\n\t") + equals + value if word.startswith("--") else word


def _open_closed_streams() -> None:
    """Opens standard streams that the caller closed (`>&-`), so that using them is an error.

    Otherwise the next opened file would take their number, and messages would be written into it.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
