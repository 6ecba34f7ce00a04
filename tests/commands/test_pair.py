"""The command pair: bad input, interruptions, and the order of styles."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Runner, jsonl, kill_when, lines
from tests.contract.test_bad_luck import ODD_TEXTS


def styles(folder: Path, count: int) -> Path:
    return jsonl(
        folder / "styles.jsonl",
        [{"id": f"s{n}", "style": f"style {n}", "license": "cc0"} for n in range(count)],
    )


def contents(folder: Path, count: int) -> Path:
    return jsonl(
        folder / "contents.jsonl", [{"id": f"c{n}", "content": f"thing {n}"} for n in range(count)]
    )


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_killed_at_any_moment_the_output_is_complete_or_absent_and_a_rerun_gives_the_same_bytes(
    megastyle: Runner, tmp_path: Path, size: int
) -> None:
    command = ("pair", styles(tmp_path, 6000), "--contents", contents(tmp_path, 2000))
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    megastyle(*command, "-o", whole)
    kill_when((*command, "-o", killed), tmp_path, tmp_path / "killed.jsonl.partial", size)

    assert not killed.exists() or killed.read_bytes() == whole.read_bytes()
    again = megastyle(*command, "-o", killed, "--overwrite")

    assert again.returncode == 0, again.stderr.decode()
    assert killed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_the_order_of_styles_changes_only_the_order_of_pairs(
    megastyle: Runner, tmp_path: Path
) -> None:
    bank = contents(tmp_path, 50)
    parts = []
    for name, numbers in (("a", range(20)), ("b", range(20, 40))):
        records = [{"id": f"s{n}", "style": f"style {n}"} for n in numbers]
        parts.append(jsonl(tmp_path / f"{name}.jsonl", records))

    forward = megastyle("pair", *parts, "--contents", bank)
    backward = megastyle("pair", *parts[::-1], "--contents", bank)

    assert forward.returncode == 0, forward.stderr.decode()
    first, second = forward.stdout.splitlines(), backward.stdout.splitlines()
    half = len(first) // 2
    assert first == second[half:] + second[:half]


@pytest.mark.parametrize("ids", ["parents", "official"])
def test_odd_texts_are_paired_or_fail_without_losing_a_value(
    megastyle: Runner, tmp_path: Path, ids: str
) -> None:
    records = [{"id": f"odd{n}", "style": text} for n, text in enumerate(ODD_TEXTS)]
    records += [{"id": "none", "other": 1}, {"id": "null", "style": None}, {"id": "7", "style": 7}]
    odd = jsonl(tmp_path / "odd.jsonl", records)
    texts = [text for text in ODD_TEXTS if text.strip()]
    bank = jsonl(
        tmp_path / "bank.jsonl", [{"id": f"c{n}", "content": text} for n, text in enumerate(texts)]
    )
    out, failures = tmp_path / "out.jsonl", tmp_path / "e.jsonl"

    done = megastyle(
        *("pair", odd, "--contents", bank, "--per-style", "2", "--ids", ids),
        *("-o", out, "--errors", failures, "--max-errors", "9"),
    )

    assert done.returncode == 0, done.stderr.decode()
    failed = {record["id"]: record for record in lines(failures)}
    assert {record["_error"]["kind"] for record in failed.values()} == {"missing_key"}
    assert {"none", "null", "7"} <= set(failed)
    pairs = lines(out)
    assert len(pairs) == 2 * (len(records) - len(failed))
    paired = {json.dumps(pair["style"]) for pair in pairs}
    for record in records:
        if record["id"] in failed:
            assert {key: failed[record["id"]][key] for key in record} == record
        else:
            assert json.dumps(record["style"]) in paired
    assert {json.dumps(pair["content"]) for pair in pairs} <= set(map(json.dumps, texts))


def test_a_content_without_text_or_image_fails_and_the_others_are_paired(
    megastyle: Runner, tmp_path: Path
) -> None:
    bank = jsonl(tmp_path / "bank.jsonl", [{"id": "good", "content": "frog"}, {"id": "bad"}])
    out = tmp_path / "out.jsonl"

    done = megastyle("pair", styles(tmp_path, 3), "--contents", bank, "-o", out)

    assert done.returncode == 3 and b"neither content nor file_name" in done.stderr
    assert [pair["content_id"] for pair in lines(out)] == ["good"] * 3
    (failed,) = lines(tmp_path / "out.errors.jsonl")
    assert failed["id"] == "bad" and failed["_error"]["kind"] == "missing_key"


def test_one_prompt_a_hundred_thousand_times_is_paired_in_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "s.jsonl").open("w") as file:
        file.writelines(f'{{"id":"{n}","style":"teal gouache"}}\n' for n in range(100_000))
    bank = contents(tmp_path, 10)
    command = ["pair", "s.jsonl", "--contents", str(bank), "--per-style", "1", "-o", "out.jsonl"]
    command += ["-q", "--stats", "t"]
    subprocess.run([sys.executable, "-m", "megastyle_cli", *command], cwd=tmp_path, check=True)

    with (tmp_path / "out.jsonl").open() as file:
        assert sum(1 for _ in file) == 100_000
    stats = json.loads((tmp_path / "t").read_text())
    assert stats["peak_bytes"] < 250e6  # interpreter and libraries included


def test_many_pairs_are_those_of_few_whatever_the_output(megastyle: Runner, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    records = [
        {
            "id": f"{n}",
            "style": f"ink {n}",
            "content": f"{n} \u00e9",
            "file_name": f"a/{n}.png",
            **odd,
        }
        for n in range(50)
        for odd in ({}, {"n": 1e-9}, {"style": "\ud800"}, {"content_n": n}, {"neighbors": []})
    ]
    for one in ("one", "two"):
        jsonl(tmp_path / f"{one}.jsonl", [{**r, "id": f"{one} {r['id']}"} for r in records])
    command = ("pair", "one.jsonl", "--contents", "two.jsonl", "--per-style", "20")

    def paired(output: str, *flags: object) -> bytes:
        ended = megastyle(*command, "-o", f"out/{output}", *flags, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr.decode()
        return (tmp_path / "out" / output).read_bytes()

    many = paired("many.jsonl")

    assert many.count(b"\n") == 5000
    # few pairs are made as records
    assert many.startswith(paired("few.jsonl", "--limit", 40))
    assert gzip.decompress(paired("many.jsonl.gz")) == many
    listed = paired("metadata.jsonl")
    assert listed.replace(b"_picture", b"_file_name") == many
    streamed = megastyle(*command, cwd=tmp_path)
    assert streamed.stdout.replace(b'_file_name":"', b'_file_name":"../') == many
