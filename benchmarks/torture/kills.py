"""Signals at random moments, 1 to 3 in a trial; then the command goes on to the same result."""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.torture.commands import FORMS, Form
from benchmarks.torture.lab import Lab, Process, Reference, Workplace, cpu_seconds, handles
from benchmarks.torture.trees import size_of
from benchmarks.torture.trial import Outcome, Trial, check_names, finish, is_complete

SIGNALS = (*[signal.SIGKILL] * 5, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}
ROUNDS = (1, 2, 2, 3)
# CPU seconds within which a command may die of a signal as any program does: the interpreter of a
# forked process runs already, a fresh one starts first.
FORKED_S, FRESH_S = 0.1, 0.4


def trials(count: int) -> Iterator[Trial]:
    """`count` trials, of all forms in turn."""
    forms = list(FORMS.values())
    for number in range(count):
        form = forms[number % len(forms)]
        yield Trial("kills", f"{form.name}.{number}", partial(kill, form=form), form)


def start_trials(count: int) -> Iterator[Trial]:
    """`count` signals to interpreters that have just started."""
    forms = [form for form in FORMS.values() if not form.name.startswith("train")]
    for number in range(count):
        form = forms[number % len(forms)]
        yield Trial("starts", f"{form.name}.{number}", partial(kill_start, form=form), form)


def kill(
    lab: Lab,
    place: Workplace,
    outcome: Outcome,
    rng: random.Random,
    form: Form,
    signals: Sequence[signal.Signals] = SIGNALS,
) -> None:
    """Kills a command once to three times, and lets it finish."""
    reference = lab.reference(form)
    words = form.words(lab.inputs)
    for _ in range(rng.choice(ROUNDS)):
        number = rng.choice(signals)
        process = place.start(words)
        sent = wait_for_moment(process, place, reference, rng) and send(process, number, FORKED_S)
        check_end(place, process, number if sent else None, reference, outcome)
        check_names(lab, form, place, outcome)
        if not form.resumes and is_complete(lab, form, place):
            return
        words = form.words_again(lab.inputs)
    finish(lab, form, place, outcome)


def kill_start(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, form: Form
) -> None:
    """Signals a fresh interpreter within its first two seconds of CPU: most of it is imports."""
    reference = lab.reference(form)
    number = rng.choice([number for number in CODES if number != signal.SIGKILL])
    moment_s = rng.uniform(FRESH_S, 2)
    process = place.start(form.words(lab.inputs), fresh=True)
    while process.poll() is None and cpu_seconds(process.pid) < moment_s:
        time.sleep(0.005)
    sent = process.poll() is None and send(process, number, FRESH_S)
    check_end(place, process, number if sent else None, reference, outcome)
    finish(lab, form, place, outcome)


def wait_for_moment(
    process: Process, place: Workplace, reference: Reference, rng: random.Random
) -> bool:
    """Waits for a random time or number of bytes; whether the process still runs."""
    by_bytes = rng.random() < 0.65
    written = size_of(place.folder)
    goal = written + max(1, rng.random() * (reference.num_bytes - written))
    moment = time.monotonic() + rng.random() * reference.seconds
    pause = rng.choice((0, 0, 0.002, 0.01, 0.03))
    while process.poll() is None:
        if by_bytes and size_of(place.folder) >= goal:
            time.sleep(pause)
            return True
        if not by_bytes and time.monotonic() >= moment:
            return True
        time.sleep(0.001)
    return False


def send(process: Process, number: signal.Signals, start_s: float) -> bool:
    """Sends a signal, one that can be handled not before the command has had time to do so."""
    while (
        number != signal.SIGKILL
        and process.poll() is None
        and not handles(process.pid, signal.SIGTERM)
        and cpu_seconds(process.pid) < start_s
    ):
        time.sleep(0.001)
    if process.poll() is not None:
        return False
    os.kill(process.pid, number)
    return True


def check_end(
    place: Workplace,
    process: Process,
    number: signal.Signals | None,
    reference: Reference,
    outcome: Outcome,
) -> None:
    """The exit code is that of the contract; a command may also have been quicker."""
    ended = place.wait(process)
    name = number.name if number else "no signal"
    outcome.tried += number is not None
    outcome.steps.append(f"{name}: {ended.code}")
    outcome.check_words(ended)
    codes: Sequence[int] = (reference.code, CODES[number]) if number else (reference.code,)
    outcome.check_code(ended, tuple(codes), name)
