"""Whole folders: the old one stands until the new is whole."""

from contextlib import suppress
from pathlib import Path

import pytest

from megastyle_cli.training.common.atomic_folder import replace_whole


def of(word):
    def write(aside):
        aside.mkdir()
        (aside / "weights").write_text(word)

    return write


@pytest.fixture
def final(tmp_path):
    replace_whole(tmp_path / "lora", of("old"))
    return tmp_path / "lora"


def test_the_new_takes_the_place_of_the_old_and_nothing_lies_beside(final):
    replace_whole(final, of("new"))

    assert (final / "weights").read_text() == "new"
    assert list(final.parent.iterdir()) == [final]


def test_what_cannot_be_written_leaves_the_old(final):
    def fail(aside):
        of("half")(aside)
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        replace_whole(final, fail)

    assert (final / "weights").read_text() == "old"
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.parametrize("renames", range(3))
def test_a_kill_at_any_rename_leaves_one_that_is_whole(final, monkeypatch, renames):
    left, plainly = [renames], {name: getattr(Path, name) for name in ("rename", "replace")}

    def killed(name):
        def move(self, target):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return plainly[name](self, target)

        return move

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        for name in plainly:
            patch.setattr(Path, name, killed(name))
        replace_whole(final, of("new"))

    def full(_):
        raise OSError("no space left on device")

    with suppress(Exception):
        replace_whole(final, full)  # as --resume would on a disk without room
    assert (final / "weights").read_text() == "old"
    replace_whole(final, of("new"))
    assert (final / "weights").read_text() == "new"
    assert list(final.parent.iterdir()) == [final]
