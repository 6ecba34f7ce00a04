"""A trial, what can be wrong with it, and the checks that parts share."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.torture.commands import Form
from benchmarks.torture.lab import Ended, Lab, Workplace
from benchmarks.torture.trees import differences, not_whole, read_tree
from megastyle_cli.core.owner import is_owner_file

# Columns of the table.
KINDS = (
    *("wrong result", "refused rerun", "traceback", "hang"),
    *("unexpected", "exit code", "memory", "leak", "not run"),
)


class Fault(NamedTuple):
    """Something that must not happen: one of KINDS, and what was seen."""

    kind: str
    words: str


@dataclass
class Outcome:
    """What a trial did: how many signals, points, files it tried, and the faults found."""

    tried: int = 0
    faults: list[Fault] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)  # what was done, to understand a fault

    def add(self, kind: str, words: str) -> None:
        self.faults.append(Fault(kind, words))

    def check_words(self, ended: Ended) -> None:
        """A hang, a traceback, or an error that the command did not expect."""
        if ended.code is None:
            self.add("hang", f"killed after the limit: {ended.last_words}")
        if "Traceback" in ended.words:
            self.add("traceback", ended.words[ended.words.index("Traceback") :][-600:])
        elif "unexpected" in ended.words or "please report it" in ended.words:
            self.add("unexpected", ended.last_words)

    def check_code(self, ended: Ended, allowed: tuple[int, ...], after: str) -> None:
        if ended.code is not None and ended.code not in allowed:
            self.add("exit code", f"{ended.code} after {after}: {ended.last_words}")


@dataclass(frozen=True)
class Trial:
    """One trial of a part; its name and the seed repeat it."""

    part: str
    name: str
    run: Callable[[Lab, Workplace, Outcome, random.Random], None]
    form: Form | None = None


def check_names(lab: Lab, form: Form, place: Workplace, outcome: Outcome) -> None:
    """After an interruption, what has its final name is as in an undisturbed run."""
    for name in not_whole(read_tree(place.folder), lab.reference(form).tree, form.final):
        outcome.add("wrong result", f"{name} has its final name but other bytes")


def is_complete(lab: Lab, form: Form, place: Workplace) -> bool:
    """Whether everything is there that an undisturbed run leaves.

    A process that was killed after its last file may leave its owner file, too: the next start that
    writes takes it over.
    """
    tree = read_tree(place.folder)
    left = {name: tree[name] for name in tree if not is_owner_file(Path(name))}
    return not differences(left, lab.reference(form).tree)


def check_result(lab: Lab, form: Form, place: Workplace, outcome: Outcome) -> None:
    """What is there now is what an undisturbed run leaves."""
    differs = differences(read_tree(place.folder), lab.reference(form).tree)
    if differs:
        outcome.add("wrong result", differs)


def finish(lab: Lab, form: Form, place: Workplace, outcome: Outcome) -> None:
    """Goes on with what was interrupted: the result must be that of an undisturbed run."""
    reference = lab.reference(form)
    ended = place.run(form.words_again(lab.inputs))
    outcome.steps.append(f"again: {ended.code}")
    outcome.check_words(ended)
    if ended.code == 2 and not form.resumes:
        if is_complete(lab, form, place):
            return  # the interruption came after the last file
        outcome.add("refused rerun", ended.last_words)
        ended = place.run([*form.words(lab.inputs), "--overwrite"])
        outcome.check_words(ended)
    elif ended.code == 2:
        outcome.add("refused rerun", ended.last_words)
    if ended.code not in (2, reference.code):
        outcome.check_code(ended, (reference.code,), "running it again")
    check_result(lab, form, place, outcome)
