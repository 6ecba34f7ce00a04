"""Disks that are full: a small one, one of few files, a full TMPDIR, and a limit on file sizes."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.torture.commands import FORMS, Form
from benchmarks.torture.lab import Ended, Lab, Workplace
from benchmarks.torture.trial import Outcome, Trial, check_names, check_result, finish

BLOCK = 4096
LARGE = "size=256m,nr_inodes=100000"
# Parts of the blocks, or of the files, that an undisturbed run needs.
SHARES = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
LIMITS_KIB = (1, 2, 8)


def trials(count: int, rng: random.Random) -> Iterator[Trial]:
    """All trials if there are at most `count`; small disks need root, who may mount them."""
    found = []
    for form in FORMS.values():
        for limit in LIMITS_KIB:
            found.append((form, f"limit-{limit}", partial(limited, form=form, kib=limit)))
        if os.geteuid() == 0:
            for share in SHARES:
                found.append((form, f"size-{share}", partial(small, form=form, share=share)))
                found.append((form, f"files-{share}", partial(few, form=form, share=share)))
            found.append((form, "tmp", partial(full_tmp, form=form)))
    for form, name, run in rng.sample(found, min(count, len(found))):
        yield Trial("full-disks", f"{form.name}.{name}", run, form)


def limited(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, form: Form, kib: int
) -> None:
    """No file may be larger than `kib`."""
    ended = place.run(form.words(lab.inputs), max_file_kib=kib)
    _check(lab, form, place, outcome, ended)


def small(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, form: Form, share: float
) -> None:
    """A disk of `share` of the bytes needed, which then becomes large."""
    needed = lab.reference(form).num_bytes // BLOCK + len(lab.reference(form).tree)
    with _large_disk(lab, place, form) as used:
        size = (used.f_blocks - used.f_bfree + max(1, int(needed * share))) * BLOCK
        _fill(lab, place, outcome, form, f"size={size}")


def few(
    lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, form: Form, share: float
) -> None:
    """A disk of `share` of the files needed, which then takes more."""
    with _large_disk(lab, place, form) as used:
        more = 1 + int(len(lab.reference(form).tree) * share)
        _fill(lab, place, outcome, form, f"nr_inodes={used.f_files - used.f_ffree + more}")


def full_tmp(lab: Lab, place: Workplace, outcome: Outcome, rng: random.Random, form: Form) -> None:
    """TMPDIR takes nothing."""
    with disk(place.tmp, f"size={BLOCK}"):
        (place.tmp / "filler").write_bytes(bytes(BLOCK))
        ended = place.run(form.words(lab.inputs))
    _check(lab, form, place, outcome, ended)


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory, mounted on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def _large_disk(lab: Lab, place: Workplace, form: Form) -> Iterator[os.statvfs_result]:
    """A disk in which only `form` is still to run, and how full it is."""
    with disk(place.folder, LARGE):
        if form.before:
            place.run(form.words_before(lab.inputs))
        yield os.statvfs(place.folder)


def _fill(lab: Lab, place: Workplace, outcome: Outcome, form: Form, limit: str) -> None:
    _remount(place.folder, limit)
    ended = place.run(form.words(lab.inputs))
    _remount(place.folder, LARGE)
    _check(lab, form, place, outcome, ended)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def _check(lab: Lab, form: Form, place: Workplace, outcome: Outcome, ended: Ended) -> None:
    outcome.tried = 1
    outcome.steps.append(f"full: {ended.code} {ended.last_words}")
    outcome.check_words(ended)
    if ended.code == lab.reference(form).code:  # it had room enough
        check_result(lab, form, place, outcome)
        return
    outcome.check_code(ended, (1,), "a full disk")
    check_names(lab, form, place, outcome)
    finish(lab, form, place, outcome)
