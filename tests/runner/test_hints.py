"""If every record lacks one and the same key, the input is wrong: one sentence says what to do."""

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.runner.hints import nothing_usable
from megastyle_cli.runner.progress import Stats


def stats_of(*keys: str) -> Stats:
    stats = Stats("dedup")
    for key in keys:
        record = {"id": "a", "prompt": "ink", "src": 7, "_error": {}}
        stats.add(Failure(record, "missing_key", "a lacks it", key))
    return stats


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("style", "megastyle caption photos/ -o captions.jsonl"),
        ("file_name", "name a folder of them"),
        ("caption", "name the key that the records have instead of 'caption'"),
    ],
)
def test_a_key_that_all_records_lack_is_said_once(key: str, hint: str) -> None:
    error = nothing_usable(stats_of(key, key))

    assert error is not None and error.exit_code == 3
    assert error.message == f'no record has a "{key}" (2 of 2); the first one has "prompt", "src"'
    assert hint in error.hint


def test_records_of_which_some_are_usable_need_no_hint() -> None:
    some = stats_of("style", "style")
    some.add({"id": "b"})

    assert nothing_usable(some) is None
    assert nothing_usable(stats_of("style", "content")) is None
    assert nothing_usable(Stats("dedup")) is None
