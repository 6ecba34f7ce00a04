"""The commands in pipeline order, and `main`: errors become one sentence and an exit code."""

import errno
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
    DONE,
    INTERRUPTED,
    UNEXPECTED,
    USAGE,
    BadRecord,
    MegastyleError,
)

COMMANDS = (
    *("caption", "dedup", "cluster", "pair", "synth"),
    *("train-encoder", "train-flux", "retrieve", "transfer", "eval"),
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on a disk, or in what is allowed of it
ONE_FILE = (".png", ".jpg", ".jpeg", ".webp", ".safetensors")  # outputs that are not gone on with
HELP = """Describe, deduplicate, cluster, pair, render, learn, find, transfer, measure image style.

Each command reads and writes JSON lines and picture folders, so that they pipe into each other:

  megastyle caption imgs/ | megastyle dedup | megastyle cluster -o styles.jsonl
  megastyle transfer --style great_wave.jpg --content cat.jpg -o cat_wave.png
"""


def _unwrapped(text: str) -> str:
    """Help text whose indented paragraphs (examples) keep their lines: \\b says so to typer."""
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


def build(asked: str | None = None) -> typer.Typer:
    """The command line; with `asked`, only that command has its options (completion needs all).

    typer makes the options of all commands before it looks at the first word, which would be a
    third of what help costs.
    """
    built = typer.Typer(
        name="megastyle",
        help=_unwrapped(HELP),
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    built.callback()(_root)
    for name in (*COMMANDS, "completion"):
        module = _command_module(name)
        main = module.main if asked in (None, name, "completion") else _unasked
        built.command(name, help=_unwrapped(module.__doc__))(_guarded(main))
    return built


def _unasked() -> None:
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


def _guarded(main: Callable[..., int | None]) -> Callable[..., None]:
    """`main` with its ways to end turned into the contract's exit codes."""

    @functools.wraps(main)
    def guarded(*args: Any, **options: Any) -> None:
        level = int(options.get("verbose") or 0)
        _set_up_words(level, bool(options.get("quiet")))
        try:
            _refuse_nan(options)
            code = main(*args, **options) or DONE
            sys.stdout.flush()
        except MegastyleError as error:
            code = _tell(error.sentence, error.hint, error.exit_code)
        except BadRecord as bad:  # outside of any record: a picture named by a flag
            code = _tell(bad.message, "", USAGE)
        except BrokenPipeError:
            _silence_stdout()
            code = DONE  # the reader had enough: `megastyle ... | head` is a success
        except KeyboardInterrupt:
            hint = "what is done stays, --resume goes on" if _can_go_on(options) else ""
            code = _tell("interrupted", hint, INTERRUPTED)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            code = _tell(f"{error.filename}: {(error.strerror or 'no').lower()}", "", USAGE)
        except OSError as error:
            _silence_stdout()
            about = f"{error.filename}: " if error.filename else ""
            hint = ""
            if error.errno in FULL:
                hint = "make room and " + (
                    "go on with --resume" if _can_go_on(options) else "run it again"
                )
            code = _tell(f"{about}{(error.strerror or str(error)).lower()}", hint, UNEXPECTED)
        except typer.Exit:
            raise
        except Exception as error:
            import logging

            logging.getLogger(__name__).debug("unexpected", exc_info=True)
            sentence = f"unexpected {type(error).__name__}: {error}"
            code = _tell(sentence, "-vv shows where; please report it", UNEXPECTED)
        raise typer.Exit(code)

    return guarded


def _can_go_on(options: dict[str, Any]) -> bool:
    """Whether --resume would: not with a stream, a whole result, or one picture or LoRA."""
    output = str(options.get("output"))
    is_whole = options.get("each") is False or any(map(options.get, ("prototype", "prototype_by")))
    is_one = output == "-" or output.lower().endswith(ONE_FILE)
    return "resume" in options and not is_whole and not is_one


def _refuse_nan(options: dict[str, Any]) -> None:
    for name, value in options.items():
        numbers = value if isinstance(value, list) else [value]
        if any(number != number for number in numbers):
            raise MegastyleError(f"--{name.replace('_', '-')} is not a number", hint="give one")


def _tell(sentence: str, hint: str, code: int) -> int:
    colour = "FORCE_COLOR" in os.environ or (
        sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )
    word = "\033[31merror:\033[0m" if colour else "error:"
    sys.stderr.write(f"{word} {sentence}{': ' + hint if hint else ''}\n")
    return code


def _silence_stdout() -> None:
    # The interpreter flushes stdout once more at exit, and must not fail a second time.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _set_up_words(verbose: int, quiet: bool) -> None:
    import logging
    import warnings

    log = logging.getLogger("megastyle_cli")
    level = (
        logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    )
    if os.environ.get("RANK", "0") != "0":
        level = logging.ERROR
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
    if not verbose:
        warnings.simplefilter("ignore")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        # diffusers opens them where they are installed, and they tell what this machine lacks
        for name in ("torchao", "bitsandbytes", "torch.utils._pytree"):
            logging.getLogger(name).setLevel(logging.ERROR)


def main() -> None:
    """The console script and `python -m megastyle_cli`."""
    _occupy_closed_streams()
    # a model's libraries make objects by the hundred thousand, none of them garbage: looking for
    # some at every 700 is a seventh of the time they take to load
    gc.set_threshold(10_000)
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        build(asked)()
    except OSError as error:  # not a command's own, which are told there: help to a full disk
        _silence_stdout()
        sys.exit(_tell((error.strerror or str(error)).lower(), "", UNEXPECTED))
    finally:
        gc.freeze()  # the system takes it all back; Python would first look through every object


def _occupy_closed_streams() -> None:
    """Standard streams closed by the caller (`>&-`) are opened so that using them is an error.

    Else the next file opened would take their number, and words meant for people would go there.
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


app = build()
