"""SIGKILL or an error of the disk at every operation on files; then the command goes on."""

import random
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.torture.commands import FORMS, Form
from benchmarks.torture.lab import Lab, Workplace
from benchmarks.torture.trial import Outcome, Trial, check_names, check_result, finish

FAULTS = ("kill", "ENOSPC", "EIO")


def trials(lab: Lab, count: int, rng: random.Random) -> Iterator[Trial]:
    """All points of all forms if there are at most `count`, else a random choice of these."""
    points = [
        (form, fault, point)
        for form in FORMS.values()
        for point in range(1, len(operations(lab, form)) + 1)
        # an error of a device is met where a full disk is, so every other point will do
        for fault in FAULTS[: 2 + point % 2]
    ]
    for form, fault, point in rng.sample(points, min(count, len(points))):
        run = partial(crash, form=form, fault=fault, point=point)
        yield Trial("crash-points", f"{form.name}.{fault}.{point}", run, form)


def operations(lab: Lab, form: Form) -> Sequence[str]:
    """Every operation on files that an undisturbed run makes."""
    lab.reference(form)
    place = lab.begin(form, "operations", form.name)
    log = place.root / "log"
    place.run(form.words(lab.inputs), "", 0, log)
    return log.read_text().splitlines()


def crash(
    lab: Lab,
    place: Workplace,
    outcome: Outcome,
    rng: random.Random,
    form: Form,
    fault: str,
    point: int,
) -> None:
    """Runs a command whose operation number `point` fails, and lets it finish."""
    reference = lab.reference(form)
    ended = place.run(form.words(lab.inputs), fault, point)
    outcome.tried = 1
    outcome.steps.append(f"{fault} at {point}: {ended.code} {ended.last_words}")
    outcome.check_words(ended)
    if ended.code == reference.code:  # it could do without, or had done before
        check_result(lab, form, place, outcome)
        return
    outcome.check_code(ended, (-9,) if fault == "kill" else (1,), fault)
    check_names(lab, form, place, outcome)
    finish(lab, form, place, outcome)
