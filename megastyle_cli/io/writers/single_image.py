"""One picture to a file, or to standard output as PNG: no folder and no metadata."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL.Image import Image

from megastyle_cli.core.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.core.file_kind import is_stdout, is_stream, with_path
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.formats import WRITTEN_PICTURES
from megastyle_cli.io.images import save_picture, save_whole
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.record_names import with_id

MAX_NAME_BYTES = 255  # asking whether a longer file name exists is an error


def is_single_image(output: str) -> bool:
    """Whether `output` names one picture, not a folder of them."""
    is_one = Path(output).suffix.lower() in WRITTEN_PICTURES and not Path(output).is_dir()
    return is_stdout(output) or is_one or is_stream(output)


def read_single_record(inputs: list[str]) -> Record:
    """The only record of `inputs`. Raises MegastyleError if there are more or it is unreadable."""
    found = list(read_records(inputs, limit=2))
    if len(found) != 1:
        number = "no" if not found else "more than one"
        raise MegastyleError(f"{number} input for one image", hint="give a folder instead: -o out/")
    return record_or_raise(found[0])


def read_transfer_request(inputs: list[str], content: str | None, prompt: str | None) -> Record:
    """The record of a picture to restyle: the only one of `inputs`, or of --content and --prompt.

    `prompt` becomes its content. Raises MegastyleError if there is nothing to restyle.
    """
    if content is None and prompt is None and not inputs:
        raise MegastyleError(
            "there is nothing to restyle", hint="give an image, or --prompt with --model"
        )
    for name in inputs:
        if _is_prompt(name):
            raise MegastyleError(
                f"there is no image {name!r}",
                hint=f'to generate an image from text, give --prompt "{name}" with --model',
            )
    record = read_single_record([content] if content else inputs) if content or inputs else {}
    return record_or_raise(with_id({**record, **({"content": prompt} if prompt else {})}))


def _is_prompt(name: str) -> bool:
    """Whether an input that does not exist looks like a prompt rather than a mistyped path."""
    path = Path(name)
    is_sentence = " " in name and path.name == name and (" " in path.suffix or not path.suffix)
    return is_sentence and (len(os.fsencode(name)) > MAX_NAME_BYTES or not path.exists())


def record_or_raise(found: Record | Failure) -> Record:
    """The record. Raises MegastyleError (exit code 3) with the message of a Failure."""
    if isinstance(found, Failure):
        raise MegastyleError(found.message, exit_code=TOO_MANY_FAILURES)
    return found


class SingleImageFile:
    """The only image of a run: a file, or standard output as PNG.

    Raises MegastyleError at once if the file exists or standard output is a terminal.
    """

    def __init__(self, output: str, *, overwrite: bool) -> None:
        self.output = output
        self._is_stdout = is_stdout(output)
        if self._is_stdout and sys.stdout.isatty():
            raise MegastyleError(
                "a PNG is not written to a terminal",
                hint="redirect it: -o - > out.png, or -o out.png",
            )
        is_new = self._is_stdout or is_stream(output) or not Path(output).exists()
        if not is_new and not overwrite:
            raise MegastyleError(f"{output} exists", hint="add --overwrite to replace it")

    def save_image(self, _: str, image: Image, __: object = None) -> str:
        """Saves the image and returns its name."""
        if self._is_stdout:
            with with_path(Path("standard output")):
                save_whole(image, sys.stdout.buffer, "PNG")
                sys.stdout.buffer.flush()
        else:
            save_picture(image, Path(self.output))
        return self.output


def require_success(results: Iterable[Record | Failure]) -> None:
    """Consumes the results. Raises MegastyleError (exit code 3) for one that failed."""
    try:
        for result in results:
            record_or_raise(result)
    except BadRecord as bad:
        raise MegastyleError(bad.message, exit_code=TOO_MANY_FAILURES) from bad
