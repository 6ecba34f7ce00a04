"""The table of commands, and `main`: every error becomes one sentence and an exit code."""

import gc
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from megastyle_cli import __version__
from megastyle_cli.cli.command import Command, CommandGroup
from megastyle_cli.core.errors import (
    DISK_FULL,
    DONE,
    INTERRUPTED,
    UNEXPECTED,
    USAGE,
    BadRecord,
    MegastyleError,
    error_text,
)
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.limits import DEFAULT_MAX_ITEM_SIZE, set_max_item_size
from megastyle_cli.core.printable import printable
from megastyle_cli.runner.signals import exit_on_interrupt, interruption, raise_on_interrupt

# Name of each command and the first sentence of its help. Its module has the same name.
GROUPS = {
    "Data": {
        "caption": "Describe the style and content of images.",
        "dedup": "Remove exact, near and semantic duplicates.",
        "cluster": "Group records by style and draw a balanced sample.",
        "pair": "Combine styles with contents.",
        "synth": "Render pairs into images.",
    },
    "Models": {
        "train-encoder": "Train a style encoder.",
        "train-flux": "Train a style-reference LoRA for FLUX.",
    },
    "Use": {
        "transfer": "Apply the style of reference images to an image, a folder or a prompt.",
        "retrieve": "Search images by style.",
        "eval": "Score styles, retrieval and diversity.",
    },
    "Tools": {
        "ls": "List the records of inputs without opening images.",
        "status": "Show how far outputs are: parts done, running, stopped and missing.",
        "doctor": "Check this machine: packages, extras, GPU, caches and models.",
        "completion": "Print a shell completion script.",
    },
}
TOOLS = GROUPS["Tools"]
COMMANDS = {**GROUPS["Data"], **GROUPS["Models"], **GROUPS["Use"]}  # those that process data
SENTENCE = "megastyle: build, measure and use datasets of image style."


def build(command: str) -> CommandGroup:
    """The command line, of which only `command` can be called; with `completion`, all can.

    Importing all commands and building their parsers would double the start-up time.
    """
    built = [
        Command(name, module.__doc__ or summary, module.main, _exit_code)
        for name, summary in {**COMMANDS, **TOOLS}.items()
        if command in (name, "completion")
        for module in [_command_module(name)]
    ]
    return CommandGroup(SENTENCE, __version__, GROUPS, built)


def _command_module(name: str) -> Any:
    try:
        return import_module(f"megastyle_cli.commands.{name.replace('-', '_')}")
    except ModuleNotFoundError as missing:
        if missing.name != "megastyle_cli.commands":
            raise
        raise MegastyleError(
            "this folder's megastyle_cli has no commands beside it",
            hint="start from another folder, or install the checkout with: pip install -e .",
        ) from None


def _exit_code(call: Callable[[], int | None], options: Mapping[str, Any]) -> int:
    """The exit code of the contract after `call`, every error printed as one sentence."""
    try:
        raise_on_interrupt()
        _configure_logging(int(options.get("verbose") or 0), bool(options.get("quiet")))
        set_max_item_size(str(options.get("max_item_size", DEFAULT_MAX_ITEM_SIZE)))
        code = call() or DONE
        sys.stdout.flush()
    except MegastyleError as error:
        code = _print_error(error.message, error.hint, error.exit_code)
    except BadRecord as bad:  # outside of any record: a picture named by a flag
        code = _print_error(bad.message, "", USAGE)
    except BrokenPipeError:
        _discard_stdout()
        code = DONE  # the reader closed the pipe: `megastyle ... | head` is a success
    except KeyboardInterrupt:
        code = _print_interrupted(options)
    except PermissionError as error:
        code = _print_error(
            f"{error.filename}: permission denied",
            "check its permissions and those of its folder",
            USAGE,
        )
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        code = _print_error(f"{error.filename}: {(error.strerror or 'no').lower()}", "", USAGE)
    except OSError as error:
        _discard_stdout()
        about = f"{error.filename}: " if error.filename else ""
        hint = ""
        if error.errno in DISK_FULL:
            hint = "make room and " + (
                "continue with --resume" if _can_resume(options) else "run it again"
            )
        code = _print_error(f"{about}{(error.strerror or str(error)).lower()}", hint, UNEXPECTED)
    except Exception as error:
        if interruption(error) is None:
            code = _print_unexpected(error)
        else:
            code = _print_interrupted(options)
    exit_on_interrupt()
    return code


def _print_interrupted(options: Mapping[str, Any]) -> int:
    hint = "what is done is kept: --resume continues it" if _can_resume(options) else ""
    return _print_error("interrupted", hint, INTERRUPTED)


def _print_unexpected(error: Exception) -> int:
    import logging

    logging.getLogger(__name__).debug("unexpected", exc_info=error)
    sentence = f"unexpected {type(error).__name__}: {error}"
    return _print_error(sentence, "-vv shows where; please report it", UNEXPECTED)


def _can_resume(options: Mapping[str, Any]) -> bool:
    """Whether --resume would continue the output: not a stream, a summary, one image or a LoRA."""
    from megastyle_cli.io.formats import JSON_LINES, WRITTEN_PICTURES

    output = str(options.get("output"))
    suffixes = (*WRITTEN_PICTURES, *JSON_LINES.compressions, ".safetensors")
    is_whole = options.get("each") is False or any(map(options.get, ("prototype", "prototype_by")))
    is_one = output == "-" or is_stream(output) or output.lower().endswith(suffixes)
    return "resume" in options and not is_whole and not is_one


def _print_error(sentence: str, hint: str, code: int) -> int:
    colour = "FORCE_COLOR" in os.environ or (
        sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )
    word = "\033[31merror:\033[0m" if colour else "error:"
    sys.stderr.write(error_text(word, sentence, hint))
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
    words = sys.argv[1:]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    try:
        code = build(next((word for word in words if not word.startswith("-")), "")).run(words)
        sys.stdout.flush()
    except MegastyleError as error:  # the command line is not valid
        code = _print_error(error.message, error.hint, error.exit_code)
    except BrokenPipeError:  # `megastyle ... --help | head`
        _discard_stdout()
        code = DONE
    except OSError as error:  # not of a command, whose errors have ended: help to a full disk
        _discard_stdout()
        code = _print_error((error.strerror or str(error)).lower(), "", UNEXPECTED)
    finally:
        gc.freeze()  # the process ends: no need to look through every object once more
    sys.exit(code)


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
