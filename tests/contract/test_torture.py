"""benchmarks/torture: a trial or two of every part, and that it detects what it looks for."""

import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.contract.test_fork_server import pytestmark as needs_forks
from tests.contract.tree import ROOT

sys.path.insert(0, str(ROOT))  # as benchmarks are run from there

from benchmarks.torture.__main__ import COUNTS, Tally, run_trial, table, trials_of
from benchmarks.torture.commands import FORMS
from benchmarks.torture.crash_points import crash
from benchmarks.torture.crash_points import operations as operations_of
from benchmarks.torture.full_disks import limited, small
from benchmarks.torture.hostile_server import KEY, ask
from benchmarks.torture.kills import kill
from benchmarks.torture.lab import Ended, Lab, Workplace
from benchmarks.torture.malformed import TARGETS, read_damaged
from benchmarks.torture.mutations import damage
from benchmarks.torture.trial import KINDS, Outcome, Trial, finish

pytestmark = needs_forks
FORM = FORMS["caption-shard"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("torture") / "lab")


@pytest.fixture
def place(lab: Lab, request: pytest.FixtureRequest) -> Workplace:
    return lab.workplace("test", request.node.name)


@pytest.fixture(scope="module")
def operations(lab: Lab) -> Sequence[str]:
    return operations_of(lab, FORM)


@pytest.fixture
def written(lab: Lab, place: Workplace, operations: Sequence[str]) -> Path:
    """All records of FORM, killed before they had their final name."""
    renames = [n for n, op in enumerate(operations, 1) if "rename" in op and ".partial" in op]
    assert place.run(FORM.words(lab.inputs), "kill", renames[0]).code == -9
    (partial_file,) = place.folder.rglob("*.jsonl.partial")
    return partial_file


def kinds(outcome: Outcome) -> list[str]:
    return [kind for kind, _ in outcome.faults]


TRIALS = {
    "kill": partial(kill, form=FORM, signals=(SIGKILL,)),
    "killed at an operation": partial(crash, form=FORM, fault="kill", point=6),
    "full at an operation": partial(crash, form=FORM, fault="ENOSPC", point=6),
    "files too large": partial(limited, form=FORM, kib=1),
    "small disk": partial(small, form=FORM, share=0.3),
    "damaged lines": partial(read_damaged, target=TARGETS["texts"]),
    "cut answer": partial(ask, name="cut"),
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_finds_nothing_wrong_and_leaves_nothing(lab: Lab, name: str) -> None:
    if name == "small disk" and os.geteuid():
        pytest.skip("only root may mount a disk")

    outcome = run_trial(Trial("test", name, TRIALS[name]), lab, seed=0)

    assert not outcome.faults and outcome.steps
    assert not (lab.root / "test" / name).exists()


def test_every_part_names_its_trials_by_the_seed(lab: Lab) -> None:
    for part in COUNTS.keys() - {
        "crash-points"
    }:  # counting the operations takes a run of each form
        first, second = ([trial.name for trial in trials_of(part, lab, 9, 1)] for _ in range(2))

        assert first == second and len(first) >= 9 == len({*first[:9]})


def test_operations_are_counted_in_the_working_folder_alone(operations: Sequence[str]) -> None:
    assert {"open", "os.mkdir", "os.rename", "os.fsync"} <= {op.split()[0] for op in operations}
    assert all(" out" in op or "fsync" in op for op in operations)


def test_a_result_tampered_with_between_runs_is_detected(
    lab: Lab, place: Workplace, written: Path
) -> None:
    written.write_bytes(written.read_bytes().replace(b"In the style", b"In no style", 1))
    outcome = Outcome()

    finish(lab, FORM, place, outcome)

    assert kinds(outcome) == ["wrong result"] and f"changed out/{written.stem}" in str(outcome)


@pytest.mark.usefixtures("written")
def test_a_command_that_does_not_go_on_is_detected(lab: Lab, place: Workplace) -> None:
    forgetful = replace(FORM, resumes=False)
    outcome = Outcome()

    finish(lab, forgetful, place, outcome)

    assert kinds(outcome) == ["refused rerun"]


def test_a_process_that_takes_too_long_or_too_much_is_killed(place: Workplace) -> None:
    os.mkfifo(place.folder / "pipe")  # nobody writes to it
    slow = place.wait(place.start(["dedup", "pipe"]), limit_s=0)
    large = place.wait(place.start(["dedup", "pipe"]), max_mib=-1)

    assert slow.code is None and large.code == -9


def test_a_key_that_is_written_is_detected(lab: Lab, place: Workplace) -> None:
    (place.folder / "notes.txt").write_text(f"sent {KEY}")
    outcome = Outcome()

    ask(lab, place, outcome, random.Random(0), "good")

    assert kinds(outcome) == ["leak"]


def test_words_and_codes_are_judged() -> None:
    outcome = Outcome()
    for ended in (
        Ended(None, "waiting"),
        Ended(1, "Traceback (most recent call last)"),
        Ended(1, "error: unexpected ValueError"),
        Ended(-11, ""),
    ):
        outcome.check_words(ended)
        outcome.check_code(ended, (0, 1), "a test")

    assert kinds(outcome) == ["hang", "traceback", "unexpected", "exit code"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.png"])
def test_damage_is_a_function_of_the_seed_and_changes_the_file(name: str) -> None:
    content = b'{"a": [1, {"b": "c"}], "d": 2}\n' * (1 + 2 * name.endswith("l"))
    damaged = [[damage(content, name, random.Random(seed)) for seed in range(30)] for _ in "ab"]

    assert damaged[0] == damaged[1]
    assert sum(one != content for one in damaged[0]) >= 25


def test_the_table_counts_trials_and_faults() -> None:
    outcome, tally = Outcome(tried=3), Tally()
    outcome.add("hang", "a")
    tally.add(outcome)

    assert table({"kills": tally}).splitlines()[-1].startswith("| kills | 1 | 3 | 0 | 0 | 0 | 1 |")
    assert all(kind in table({}) for kind in KINDS)
