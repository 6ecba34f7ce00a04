"""The errors of the toolkit, its exit codes, and the tests for a full disk and full memory."""

from errno import EDQUOT, EFBIG, EIO, ENOSPC

DONE = 0
UNEXPECTED = 1
USAGE = 2
TOO_MANY_FAILURES = 3
TRY_AGAIN = 75
INTERRUPTED = 130

DISK_FULL = (ENOSPC, EDQUOT, EFBIG)  # numbers of an OSError
DISK_FAILED = (*DISK_FULL, EIO)  # no mistake of the command line

PROGRAMS = ("megastyle", "pip", "hf", "apt", "git")  # with which a hint may begin

# "can't allocate memory" on a CPU, "unable to mmap ...: Cannot allocate memory" for a file, "CUDA
# error: out of memory" outside of torch's allocator; cuDNN's also means too little workspace.
_FULL = ("t allocate memory", "error: out of memory", "CUDNN_STATUS_NOT_SUPPORTED")


class MegastyleError(Exception):
    """A user's mistake: a sentence with the values involved, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "", exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class BadRecord(Exception):
    """A record that cannot be processed, raised where the record itself is not at hand.

    `kind` is one of bad_json, missing_key, bad_image, bad_answer, out_of_memory, model_error. Where
    the record is at hand, the error becomes a `Failure`. `key` is the key that the record lacks.
    """

    def __init__(self, kind: str, message: str, key: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.key = key

    def __reduce__(self) -> tuple[type["BadRecord"], tuple[str, str, str]]:
        return type(self), (self.kind, self.message, self.key)  # another process may send it


def error_text(word: str, sentence: str, hint: str) -> str:
    """An error as users see it: `error: SENTENCE`, and below it the lines of the hint, indented.

    A hint begins with a capital letter, unless it is a command, an option or a name.
    """
    from megastyle_cli.core.printable import printable  # early_signals cannot wait for it

    begin = hint.partition(" ")[0]
    if begin.isalpha() and begin.islower() and begin not in PROGRAMS:
        hint = hint[0].upper() + hint[1:]
    lines = [printable(sentence), *(" " * 7 + printable(line) for line in hint.splitlines())]
    return "".join([word, " ", "\n".join(lines), "\n"])


def first_line(error: BaseException) -> str:
    """The first line of an error's message; those of libraries can be long."""
    return str(error).strip().partition("\n")[0]


def short_reason(error: BaseException) -> str:
    """The first sentence of an error's message, without anything in parentheses after it."""
    return first_line(error).partition(" (")[0].partition(". ")[0].rstrip(".")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a device or on the machine.

    torch's own error is known by its name, since torch is not imported here.
    """
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return True
    message = str(error)
    return isinstance(error, RuntimeError | OSError) and any(words in message for words in _FULL)
