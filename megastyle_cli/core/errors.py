"""The errors a person meets, and the exit codes a script sees."""

DONE = 0
UNEXPECTED = 1
USAGE = 2
TOO_MANY_FAILURES = 3
TRY_AGAIN = 75
INTERRUPTED = 130


class MegastyleError(Exception):
    """The user's fault: one sentence with both values, and a hint that says what to do next."""

    def __init__(self, sentence: str, hint: str = "", exit_code: int = USAGE) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.exit_code = exit_code


class BadRecord(Exception):
    """One record's fault: raised where the record is not at hand, a Failure where it is.

    `kind` is one of the contract's failure kinds: bad_json, missing_key, bad_image, bad_answer,
    out_of_memory, model_error.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
