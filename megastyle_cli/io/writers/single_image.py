"""One record to one picture file, or to a PNG on standard output: no folder, no metadata."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL.Image import Image

from megastyle_cli.core.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.images import save_picture
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.record_ids import with_id

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LONGEST_NAME = 255  # of a file, in bytes: asking whether a longer one exists is an error


def is_single_image(output: str) -> bool:
    """Whether `output` names one picture rather than a folder of them."""
    return output == "-" or Path(output).suffix.lower() in SUFFIXES


def read_single_record(inputs: list[str]) -> Record:
    """The only record of `inputs`. Raises MegastyleError if there are more or it is unreadable."""
    found = list(read_records(inputs, limit=2))
    if len(found) != 1:
        number = "no" if not found else "more than one"
        raise MegastyleError(f"{number} input for one picture", hint="give -o DIRECTORY for many")
    return record_or_raise(found[0])


def read_transfer_request(inputs: list[str], content: str | None, prompt: str | None) -> Record:
    """The record of one picture to restyle: the only one of `inputs`, or of flags.

    `prompt` becomes its content. Raises MegastyleError if nothing is asked for.
    """
    if content is None and prompt is None and not inputs:
        raise MegastyleError(
            "there is nothing to restyle", hint="give --content PICTURE, or --prompt with --model"
        )
    for name in inputs:
        if _is_words(name):
            raise MegastyleError(
                f"there is no picture {name!r}",
                hint=f'to paint words give --prompt "{name}" with --model',
            )
    record = read_single_record([content] if content else inputs) if content or inputs else {}
    return record_or_raise(with_id({**record, **({"content": prompt} if prompt else {})}))


def _is_words(name: str) -> bool:
    """Whether an input that does not exist reads like a prompt, not like a mistyped path."""
    path = Path(name)
    reads_so = " " in name and path.name == name and (" " in path.suffix or not path.suffix)
    return reads_so and (len(os.fsencode(name)) > LONGEST_NAME or not path.exists())


def record_or_raise(found: Record | Failure) -> Record:
    """The record. Raises MegastyleError (exit 3) with the sentence of a Failure."""
    if isinstance(found, Failure):
        raise MegastyleError(found.message, exit_code=TOO_MANY_FAILURES)
    return found


class SingleImageFile:
    """The one image of a run: a file of a given name, or a PNG on standard output.

    Raises MegastyleError at once if the file exists or standard output is a terminal.
    """

    def __init__(self, output: str, *, overwrite: bool) -> None:
        self.output = output
        if output == "-" and sys.stdout.isatty():
            raise MegastyleError(
                "a PNG would spoil the terminal", hint="redirect it: -o - > out.png, or -o out.png"
            )
        if output != "-" and Path(output).exists() and not overwrite:
            raise MegastyleError(f"{output} exists", hint="add --overwrite to replace it")

    def save_image(self, _: str, image: Image) -> str:
        """Saves the image; returns its name."""
        if self.output == "-":
            image.save(sys.stdout.buffer, format="PNG")
            sys.stdout.buffer.flush()
        else:
            save_picture(image, Path(self.output))
        return self.output


def require_success(results: Iterable[Record | Failure]) -> None:
    """Takes all results. Raises MegastyleError (exit 3) with the sentence of one that failed."""
    try:
        for result in results:
            record_or_raise(result)
    except BadRecord as bad:
        raise MegastyleError(bad.message, exit_code=TOO_MANY_FAILURES) from bad
