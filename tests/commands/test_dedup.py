"""The command dedup: no record lost, no partial output, the same bytes every time."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import fork_server
from tests.conftest import Runner, jsonl, kill_when, lines
from tests.dedup.helpers import captions

WORDS = [a + b for a in "bcdfghklmn" for b in ("alo", "eru", "ita", "omi", "unda", "ysto")]
ODD = ["\0", "\ud800 x", "one", "!!!", "\U0001f600", "\u05e9\u05de\u05df", "x" * 100_000]


def gallery(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Prompts of 30 words, a third of them copies or copies with a word changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    for row in range(count):
        words = rng.choices(WORDS, k=30)
        if row % 3 == 2:
            words = rng.choice(texts).split()
            words[rng.randrange(30)] = rng.choice(WORDS)
        texts.append(" ".join(words))
    return [{"id": f"r{row}", "style": text, "n": row / 7} for row, text in enumerate(texts)]


def test_kept_rejected_and_failed_are_all_that_was_read(megastyle: Runner, tmp_path: Path) -> None:
    records = gallery(300) + [{"id": f"odd{n}", "style": text} for n, text in enumerate(ODD)]
    records += [{"id": f"no{n}", "style": t} for n, t in enumerate([None, "", " ", "\u200b"])]
    records += [{"id": "none", "other": 1}]
    source = jsonl(tmp_path / "in.jsonl", records)
    with source.open("ab") as file:
        file.write(b'{"id":"nan","style":"a","x":NaN}\n{"id":"torn","style":\n')
    kept, dropped = tmp_path / "kept.jsonl", tmp_path / "dropped.jsonl"

    ended = megastyle("dedup", source, "-o", kept, "--rejected", dropped, "--max-errors", 7)

    assert ended.returncode == 0, ended.stderr.decode()
    failed = lines(tmp_path / "kept.errors.jsonl")
    assert [one["_error"]["kind"] for one in failed] == ["missing_key"] * 5 + ["bad_json"] * 2
    found = {one["id"]: one for one in lines(kept) + lines(dropped)}
    assert len(found) == len(lines(kept)) + len(lines(dropped)) == len(records) - 5
    kept_ids = {one["id"] for one in lines(kept)}
    assert all(one["_megastyle"]["dedup"]["duplicate_of"] in kept_ids for one in lines(dropped))
    for record in records[:-5]:
        assert {key: found[record["id"]][key] for key in record} == record


@pytest.mark.parametrize("keep", ["first", "hard"])
def test_workers_change_nothing(megastyle: Runner, tmp_path: Path, keep: str) -> None:
    source = jsonl(tmp_path / "in.jsonl", gallery(500))
    outputs = []
    for workers in (1, 3):
        kept = tmp_path / f"{workers}.jsonl"
        dropped = tmp_path / f"{workers}.dropped.jsonl"
        flags = ("--keep", keep, "--workers", workers, "--rejected", dropped)
        assert megastyle("dedup", source, "-o", kept, *flags).returncode == 0
        outputs.append((kept.read_bytes(), dropped.read_bytes()))

    assert outputs[0] == outputs[1] and outputs[0][1]


def test_standard_input_gives_the_same_output_as_a_file(megastyle: Runner, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", gallery(200))

    from_file = megastyle("dedup", source)
    from_stdin = megastyle("dedup", stdin=source.read_bytes())

    assert from_file.stdout == from_stdin.stdout != b""


@pytest.mark.parametrize("size", [0, 1, 65536])
def test_killed_at_any_moment_the_output_is_complete_or_absent_and_a_rerun_gives_the_same_bytes(
    megastyle: Runner, tmp_path: Path, size: int
) -> None:
    source = jsonl(tmp_path / "in.jsonl", gallery(2000))
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    megastyle("dedup", source, "-o", whole, "--no-semantic")
    command = ("dedup", source, "--no-semantic", "-o", killed)
    kill_when(command, tmp_path, tmp_path / "killed.jsonl.partial", size)

    assert not killed.exists() or killed.read_bytes() == whole.read_bytes()
    again = megastyle("dedup", source, "-o", killed, "--no-semantic", "--overwrite")

    assert again.returncode == 0, again.stderr.decode()
    assert killed.read_bytes() == whole.read_bytes()


def test_side_outputs_get_their_names_only_after_the_output_is_written(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", gallery(2000))
    dropped, report = tmp_path / "dropped.jsonl", tmp_path / "report.json"
    command = ("dedup", source, "--no-semantic", "--rejected", dropped, "--report", report)
    started = fork_server.start(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert started.stdout is not None
    begun = started.stdout.read(1)  # and now it waits, since nobody reads on
    found = dropped.exists() or report.exists()
    rest, _ = started.communicate()

    assert len(begun + rest) > 2 * 65536 and not found  # more than a pipe holds
    assert dropped.exists() and report.exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--stats", "kept.jsonl"),
        ("--rejected", "kept.run.json"),
        ("--report", "kept.errors.jsonl"),
        ("--rejected", "gone", "--report", "gone"),
        ("--report", "gone", "--stats", "gone"),
        ("--rejected", "-"),
    ],
)
def test_two_outputs_of_one_name_are_refused_before_anything_is_read(
    megastyle: Runner, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    jsonl(tmp_path / "in.jsonl", gallery(5))

    ended = megastyle("dedup", "in.jsonl", "-o", "kept.jsonl", *flags, cwd=tmp_path)

    assert ended.returncode == 2
    assert b"is an output already" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_copies_count_as_exact_even_if_their_text_is_dropped(
    megastyle: Runner, tmp_path: Path
) -> None:
    one = "a small red fox on a stone wall by the sea at night in autumn rain"
    texts = [one, one.replace("fox", "foxes"), one.replace("fox", "foxes").upper()]
    source = jsonl(
        tmp_path / "in.jsonl", [{"id": f"{n}", "style": text} for n, text in enumerate(texts)]
    )
    report = tmp_path / "report.json"

    ended = megastyle("dedup", source, "--no-semantic", "--report", report)

    assert b"removed: exact 1 \xc2\xb7 near 1" in ended.stderr
    exact, near = json.loads(report.read_text())["measures"]
    assert (exact["in"], exact["removed"], near["in"], near["removed"]) == (3, 1, 2, 1)


def test_report_and_stats_count_what_each_stage_removed(megastyle: Runner, tmp_path: Path) -> None:
    records = gallery(300)
    records += [{**record, "id": f"copy{n}"} for n in range(20) for record in records[:1]]
    source = jsonl(tmp_path / "in.jsonl", records)
    report, stats = tmp_path / "report.json", tmp_path / "stats.json"

    ended = megastyle("dedup", source, "--report", report, "--stats", stats)

    found, counted = json.loads(report.read_text()), json.loads(stats.read_text())
    assert found["in"] == 320 and found["out"] == len(lines(ended.stdout))
    assert found["largest_groups"][0]["kept"]["id"] == "r0"
    assert [one["how"] for one in found["measures"]] == ["exact", "near", "semantic"]
    assert sum(one["removed"] for one in found["measures"]) == found["in"] - found["out"]
    near = found["measures"][1]["example"]
    assert near["score"] >= 0.7 and near["style"] != near["for"]["style"]
    assert counted["near"]["in"] - counted["near"]["out"] == found["measures"][1]["removed"]
    assert found["measures"][2]["search"] == counted["semantic"]["search"] == "exact"
    assert b"semantic: exact, all pairs were compared" in ended.stderr
    assert counted["peak_bytes"] > 0 and counted["exact"]["seconds"] > 0


def test_cached_embeddings_give_the_same_bytes(megastyle: Runner, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", gallery(200))
    plain = megastyle("dedup", source).stdout

    first = megastyle("dedup", source, "--cache", tmp_path / "cache").stdout
    second = megastyle("dedup", source, "--cache", tmp_path / "cache").stdout

    assert plain == first == second
    assert list((tmp_path / "cache").rglob("*.keys.npy"))


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--keep", "hard", "--no-semantic"), b"--keep hard ranks by embeddings"),
        (("--embedder", "static", "--model", "x"), b"--embedder static runs no --model"),
    ],
)
def test_contradictory_options_are_refused(
    megastyle: Runner, tmp_path: Path, flags: tuple[str, ...], message: bytes
) -> None:
    ended = megastyle("dedup", jsonl(tmp_path / "in.jsonl", gallery(3)), *flags)

    assert ended.returncode == 2 and message in ended.stderr and b"Traceback" not in ended.stderr


@pytest.mark.parametrize("flag", ["--near", "--no-near"])
def test_input_of_bad_records_only_gives_an_empty_output_and_exit_code_3(megastyle, tmp_path, flag):
    (tmp_path / "bad.jsonl").write_text('no json\n{"id":"a"}\n{"id":"b","style":3}\n')

    ended = megastyle("dedup", tmp_path / "bad.jsonl", flag, "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert len((tmp_path / "out.errors.jsonl").read_bytes().splitlines()) == 3


def test_choosing_ngrams_switches_the_rule_for_common_words_off(
    megastyle: Runner, tmp_path: Path
) -> None:
    texts = captions()  # of one template: without the rule they are near duplicates
    records = [{"id": f"{row:03}", "style": text} for row, text in enumerate(texts)]
    source = jsonl(tmp_path / "in.jsonl", records)

    by_default = megastyle("dedup", source, "--no-semantic")
    chosen = megastyle("dedup", source, "--no-semantic", "--ngram", "1")

    assert len(lines(by_default.stdout)) == len(texts)
    assert len(lines(chosen.stdout)) < len(texts) / 4
